"""The page about a run: first its diagrams, then each section, made by one function."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

import minirpn
from minirpn import viz
from minirpn.errors import InputError
from minirpn.evaluation import AVERAGES
from minirpn.files import one_line_errors, replace_file
from minirpn.report.contents import Contents, Explained, read_contents
from minirpn.report.html import (
    HTML,
    Picture,
    anchor_of,
    duration,
    element,
    figure,
    join,
    percent,
    scientific,
    section,
    share,
    table,
)
from minirpn.text import message as one_line

DIAGRAMS = {
    "training.png": "Losses over the steps: thin each step, thick their moving mean, circles on "
    "the validation images.",
    "validation.png": "Recall on the validation images while training.",
    "recall.png": "Recall over the IoU that counts as found, as in figure 4 of the paper.",
    "precision_recall.png": "Precision over recall of the detections; the area under a line is its "
    "average precision.",
    "stages.png": "Share of zeros after each stage, and length of the gradient of its parameters.",
    "norms.png": "Length of the parameters of each stage, and of their change in one step.",
}
# Keys of a diagnosis and the names of their columns.
_HEALTH = {
    "zero_share": "zero activations",
    "gradient_norm": "length of gradient",
    "weight_norm": "length of weights",
    "update_ratio": "change",
}
# What a page of `minirpn explain` recommends, in words.
_NOTABLE = {
    "positive": "the positive anchor that adds most to the loss",
    "negative": "the negative anchor that adds most to the loss",
    "proposal": "the anchor of the best proposal",
}
_RESULTS = ("detections_", "proposals_")  # names of pictures begin so that show what came out
_WARNINGS_SHOWN = 12
_STRIPS, _IN_A_STRIP = 3, 9  # of sample pictures


def write_report(run: Path | str) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The page is one file that holds its pictures and its style. It loads and runs nothing. It shows
    what is in the folder, and says what is missing.

    Parameters
    ----------
    run
        A folder with any of ``config.toml``, ``env.json``, ``metrics.jsonl``, ``recall.json``,
        ``precision.json``, ``data.json``, ``explain/*.html``, ``plots/samples`` and
        ``plots/*.png`` (with captions in ``plots/captions.json``: file name -> caption). The
        diagrams of losses, recall and stages are drawn into ``plots/``.

    Raises
    ------
    InputError
        There is no such folder, or it cannot be written to.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder")
    path = run / "report.html"
    contents = read_contents(run)
    with one_line_errors(path, "write the report"):
        _draw_diagrams(contents)
        page = render(contents).encode()
    replace_file(path, page)
    return path


def _draw_diagrams(contents: Contents) -> None:
    """Draw the diagrams that there are numbers for; if one cannot be drawn, add a notice."""
    if (contents.run / "plots").is_symlink():
        contents.notices.append("plots is a link: no diagrams are drawn into it.")
        return
    records, recall, precision = contents.records, contents.recall, contents.precision
    diagnoses = contents.of_kind("diagnose")
    has_norms = any("weight_norm" in record for record in diagnoses)
    # Name of the file -> what it needs, and how it is drawn.
    diagrams: dict[str, tuple[object, Callable[..., Any], object]] = {
        "training.png": (contents.of_kind("train"), viz.plot_training, records),
        "validation.png": (contents.of_kind("validate"), viz.plot_validation_recall, records),
        "stages.png": (diagnoses, viz.plot_stages, records),
        "norms.png": (has_norms, viz.plot_norms, records),
        "recall.png": (recall, viz.plot_recall, recall),
        "precision_recall.png": (precision, viz.plot_precision_recall, precision),
    }
    for name, (needed, draw, numbers) in diagrams.items():
        if not needed:
            continue
        try:
            drawn = draw(numbers)
        except ValueError as error:
            contents.notices.append(one_line(f"{name} could not be drawn: {error}."))
        else:
            axes = drawn[0] if isinstance(drawn, tuple) else drawn
            viz.save(axes, contents.run / "plots" / name)


def render(contents: Contents) -> str:
    """Return the whole page."""
    pictures = contents.pictures()
    drawn = {picture.name: picture for picture in pictures}
    name = contents.run.resolve().name
    # In the order in which a reader asks.
    sections: dict[str, list[HTML]] = {
        "Pictures": [_overview(pictures)],
        "Recall": [_recall(contents), _figures(drawn, "recall.png")],
        "Detections": [_precision(contents), _figures(drawn, "precision_recall.png")],
        "Training": [_figures(drawn, "training.png", "validation.png"), _pace(contents)],
        "Health": [
            warnings(contents),
            _figures(drawn, "stages.png", "norms.png"),
            health(contents),
        ],
        "Over time": [samples(contents)],
        "One step": [_explained(contents)],
        "Again": _commands(contents),
        "Settings": [_settings(contents)],
        "Made with": [_versions(contents)],
    }
    titles = [title for title, content in sections.items() if any(content)]
    # After all that adds to them.
    notices = [element("li", notice) for notice in contents.notices]
    body = join(
        [
            element("header", element("h1", name), _facts(contents)),
            element("ul", *notices, class_="notices") if notices else HTML(""),
            _headline(contents),
            _menu(titles),
            *(section(title, *content) for title, content in sections.items()),
            element("footer", f"Written by minirpn {minirpn.__version__}."),
        ]
    )
    style = files("minirpn.report").joinpath("page.css").read_text(encoding="utf-8")
    head = join(
        [
            HTML('<meta charset="utf-8">'),
            HTML('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            HTML('<meta name="color-scheme" content="light dark">'),
            element("title", f"{name} - minirpn"),
            element("style", HTML(style)),
        ]
    )
    html = element("html", element("head", head), element("body", element("main", body)), lang="en")
    return f"<!doctype html>\n{html}\n"


def _menu(titles: list[str]) -> HTML:
    """Return links to the sections, if there are any."""
    links = [element("a", title, href=f"#{anchor_of(title)}") for title in titles]
    return element("nav", *links, aria_label="Sections") if links else HTML("")


# What came out.


def _facts(contents: Contents) -> HTML:
    """Return what was trained, on what, where and how long; what is not known is left out."""
    facts = {
        "Network": _network(contents),
        "Data": _data(contents),
        "Device": _device(contents.environment),
        "Training": _extent(contents),
    }
    pairs = (
        element("div", element("dt", name), element("dd", one_line(text)))
        for name, text in facts.items()
        if text
    )
    return element("dl", *pairs, class_="facts")


def _network(contents: Contents) -> str:
    """Return the backbone, what it began with, and whether there is a detector."""
    backbone = _value(contents, "model", "backbone")
    if not backbone:
        return ""
    weights, sharing = _value(contents, "model", "weights"), _value(contents, "sharing", "kind")
    began = f"from {_last_part(weights)}" if weights else "from random weights"
    detector = f", with a detector ({sharing})" if sharing not in ("", "rpn-only") else ""
    return f"{backbone} {began}{detector}"


def _data(contents: Contents) -> str:
    """Return the data set, and the number of images in each split."""
    voc, year = _value(contents, "data", "voc"), _value(contents, "data", "year")
    source = _last_part(voc) if voc else "generated shapes" if contents.values else ""
    # The year is in most names already.
    source += f" {year}" if year and year not in source else ""
    splits = [
        f"{split.images:,} images in {name}"
        + (f" ({split.left_out:,} left out)" if split.left_out else "")
        for name, split in contents.splits.items()
    ]
    return ": ".join(part for part in (source, ", ".join(splits)) if part)


def _device(environment: dict[str, Any]) -> str:
    """Return where it was computed: on which card, or on how many cores."""
    device, ranks = environment.get("device"), environment.get("ranks")
    if not isinstance(device, dict) or not device.get("name"):
        return ""
    cores = environment.get("cpus_usable")
    about = device.get("about") or (f"{cores} cores" if cores and device["name"] == "cpu" else "")
    size = ranks.get("size") if isinstance(ranks, dict) else None
    return ", ".join(
        [
            str(device["name"]),
            *([str(about)] if about else []),
            *([f"{size} ranks"] if size else []),
        ]
    )


def _extent(contents: Contents) -> str:
    """Return how far the run went."""
    train = contents.of_kind("train")
    if not train:
        return "no step was recorded"
    done = train[-1].get("step", len(train))
    planned = _setting(contents, "optimizer", "steps")
    goes_on = isinstance(planned, int) and planned > done
    steps = f"{done:,} of {planned:,} steps" if goes_on else f"{done:,} steps"
    seconds = sum(record.get("step_seconds") or 0 for record in train)
    return f"{steps} in {duration(seconds)}" if seconds else steps


def _setting(contents: Contents, section: str, key: str) -> Any:
    """Return what the settings of the run say, None if they do not."""
    table = contents.values.get(section)
    return table.get(key) if isinstance(table, dict) else None


def _value(contents: Contents, section: str, key: str) -> str:
    """Return a setting in words, empty if it is not given."""
    value = _setting(contents, section, key)
    return "" if value in (None, "none") else str(value)


def _last_part(path: str) -> str:
    """Return the last part of a path of any system; a short name is the whole of it."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _headline(contents: Contents) -> HTML:
    """Return the most important numbers."""
    numbers = _headline_numbers(contents)
    cards = (element("p", element("strong", share(value)), name) for name, value in numbers)
    return element("div", *cards, class_="cards")


