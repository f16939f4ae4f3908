"""The report of a run in a browser: pictures open and close, and nothing jumps or sticks out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minirpn.report import write_report
from tests.unit.test_report import RECORDS, fill

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDE = "a.name.of.a.layer.that.is.longer.than.the.screen.of.any.telephone" * 2
WIDTH = "return document.documentElement.clientWidth"  # without the bar that scrolls


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with photographs of several shapes, wide tables and long lines."""
    run = tmp_path_factory.mktemp("runs") / f"run-{WIDE}"
    layers = {"kind": "diagnose", "step": 5, "layers": {WIDE: {"gradient": 0.5, "weight": 2.0}}}
    warning = {"kind": "warning", "step": 5, "message": WIDE * 4}
    records = [*RECORDS, layers, warning]
    files = {
        "config.toml": f'[data]\nvoc = "/{WIDE}"\n[model]\nbackbone = "zf"\n',
        "env.json": json.dumps({"command": ["minirpn", "train", WIDE], WIDE: WIDE}),
        "metrics.jsonl": "".join(json.dumps(record) + "\n" for record in records),
        "plots/captions.json": json.dumps({"proposals_10.png": WIDE}),
    }
    fill(run, **files)
    rng = np.random.default_rng(0)
    for name, (width, height) in (
        ("proposals_2.png", (600, 900)),  # portrait
        ("proposals_10.png", (1280, 800)),
        ("labels.png", (120, 80)),
        ("samples/1-0.png", (300, 200)),
    ):
        noise = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        Image.fromarray(noise).save(run / "plots" / name)
    return write_report(run)


class Report:
    """The page as someone in front of it sees it."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def js(self, code: str, *values: object) -> Any:
        return self.browser.execute_script(code, *values)

    def find(self, css: str) -> Any:
        return self.browser.find_element("css selector", css)

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        ActionChains(self.browser).send_keys(getattr(Keys, key)).perform()

    @property
    def opened(self) -> list[str]:
        """The pictures that cover the page, by id."""
        return self.js("return [...document.querySelectorAll(':popover-open')].map(one => one.id)")

    def rect(self, css: str) -> list[float]:
        code = (
            "const r = arguments[0].getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
        )
        return self.js(code, self.find(css))

    def places(self) -> list[list[float]]:
        """Return where all parts of the page are but the pictures themselves."""
        return self.js(
            "const all = document.querySelectorAll('h1, h2, nav, figure, section, footer');"
            "return [...all].map(one => one.getBoundingClientRect())"
            ".map(r => [r.x, r.y + scrollY, r.width, r.height])"
        )


@pytest.fixture
def report(show: Callable[..., Any], page: Path) -> Report:
    return Report(show(page))


def test_a_click_shows_the_full_size_and_the_next_one_closes_it(report: Report):
    before, places = report.rect("#picture-2 img"), report.places()
    picture = report.find("#picture-2 button")
    picture.click()
    assert report.opened == ["picture-2"]
    left, top, width, height = report.rect("#picture-2 img")
    assert width >= 640 > 2 * before[2]
    assert width / height == pytest.approx(before[2] / before[3], rel=0.02)
    assert left >= 0 <= top
    assert left + width <= 1280 and top + height <= 900  # noqa: PT018
    assert report.rect("#picture-2") == [0, 0, report.js(WIDTH), 900]
    assert report.places() == places  # nothing else has moved
    picture.click()
    assert report.opened == []
    assert report.rect("#picture-2 img") == before
    assert report.js("return [scrollY, location.hash]") == [0, ""]


def test_a_portrait_fits_into_the_window(report: Report):
    report.find("#picture-1 button").click()
    _, top, width, height = report.rect("#picture-1 img")
    assert height > 600
    assert top + height <= 900
    assert width / height == pytest.approx(2 / 3, rel=0.02)


def test_a_small_picture_is_shown_larger(report: Report):
    report.find("#sample-1 button").click()
    assert report.rect("#sample-1 img")[2] == 480


def test_a_picture_opens_and_closes_by_keys(report: Report):
    report.js("document.querySelector('#made-with').scrollIntoView()")
    report.js("document.querySelector('#picture-3 button').focus()")
    place = report.js("return scrollY")
    for opens, closes in (("ENTER", "ENTER"), ("SPACE", "SPACE"), ("ENTER", "ESCAPE")):
        report.press(opens)
        assert report.opened == ["picture-3"]
        report.press(closes)
        assert report.opened == []
        assert report.js("return document.activeElement.parentElement.id") == "picture-3"
    assert report.js("return scrollY") == place


def test_an_open_picture_leads_to_the_larger_file(report: Report, page: Path):
    link = report.find("#picture-2 a")
    assert not link.is_displayed()
    report.find("#picture-2 button").click()
    assert link.is_displayed()
    assert link.get_attribute("href") == (page.parent / "plots/proposals_10.png").as_uri()


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_jumps_when_the_pictures_come(
    show: Callable[..., Any], page: Path, tmp_path: Path, width: int
):
    """The page without its pictures has all its parts at the same places."""
    whole = Report(show(page, width)).places()
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(' src="[^"]*"', "", page.read_text(encoding="utf-8")), encoding="utf-8")
    assert len(bare.read_bytes()) < len(page.read_bytes()) / 10
    assert len(whole) > 30
    np.testing.assert_allclose(Report(show(bare, width)).places(), whole, atol=0.6)


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_sticks_out(show: Callable[..., Any], page: Path, width: int, dark: bool):
    report = Report(show(page, width, 800, dark))
    report.find("summary").click()
    report.find("#picture-2 button").click()
    assert report.js("return document.documentElement.scrollWidth") <= width
    assert report.js("return document.querySelector('#picture-2').scrollWidth") <= width
    ground = report.js("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(21, 24, 27)" if dark else "rgb(255, 255, 255)")
    # A table that is wider than the page can be scrolled; code breaks its lines.
    code = (
        "const one = document.querySelector(arguments[0]); return one.scrollWidth - one.clientWidth"
    )
    assert report.js(code, "#health details .wide")
    assert not report.js(code, "#settings pre")


def test_the_menu_leads_to_a_section(report: Report):
    report.find('nav a[href="#settings"]').click()
    assert 0 <= report.rect("#settings")[1] < 450
