"""The page of a step: template, style, scripts and data in one file that opens offline."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

import minirpn
from minirpn.data.transforms import resize
from minirpn.explain.step import Learning, OpenStep, Rule
from minirpn.files import one_line_errors, replace_file
from minirpn.rpn.targets import IGNORE, NEGATIVE, POSITIVE
from minirpn.text import elided, message, printable
from minirpn.viz import style

# In this order: each uses what those before it define.
SCRIPTS = ("numbers.js", "drawing.js", "panel.js", "page.js")

_JPEG_QUALITY = 88

# The colours of minirpn.viz.draw_labels but for objects, and further ones of the same palette.
COLOURS = {
    "object": style.VERMILLION,
    "by_iou": style.SKY,
    "by_best": style.ORANGE,
    "negative": style.GREY,
    "between": style.YELLOW,
    "outside": style.BLACK,
    "sampled": style.BLUE,
    "predicted": style.GREEN,
    "before": style.PURPLE,
    "after": style.PURPLE,
}


def write_page(step: OpenStep, path: Path) -> Path:
    """Write the page of a step and return its path.

    The page is one file that holds the picture, the numbers, the style and the scripts.

    Raises
    ------
    InputError
        The file or its folder cannot be written.
    """
    with one_line_errors(path.parent, "make the folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, render(contents_of(step)).encode())
    return path


def render(contents: dict[str, Any]) -> str:
    """Return the page that shows what `contents_of` gives."""
    learns = contents["learning"] is not None
    title = "One training step on" if learns else "Anchors and proposals on"
    return Template(_read("page.html")).substitute(
        # For a report, which reads the beginning of the page alone.
        notable=escape(json.dumps(contents["notable"])),
        title=escape(f"{title} {contents['image']['name']}"),
        version=escape(minirpn.__version__),
        style=_read("page.css"),
        data=script_safe(json.dumps(contents, allow_nan=False)),
        script="\n".join(map(_read, SCRIPTS)),
    )


def script_safe(text: str) -> str:
    r"""Return JSON without a ``<``, so that nothing in it can end the script element it is in.

    >>> script_safe('{"name": "</script>"}')
    '{"name": "\\u003c/script>"}'
    """
    return text.replace("<", "\\u003c")


def _read(name: str) -> str:
    return files("minirpn.explain").joinpath(name).read_text(encoding="utf-8")


def contents_of(step: OpenStep) -> dict[str, Any]:
    """Return everything the page shows, as plain data for JSON."""
    return {
        "image": _image(step),
        "run": _run(step),
        "grid": _grid(step),
        "objects": _objects(step),
        "outputs": {
            "objectness": packed(step.output.objectness[0, ...], np.float32),
            "deltas": packed(step.output.deltas[0, ...], np.float32),
        },
        "proposals": _proposals(step),
        "learning": None if step.learning is None else _learning(step, step.learning),
        "notable": notable_of(step),
        "no_truth": step.picture.no_truth and message(step.picture.no_truth),
        "colours": COLOURS,
    }


def packed(array: np.ndarray, dtype: Any) -> dict[str, Any]:
    """Return an array as plain data: its type, its shape, its little-endian bytes in base64.

    >>> packed(np.array([1, 2]), np.int8)
    {'type': 'int8', 'shape': [2], 'base64': 'AQI='}
    """
    little = np.asarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
    encoded = base64.b64encode(little.tobytes()).decode("ascii")
    return {"type": np.dtype(dtype).name, "shape": list(array.shape), "base64": encoded}


def notable_of(step: OpenStep) -> dict[str, int]:
    """Return the anchors worth a look, by what they are; the page selects the first of them.

    ``positive`` adds most to the loss of the positives in the mini-batch; without positives,
    ``negative`` does of the negatives. Of equal ones it is the first. ``proposal`` gives the best
    proposal. What there is none of is left out.
    """
    notable = {}
    if step.learning is not None:
        labels = step.learning.labels
        label = POSITIVE if (labels == POSITIVE).any() else NEGATIVE
        rows = np.flatnonzero(labels == label)
        if len(rows):
            costs = step.learning.terms.contributions[rows].astype(np.float64).sum(axis=1)
            name = "positive" if label == POSITIVE else "negative"
            notable[name] = int(rows[np.argmax(costs)])
    if len(step.ranking.anchors):
        notable["proposal"] = int(step.ranking.anchors[0])
    return notable


def _image(step: OpenStep) -> dict[str, Any]:
    annotation = step.example.annotation
    height, width = step.example.image_size
    original_height, original_width = annotation.image_size
    return {
        "name": printable(annotation.image_id),
        "width": width,
        "height": height,
        "original_width": original_width,
        "original_height": original_height,
        "scale": step.example.scale,
        "uri": data_uri(resize(step.picture.sample.image, step.example.scale)),
    }


def data_uri(image: np.ndarray) -> str:
    """Return an image (H, W, 3) uint8 as a data URI, a JPEG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _run(step: OpenStep) -> dict[str, Any]:
    config = step.config
    return {
        "seed": config.run.seed,
        "backbone": config.model.backbone,
        "form": config.loss.form,
        "sigma": config.loss.sigma,
        "positive_iou": config.labels.positive_iou,
        "negative_iou": config.labels.negative_iou,
        "inside_only": config.labels.inside_only,
        "batch_size": config.sampling.batch_size,
        "nms_iou": config.proposals.iou_threshold,
        "pre_nms": config.proposals.pre_nms,
        "post_nms": config.proposals.post_nms,
        "min_size": config.proposals.min_size,
    }