def _headline_numbers(contents: Contents) -> Iterable[tuple[str, float | None]]:
    """Yield (name, value) of the recall at the end, or of the last validation without one."""
    result, validate = contents.recall, contents.of_kind("validate")
    if contents.precision is not None:
        threshold = contents.precision.iou_threshold
        yield f"mean average precision at IoU {threshold:g}", contents.precision.mean_ap
    if result is not None:
        if 0.5 in result.iou_thresholds:
            for count in sorted({100, 300} & set(result.counts)):
                yield f"recall at IoU 0.5, {count} proposals", result.at(count)
        yield f"average recall, {result.counts[-1]:,} proposals", result.average_recall[-1]
    elif validate:
        for count, value in (validate[-1].get("recall") or {}).items():
            step = validate[-1].get("step")
            yield f"recall at IoU 0.5, {count} proposals, validation at step {step}", value
    train = contents.of_kind("train")
    if train:
        yield "loss of the last step", train[-1].get("loss")
    if validate and "loss" in validate[-1]:
        yield "loss of the last validation", validate[-1]["loss"]


def _recall(contents: Contents) -> HTML:
    """Return the table of recalls, and a line that says on which images."""
    result = contents.recall
    if result is None:
        return HTML("")
    columns = result.columns()
    rows = (
        [f"{count:,}", *(share(values[row]) for values in columns.values())]
        for row, count in enumerate(result.counts)
    )
    sizes = ", ".join(f"{count:,} {size}" for size, count in result.gt_count_by_size.items())
    where = f" on {contents.measured_on}" if contents.measured_on else ""
    words = (
        f"Share of the {result.gt_count:,} objects ({sizes}) found{where}, matched "
        f"{result.matching}. AR, the average recall, is the mean over IoU "
        f"{result.iou_thresholds[0]:g} to {result.iou_thresholds[-1]:g}."
    )
    return join([table(["proposals", *columns], rows), element("p", words)])


