"""Sections of the page about what goes on in the network while it learns."""

from __future__ import annotations

from typing import Any

from minirpn.report.contents import Contents, Picture
from minirpn.report.html import HTML, element, figure, join, table
from minirpn.report.words import percent, scientific, share

_WARNINGS_SHOWN = 12
_STRIPS, _IN_A_STRIP = 3, 9  # of sample pictures: as many as a run makes


def warnings(contents: Contents) -> HTML:
    """Return what the run warned of, the last of it."""
    found = contents.of_kind("warning")
    if not found:
        return element("p", "No warnings.") if contents.records else HTML("")
    shown = found[-_WARNINGS_SHOWN:]
    lines = [f"Step {warning.get('step')}: {warning.get('message')}" for warning in shown]
    if len(found) > len(shown):
        lines.insert(0, f"{len(found) - len(shown)} earlier warnings are in metrics.jsonl.")
    return element("ul", *(element("li", line) for line in lines), class_="warnings")


def health(contents: Contents) -> HTML:
    """Return what the last examination of the network found."""
    diagnoses = contents.of_kind("diagnose")
    if not diagnoses:
        return HTML("")
    last = diagnoses[-1]
    zeros, norms = last.get("zero_share") or {}, last.get("gradient_norm") or {}
    weights, ratios = last.get("weight_norm") or {}, last.get("update_ratio") or {}
    rows = (
        [
            stage,
            percent(zeros.get(stage)),
            *(scientific(numbers.get(stage)) for numbers in (norms, weights, ratios)),
        ]
        for stage in dict.fromkeys([*zeros, *norms, *weights])
    )
    head = ["stage", "zero activations", "length of gradient", "length of weights", "change"]
    before, after = last.get("proposals_before_nms"), last.get("proposals_after_nms")
    words = [
        f"At step {last.get('step')}. The change is that of the last step, as a share of the "
        "weights' length: about 1e-3 is usual."
    ]
    if before is not None and after is not None:
        words.append(f"Of {before:,} proposals NMS keeps {after:,}.")
    by_anchor = last.get("objectness_by_anchor") or []
    if by_anchor:
        shares = ", ".join(share(value) for value in by_anchor)
        words.append(f"Mean objectness of each base anchor: {shares}.")
    return join([table(head, rows), element("p", " ".join(words)), _layers(last)])


def _layers(diagnosis: dict[str, Any]) -> HTML:
    """Return the lengths of each layer's gradient and weights, folded up."""
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
    """Return the same images over the steps, a row for each."""
    records = contents.of_kind("samples")[-_IN_A_STRIP:]
    strips: dict[str, list[HTML]] = {}
    for record in records:
        for image, name in zip(record.get("images") or [], record.get("files") or [], strict=False):
            # The name alone, wherever a record claims that it lies.
            path = contents.run / "plots" / "samples" / str(name).rpartition("/")[2]
            if path.is_file():
                source = Picture(path, "").data_uri()
                shown = figure(source, f"{image}, step {record.get('step')}")
                strips.setdefault(str(image), []).append(shown)
    if not strips:
        return HTML("")
    words = (
        "Above: anchors sampled for the loss, positive ones blue, some of the negative ones grey. "
        "Below: the ten best proposals. Objects are red."
    )
    rows = [element("div", join(row), class_="strip") for row in list(strips.values())[:_STRIPS]]
    return join([element("p", words), *rows])