def _grid(step: OpenStep) -> dict[str, Any]:
    """Return feature map, stride and base anchors: the page computes the anchors from these."""
    Hf, Wf = step.output.features.shape[2:]
    shapes = [
        (ratio, s) for ratio in step.config.anchors.ratios for s in step.config.anchors.scales
    ]
    return {
        "rows": Hf,
        "columns": Wf,
        "stride": step.stride,
        "scales": len(step.config.anchors.scales),
        "base": [
            {"box": box, "ratio": ratio, "scale": scale}
            for box, (ratio, scale) in zip(step.base_anchors.tolist(), shapes, strict=True)
        ],
    }


def _objects(step: OpenStep) -> dict[str, list[dict[str, Any]]]:
    """Return the ground truths, those trained on in the order of `matched_gt`."""
    example, names = step.example, step.picture.classes
    left_out = ~step.config.data.learnt(example.difficult)
    named = [
        {"box": box, "name": elided(printable(names[number]))}
        for box, number in zip(example.gt_boxes.tolist(), example.gt_classes, strict=True)
    ]
    return {
        "learnt": [item for item, out in zip(named, left_out, strict=True) if not out],
        "difficult": [item for item, out in zip(named, left_out, strict=True) if out],
        "ignored": [{"box": box} for box in example.ignored.tolist()],
    }


def _proposals(step: OpenStep) -> dict[str, Any]:
    anchors, fates = step.ranking
    return {"anchors": packed(anchors, np.int32), "fates": packed(fates, np.int32)}


def _learning(step: OpenStep, learning: Learning) -> dict[str, Any]:
    assigned, labels = learning.assigned, learning.labels
    return {
        "loss": {name: float(value) for name, value in learning.loss._asdict().items()},
        "divisors": learning.terms.divisors._asdict(),
        "locations": step.output.locations,
        "counts": {
            "positives": int((assigned.labels == POSITIVE).sum()),
            "negatives": int((assigned.labels == NEGATIVE).sum()),
            "sampled_positives": int((labels == POSITIVE).sum()),
            "sampled_negatives": int((labels == NEGATIVE).sum()),
        },
        "rules": {rule.name.lower(): int(rule) for rule in Rule},
        "rule": packed(learning.rules, np.int8),
        "max_iou": packed(assigned.max_iou, np.float32),
        "matched": packed(assigned.matched_gt, np.int16),
        "best_of": packed(learning.best_of, np.int16),
        "label": packed(labels, np.int8),
        "detail": _detail(learning),
    }


def _detail(learning: Learning) -> dict[str, Any]:
    """Return the numbers that only positive and sampled anchors have."""
    rows = np.flatnonzero((learning.assigned.labels == POSITIVE) | (learning.labels != IGNORE))
    terms, grads = learning.terms, learning.grads
    return {
        "anchors": packed(rows, np.int32),
        "targets": packed(learning.targets[rows], np.float32),
        "class_losses": packed(terms.class_losses[rows], np.float32),
        "box_losses": packed(terms.box_losses[rows], np.float32),
        "contributions": packed(terms.contributions[rows], np.float32),
        "dobjectness": packed(grads.dobjectness[rows], np.float32),
        "ddeltas": packed(grads.ddeltas[rows], np.float32),
    }