def _precision(contents: Contents) -> HTML:
    """Return the table of average precisions, and a line that says on which images."""
    result = contents.precision
    if result is None:
        return HTML("")
    by_method = [(method, result.ap_by(method)) for method in AVERAGES]
    rows = [
        [name, curve.positives, curve.found, curve.wrong]
        + [share(float(ap[index])) for _, ap in by_method]
        for index, (name, curve) in enumerate(zip(result.classes, result.curves, strict=True))
    ]
    rows.append(["mean", "", "", "", *(share(result.mean_by(method)) for method in AVERAGES)])
    head = ["class", "objects", "found", "false", *(f"AP {method}" for method in AVERAGES)]
    where = f" on {contents.precision_on}" if contents.precision_on else ""
    words = f"Measured{where}; a detection finds an object at an IoU of {result.iou_threshold:g}."
    return join([table(head, rows), element("p", words)])


def _pace(contents: Contents) -> HTML:
    """Return the time of a step, and how much of it was spent waiting for images."""
    train = contents.of_kind("train")
    seconds = [record["step_seconds"] for record in train if record.get("step_seconds")]
    if not seconds:
        return HTML("")
    waited = sum(record.get("data_wait_seconds") or 0 for record in train)
    pace = f"{median(seconds):.2g} s a step (median)"
    return element("p", f"{pace}; {waited / sum(seconds):.1%} of the time waited for images.")


