"""The page of ``minirpn explain`` in a browser: what is clicked changes what is shown.

What the page says is held to the step computed anew in Python, from the same run and image.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minirpn import boxes
from minirpn.cli.main import main
from minirpn.explain import KEPT, OpenStep, find_picture, open_step
from minirpn.explain.page import notable_of
from minirpn.rpn import IGNORE, NEGATIVE, POSITIVE, object_scores
from minirpn.training.build import load_network
from minirpn.training.run_folder import open_run
from minirpn.training.tables import write_toml

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SETTINGS = {
    "synthetic": {"images": 5, "image_size": [120, 160], "min_side": 24},
    "resize": {"short_side": 120, "max_side": 160},
    "anchors": {"base_size": 8, "scales": [2.0, 4.0]},
    "labels": {"inside_only": True, "positive_iou": 0.45},
    "sampling": {"positive_fraction": 0.05},
    "optimizer": {"steps": 20},
}


@pytest.fixture(scope="session")
def run(
    browser: Any,
    tmp_path_factory: pytest.TempPathFactory,
    without_figures: Callable[[], AbstractContextManager[None]],
) -> Path:
    """A small run; where there is no browser nothing is trained."""
    folder = tmp_path_factory.mktemp("runs")
    write_toml(folder / "small.toml", SETTINGS)
    words = ["train", "--config", str(folder / "small.toml"), "--out", str(folder / "run")]
    with without_figures():
        assert main(words) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "page.html"
    assert main(["explain", str(run), "000001", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def step(run: Path) -> OpenStep:
    network, config = load_network(run)
    return open_step(network, config, find_picture("000001", open_run(run), config.data))


@pytest.fixture
def shown(show: Callable[..., Any], page: Path) -> Shown:
    return Shown(show(page))


class Shown:
    """The page as someone in front of it sees it."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.wait(lambda: self.js("return document.body.dataset.ready"))

    def js(self, code: str, *values: object) -> Any:
        return self.browser.execute_script(code, *values)

    def wait(self, true: Callable[[], Any]) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 20, poll_frequency=0.02).until(lambda _: true())

    def find(self, css: str) -> Any:
        return self.browser.find_element("css selector", css)

    def all(self, css: str) -> list[Any]:
        return self.browser.find_elements("css selector", css)

    def text(self, name: str) -> str:
        """Return what stands behind a name."""
        return self.find(f'[data-name="{name}"]').text

    def number(self, name: str) -> float:
        """Return a number in full, which is kept for whoever points at it."""
        return float(self.find(f'[data-name="{name}"] [title]').get_attribute("title"))

    def has(self, name: str) -> bool:
        return bool(self.all(f'[data-name="{name}"]'))

    @property
    def selected(self) -> int:
        return int(self.text("k"))

    def choose(self, k: int) -> None:
        """Type the number of an anchor."""
        box = self.find("#number")
        box.clear()
        box.send_keys(str(k))
        self.find("#go button").click()
        assert self.selected == k

    def pixels(self, canvas: str) -> str:
        # Two frames later: what a change of size has set going is drawn by then.
        return self.browser.execute_async_script(
            "const [name, done] = arguments;"
            "const twice = (act) => requestAnimationFrame(() => requestAnimationFrame(act));"
            "twice(() => done(document.getElementById(name).toDataURL()))",
            canvas,
        )

    def act_at(self, x: float, y: float, *, click: bool) -> None:
        """Move the mouse to a point of the picture, in its pixels, and perhaps click."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.find("#above")
        self.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
        rect = self.js(
            "const r = arguments[0].getBoundingClientRect(); return [r.width, r.height]", canvas
        )
        left, top, right, bottom = self.js(
            "const v = viewOf(step); return [v.left, v.top, v.right, v.bottom]"
        )
        scale = rect[0] / (right - left)
        dx, dy = (x - (left + right) / 2) * scale, (y - (top + bottom) / 2) * scale
        moves = ActionChains(self.browser).move_to_element_with_offset(canvas, dx, dy)
        (moves.click() if click else moves).perform()

    def press(self, key: str) -> None:
        from selenium.webdriver.common.keys import Keys

        self.find("#above").send_keys(getattr(Keys, key))


def centre(step: OpenStep, k: int) -> tuple[float, float]:
    x1, y1, x2, y2 = step.output.anchors[k]
    return (x1 + x2) / 2, (y1 + y2) / 2


def some(step: OpenStep, label: int) -> int:
    """Return an anchor of the mini-batch that has this label."""
    return int(np.flatnonzero(step.learning.labels == label)[0])


def close(actual: float, expected: Any) -> bool:
    return actual == pytest.approx(float(expected), rel=1e-5, abs=1e-9)


def test_the_totals(shown: Shown, step: OpenStep):
    learning = step.learning
    for name, value in (
        ("loss", learning.loss.total),
        ("objectness term", learning.loss.objectness),
        ("box term", learning.loss.box),
    ):
        assert close(shown.number(name), value)
    assert int(shown.text("N_cls")) == learning.terms.divisors.n_cls
    assert int(shown.text("N_reg")) == step.output.locations
    assert int(shown.text("positives")) == (learning.labels == POSITIVE).sum()
    assert int(shown.text("negatives")) == (learning.labels == NEGATIVE).sum()


def test_the_dearest_positive_is_selected_first(shown: Shown, step: OpenStep):
    costs = np.where(
        step.learning.labels == POSITIVE, step.learning.terms.contributions.sum(axis=1), -1
    )
    assert shown.selected == np.argmax(costs)


def test_the_numbers_of_a_positive(shown: Shown, step: OpenStep):
    k, learning = some(step, POSITIVE), step.learning
    shown.choose(k)
    scores, p = step.output.objectness[0, k], object_scores(step.output.objectness[0])[k]
    expected = {
        "highest IoU": learning.assigned.max_iou[k],
        "background score": scores[0],
        "object score": scores[1],
        "p": p,
        "L_cls": learning.terms.class_losses[k],
        "dL/d background": learning.grads.dobjectness[k, 0],
        "dL/d object": learning.grads.dobjectness[k, 1],
        "L_cls / N_cls": learning.terms.contributions[k, 0],
        "λ p* L_reg / N_reg": learning.terms.contributions[k, 1],
        "together": learning.terms.contributions[k].sum(),
    }
    for i, coordinate in enumerate("xywh"):
        t, target = step.output.deltas[0, k, i], learning.targets[k, i]
        expected |= {
            f"t {coordinate}": t,
            f"t* {coordinate}": target,
            f"t − t* {coordinate}": np.float64(t) - np.float64(target),
            f"L_reg {coordinate}": learning.terms.box_losses[k, i],
            f"dL/dt {coordinate}": learning.grads.ddeltas[k, i],
        }
    for name, value in expected.items():
        assert close(shown.number(name), value), name
    assert shown.text("label") == "positive"
    assert shown.text("sampled") == "yes"
    assert shown.text("p*") == "1"


def said_box(text: str) -> list[float]:
    return [float(value) for value in text.strip("()").split(",")]


def test_the_boxes_of_an_anchor(shown: Shown, step: OpenStep):
    k = some(step, POSITIVE)
    shown.choose(k)
    anchor = step.output.anchors[k : k + 1]
    predicted = boxes.decode(anchor, step.output.deltas[0, k : k + 1])
    proposed = boxes.clip(predicted, step.example.image_size)
    goal = step.learning.gt_boxes[step.learning.assigned.matched_gt[k]]
    for name, box in (
        ("box", anchor[0]),
        ("predicted box", predicted[0]),
        ("proposes", proposed[0]),
        ("object", goal),
    ):
        np.testing.assert_allclose(said_box(shown.text(name)), box, atol=0.051)
    overlap = boxes.iou(predicted, goal[None])[0, 0]
    assert shown.number("IoU with object") == pytest.approx(overlap, rel=1e-4)


def test_a_negative_is_asked_for_no_box(shown: Shown, step: OpenStep):
    k = some(step, NEGATIVE)
    shown.choose(k)
    assert shown.text("label") == "negative"
    assert shown.text("p*") == "0"
    assert close(shown.number("L_cls"), step.learning.terms.class_losses[k])
    assert shown.has("t x")
    assert not shown.has("t* x")
    assert shown.number("λ p* L_reg / N_reg") == 0


def test_an_anchor_that_was_not_sampled_costs_nothing(shown: Shown, step: OpenStep):
    left_out = (step.learning.labels == IGNORE) & (step.learning.assigned.labels == POSITIVE)
    k = int(np.flatnonzero(left_out)[0])
    shown.choose(k)
    assert shown.text("label") == "positive"
    assert shown.text("sampled") == "no"
    assert close(shown.number("t* w"), step.learning.targets[k, 2])
    assert not shown.has("L_cls")
    assert not shown.has("dL/dt w")
    assert not shown.has("together")


def test_every_rule_in_words(shown: Shown, step: OpenStep):
    words = {
        0: "IoU below 0.3",
        1: "rule (ii): IoU ≥ 0.45",
        2: "rule (i): it is a best anchor of object",
        3: "rules (i) and (ii)",
        4: "neither positive nor below 0.3",
        5: "it crosses the border",
    }
    for rule in np.unique(step.learning.rules):
        shown.choose(int(np.flatnonzero(step.learning.rules == rule)[0]))
        assert words[int(rule)] in shown.find("#panel").text


def test_pointing_at_a_cell_draws_its_anchors_and_selects_nothing(shown: Shown, step: OpenStep):
    before, selected = shown.pixels("above"), shown.selected
    shown.act_at(*centre(step, 200), click=False)
    A, columns = len(step.base_anchors), step.output.features.shape[3]
    row, column = divmod(200 // A, columns)
    assert f"cell ({row}, {column})" in shown.find("#pointed").text
    assert shown.pixels("above") != before
    assert shown.selected == selected


def test_a_click_selects_the_most_telling_anchor_of_the_cell(shown: Shown, step: OpenStep):
    k = some(step, POSITIVE)
    shown.choose(0)
    before = shown.pixels("above")
    shown.act_at(*centre(step, k), click=True)
    A = len(step.base_anchors)
    cell = range(k // A * A, k // A * A + A)
    assert shown.selected in cell
    assert step.learning.labels[shown.selected] == POSITIVE
    assert shown.pixels("above") != before


def test_arrow_keys_move_by_a_cell_and_stop_at_the_border(shown: Shown, step: OpenStep):
    A, columns = len(step.base_anchors), step.output.features.shape[3]
    shown.choose(2)
    for key, expected in (
        ("ARROW_LEFT", 2),
        ("ARROW_UP", 2),
        ("ARROW_RIGHT", A + 2),
        ("ARROW_DOWN", (columns + 1) * A + 2),
        ("ARROW_LEFT", columns * A + 2),
    ):
        shown.press(key)
        assert shown.selected == expected
    assert str(columns * A + 2) in shown.find("#said").get_attribute("textContent")


def test_the_buttons_of_a_cell(shown: Shown, step: OpenStep):
    shown.choose(200)
    A = len(step.base_anchors)
    buttons = shown.all(".cell button")
    assert len(buttons) == A
    buttons[-1].click()
    assert shown.selected == 200 // A * A + A - 1
    pressed = [b.get_attribute("aria-pressed") for b in shown.all(".cell button")]
    assert pressed == ["false"] * (A - 1) + ["true"]


@pytest.mark.parametrize(
    "layer",
    [
        "object",
        "by_iou",
        "by_best",
        "negative",
        "between",
        "outside",
        "sampled",
        "before",
        "after",
        "heat",
    ],
)
def test_a_layer_comes_and_goes(shown: Shown, layer: str):
    before = shown.pixels("below")
    box = shown.find(f"#layer-{layer}")
    box.click()
    changed = shown.pixels("below")
    assert changed != before
    box.click()
    assert shown.pixels("below") == before


def test_the_counts_beside_the_layers(shown: Shown, step: OpenStep):
    def count(layer: str) -> int:
        label = shown.js(
            "return arguments[0].parentElement.innerText", shown.find(f"#layer-{layer}")
        )
        return int(label.split()[-1].replace(",", ""))

    rules = step.learning.rules
    assert count("negative") == (rules == 0).sum()
    assert count("by_iou") == (rules == 1).sum()
    assert count("by_best") == ((rules == 2) | (rules == 3)).sum()
    assert count("between") == (rules == 4).sum()
    assert count("outside") == (rules == 5).sum()
    assert count("sampled") == (step.learning.labels != IGNORE).sum()
    assert count("before") == len(step.ranking.anchors)
    assert count("after") == (step.ranking.fates == KEPT).sum()


def test_the_slider_changes_how_many_proposals_are_drawn(shown: Shown):
    shown.find("#layer-after").click()
    before = shown.pixels("below")
    shown.find("#top").send_keys("\ue012" * 5)  # arrow left
    assert shown.find("#top-said").text == "5"
    assert shown.pixels("below") != before


def test_the_mini_batch_leads_to_its_anchors(shown: Shown, step: OpenStep):
    shown.find("#batch summary").click()
    rows = shown.all("#batch-rows tr")
    costs = step.learning.terms.contributions.sum(axis=1)
    batch = np.flatnonzero(step.learning.labels != IGNORE)
    listed = [int(row.get_attribute("data-anchor")) for row in rows]
    assert sorted(listed) == batch.tolist()
    np.testing.assert_allclose(costs[listed], np.sort(costs[batch])[::-1], rtol=1e-6)
    rows[3].find_element("css selector", "button").click()
    assert shown.selected == listed[3]
    assert shown.all('#batch-rows [aria-current="true"]') == [rows[3]]


def test_the_fate_of_a_proposal_leads_to_what_beat_it(shown: Shown, step: OpenStep):
    anchors, fates = step.ranking
    shown.choose(int(anchors[0]))
    assert "stays after NMS, as proposal 1." in shown.text("fate")
    rank = int(np.flatnonzero(fates >= 0)[0])
    shown.choose(int(anchors[rank]))
    assert f"Candidate {rank + 1} of" in shown.text("fate")
    shown.find('[data-name="fate"] button').click()
    assert shown.selected == anchors[fates[rank]]


def test_the_address_chooses_an_anchor(show: Callable[..., Any], page: Path, step: OpenStep):
    k = some(step, NEGATIVE)
    shown = Shown(show(page, ending=f"#anchor={k}"))
    assert shown.selected == k
    assert not shown.find("#stray").is_displayed()
    # So does one that somebody types into the address of the page.
    shown.js("location.hash = 'anchor=' + arguments[0]", k + 1)
    shown.wait(lambda: shown.selected == k + 1)


def test_the_address_follows_the_reader(shown: Shown, step: OpenStep):
    assert shown.js("return location.hash") == ""
    before = shown.js("return history.length")
    shown.choose(some(step, NEGATIVE))
    k = some(step, POSITIVE)
    shown.choose(k)
    shown.wait(lambda: shown.js("return location.hash") == f"#anchor={k}")
    assert shown.js("return history.length") == before
    shown.browser.refresh()
    shown.wait(lambda: shown.js("return document.body.dataset.ready"))
    assert shown.selected == k


def test_a_report_leads_to_an_anchor(show: Callable[..., Any], run: Path, step: OpenStep):
    assert main(["explain", str(run), "000001"]) == 0
    assert main(["report", str(run)]) == 0
    browser = show(run / "report.html")
    browser.find_element("partial link text", "the best proposal").click()
    shown = Shown(browser)
    assert shown.selected == step.ranking.anchors[0] != notable_of(step)["positive"]
    assert shown.find("h1").text == "One training step on 000001"


def test_a_key_held_down_changes_the_address_once(shown: Shown):
    shown.choose(0)
    shown.js(
        "window.changes = 0; const replace = history.replaceState.bind(history);"
        "history.replaceState = (...all) => { window.changes++; replace(...all); };"
    )
    shown.js(
        "const key = () => new KeyboardEvent('keydown', {key: 'ArrowRight', cancelable: true});"
        "for (let i = 0; i < 300; i++) document.getElementById('above').dispatchEvent(key());"
    )
    k = shown.selected
    assert k > 0
    shown.wait(lambda: shown.js("return location.hash") == f"#anchor={k}")
    assert shown.js("return window.changes") == 1


@pytest.mark.parametrize(
    "ending",
    ["anchor=999999", "anchor=-1", "anchor=1.5", "anchor=", "anchor=%3Cb%3E", "b", "anchor=1&"],
)
def test_an_address_of_no_anchor_is_a_note(
    show: Callable[..., Any], page: Path, step: OpenStep, ending: str
):
    shown = Shown(show(page, ending=f"#{ending}"))
    note = shown.find("#stray")
    assert note.is_displayed()
    assert note.text == (
        f'The address ends in "#{ending}", which chooses no anchor: '
        f"#anchor=0 to #anchor={len(step.output.anchors) - 1} would."
    )
    assert shown.selected == notable_of(step)["positive"]
    shown.choose(3)
    assert not note.is_displayed()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone_nothing_sticks_out(show: Callable[..., Any], page: Path, dark: bool):
    shown = Shown(show(page, 400, 800, dark))
    shown.find("#batch summary").click()
    assert shown.js("return document.documentElement.scrollWidth") <= 400
    ground = shown.js("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)")


def test_without_ground_truth(show: Callable[..., Any], run: Path, tmp_path: Path):
    image, path = tmp_path / "<b>lone</b>.png".replace("/", ""), tmp_path / "lone.html"
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(image)
    assert main(["explain", str(run), str(image), "--out", str(path)]) == 0
    shown = Shown(show(path))
    assert "nothing to learn from" in shown.find("#notice").text
    assert shown.find("h1").text == "Anchors and proposals on <b>lone<b>"
    assert shown.has("p")
    assert not shown.has("label")
    assert not shown.find("#loss").is_displayed()
    assert {box.get_attribute("id") for box in shown.all("#layers input")} == {
        "layer-heat",
        "layer-before",
        "layer-after",
    }