def _figures(drawn: dict[str, Picture], *names: str) -> HTML:
    """Return the diagrams of these names that were drawn."""
    figures = [
        figure(drawn[name]._replace(caption=DIAGRAMS[name]), f"picture-{Path(name).stem}")
        for name in names
        if name in drawn
    ]
    return element("div", join(figures), class_="gallery") if figures else HTML("")


def _overview(pictures: list[Picture]) -> HTML:
    """Return the pictures that are no diagrams as a grid, those of results first."""
    shown = [picture for picture in pictures if picture.name not in DIAGRAMS]
    shown.sort(key=lambda picture: not picture.name.startswith(_RESULTS))  # stable
    if not shown:
        return HTML("")
    figures = join(
        figure(picture, f"picture-{number}") for number, picture in enumerate(shown, start=1)
    )
    words = element("p", "Click a picture for its full size; a second click closes it.")
    return join([words, element("div", figures, class_="overview")])


def _explained(contents: Contents) -> HTML:
    """Return links to the pages of single steps, or else the command that makes one."""
    pages = contents.explained()
    if pages:
        words = "Every anchor of an image, with its label and what it adds to the loss:"
        return join([element("p", words), element("ul", *map(_links, pages))])
    image = _some_image(contents)
    if not image:
        return HTML("")
    words = (
        "The first command writes a page with every anchor of an image, its label and what it adds "
        "to the loss. The second one links it here."
    )
    run = shlex.quote(str(contents.run))
    lines = f"minirpn explain {run} {shlex.quote(image)}", f"minirpn report {run}"
    return join([element("p", words), element("pre", join(lines))])


def _links(page: Explained) -> HTML:
    """Return a link to a page of a step, and to each anchor that the page recommends."""
    pieces: list[object] = [element("a", page.name, href=page.address)]
    for key, words in _NOTABLE.items():
        if key in page.anchors:
            anchor = page.anchors[key]
            address = f"{page.address}#anchor={anchor}"
            separator = ": " if len(pieces) == 1 else ", "
            pieces += [separator, element("a", f"{words} ({anchor})", href=address)]
    return element("li", *pieces)


def _some_image(contents: Contents) -> str:
    """Return an image of the run: one that is shown over time, or the first of its last split."""
    shown = [image for record in contents.of_kind("samples") for image in record.get("images", [])]
    return next(iter(shown or [s.first for s in contents.splits.values() if s.first][::-1]), "")


def _commands(contents: Contents) -> list[HTML]:
    """Return the commands that started the run and that repeat it."""
    pieces = []
    command = contents.environment.get("command")
    if isinstance(command, list) and command:
        program = Path(str(command[0])).name
        # `python -m minirpn` leaves the path of the module as the program.
        words = ["python", "-m", "minirpn"] if program == "__main__.py" else [program]
        line = shlex.join([*words, *map(str, command[1:])])
        pieces += [element("p", "Started with"), element("pre", line)]
    if contents.settings:
        config = shlex.quote(str(contents.run / "config.toml"))
        again = f"minirpn train --config {config}"
        pieces += [element("p", "The same settings once more"), element("pre", again)]
    return pieces


def _settings(contents: Contents) -> HTML:
    """Return the settings, line by line as they are."""
    lines = contents.settings.split("\n")
    return element("pre", join(lines)) if contents.settings else HTML("")


def _versions(contents: Contents) -> HTML:
    rows = [row for row in _flat(contents.environment) if row[0] != "command"]
    return element("div", table(["part", "version"], rows), class_="plain") if rows else HTML("")


def _flat(plain: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield (key, value) with nested tables spelled out."""
    for key, value in plain.items():
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            yield key, "; ".join(", ".join(f"{k} {v}" for k, v in item.items()) for item in value)
        elif isinstance(value, dict):
            yield from ((f"{key} {inner}", text) for inner, text in _flat(value))
        else:
            yield key, "-" if value is None else str(value)


def warnings(contents: Contents) -> HTML:
    """Return the last warnings of the run."""
    records = contents.of_kind("warning")
    if not records:
        return element("p", "No warnings.") if contents.records else HTML("")
    last = records[-_WARNINGS_SHOWN:]
    lines = [one_line(f"Step {each.get('step')}: {each.get('message')}") for each in last]
    if len(records) > len(last):
        lines.insert(0, f"{len(records) - len(last)} earlier warnings are in metrics.jsonl.")
    return element("ul", *(element("li", line) for line in lines), class_="warnings")


def health(contents: Contents) -> HTML:
    """Return the last diagnosis of the network."""
    diagnoses = contents.of_kind("diagnose")
    if not diagnoses:
        return HTML("")
    last = diagnoses[-1]
    zeros, *lengths = (last.get(key) or {} for key in _HEALTH)
    stages = dict.fromkeys([*zeros, *lengths[0], *lengths[1]])
    rows = (
        [stage, percent(zeros.get(stage)), *(scientific(of.get(stage)) for of in lengths)]
        for stage in stages
    )
    words = [
        f"At step {last.get('step')}. The change is that of the last step, as a share of the "
        "length of the weights: about 1e-3 is usual."
    ]
    before, after = last.get("proposals_before_nms"), last.get("proposals_after_nms")
    if before is not None and after is not None:
        words.append(f"Of {before:,} proposals NMS keeps {after:,}.")
    by_anchor = last.get("objectness_by_anchor") or []
    if by_anchor:
        shares = ", ".join(share(value) for value in by_anchor)
        words.append(f"Mean objectness of each base anchor: {shares}.")
    whole = table(["stage", *_HEALTH.values()], rows)
    return join([whole, element("p", " ".join(words)), _layers(last)])


def _layers(diagnosis: dict[str, Any]) -> HTML:
    """Return the lengths of the gradient and the weights of each layer, folded up."""
    layers = diagnosis.get("layers") or {}
    if not layers:
        return HTML("")
    rows = (
        [name, *(scientific(numbers.get(kind)) for kind in ("gradient", "weight", "update"))]
        for name, numbers in layers.items()
    )
    whole = table(["layer", "length of gradient", "of weights", "of last change"], rows)
    return element("details", element("summary", "Layer by layer"), whole)


def samples(contents: Contents) -> HTML:
    """Return sample images as the training goes on, one row for each image."""
    records = contents.of_kind("samples")[-_IN_A_STRIP:]
    strips: dict[str, list[HTML]] = {}
    for record in records:
        for image, name in zip(record.get("images") or [], record.get("files") or [], strict=False):
            picture = contents.sample(name)
            if picture is not None:
                number = sum(map(len, strips.values())) + 1
                named = picture._replace(caption=f"{image}, step {record['step']}")
                strips.setdefault(image, []).append(figure(named, f"sample-{number}"))
    if not strips:
        return HTML("")
    words = (
        "Above: anchors sampled for the loss, positive ones blue, some of the negative ones grey. "
        "Below: the ten best proposals. Objects are red."
    )
    rows = [element("div", join(row), class_="strip") for row in list(strips.values())[:_STRIPS]]
    return join([element("p", words), *rows])
