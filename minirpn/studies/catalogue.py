"""The studies: questions of the paper about its anchors, its loss and its training.

The variants are made from the settings they share, so ``--anchors`` or ``--backbone`` also choose
what a study compares. The paper's numbers are from Ren, He, Girshick, Sun: *Faster R-CNN*,
arXiv:1506.01497, third version (PAMI 39(6), 2017).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minirpn.backbones import build_backbone, stage_of
from minirpn.devices import find_gpus
from minirpn.errors import InputError
from minirpn.studies.numerics import draw_numerics, first_steps, numerics_table, stored_steps
from minirpn.studies.sizes import (
    PAPER_SHORT_SIDE,
    draw_sizes,
    proposal_sizes,
    size_table,
    stored_sizes,
)
from minirpn.studies.study import Findings, Published, Study, Variant
from minirpn.studies.tables import comparison, draw_comparison, draw_recall, recall_by_iou
from minirpn.training.config import TrainConfig

_DETECTOR = "mAP (%) of the detector on VOC 2007 test, VGG-16, trained on VOC 2007 trainval"

TABLE_8 = Published(
    "Table 8",
    _DETECTOR,
    {
        "small-1-ratio": 65.8,
        "middle-1-ratio": 66.7,
        "small-3-ratios": 68.8,
        "middle-3-ratios": 67.9,
        "3-scales-1-ratio": 69.8,
        "3-scales-3-ratios": 69.9,
    },
)
"""Scales and ratios of the anchors; small is 128 x 128 pixels, middle 256."""

TABLE_9 = Published(
    "Table 9",
    _DETECTOR,
    {"lambda-0.1": 67.2, "lambda-1": 68.9, "lambda-10": 69.9, "lambda-100": 69.1},
)
"""lambda of equation 1, the weight of the box term."""

_SIDES = (128, 256, 512)  # of the paper's anchors, at its shorter side
_AS_GIVEN = Variant("as-given", {}, "as given")
_NOT_DETECTION = (
    "Ours is recall of proposals after a short training, theirs the precision of a detector "
    "after a long one: what helps proposals need not help detections."
)


def lambdas(base: TrainConfig) -> tuple[Variant, ...]:
    """Return the variants of table 9: lambda from 0.1 to 100."""
    return tuple(
        Variant(
            f"lambda-{value:g}", {"loss.form": "paper", "loss.balance": value}, f"lambda {value:g}"
        )
        for value in (0.1, 1.0, 10.0, 100.0)
    )


def anchor_sets(base: TrainConfig) -> tuple[Variant, ...]:
    """Return the variants of table 8, made of the scales and ratios of the settings."""
    scales, ratios = base.anchors.scales, base.anchors.ratios
    if len(scales) != 3:
        raise InputError(f"anchors.scales: the study compares one with three, got {scales}")
    if len(ratios) != 3 or 1.0 not in ratios:
        raise InputError(f"anchors.ratios: the study compares 1 with three, got {ratios}")
    small, middle = sorted(scales)[:2]
    chosen = {
        "small-1-ratio": ((small,), (1.0,)),
        "middle-1-ratio": ((middle,), (1.0,)),
        "small-3-ratios": ((small,), ratios),
        "middle-3-ratios": ((middle,), ratios),
        "3-scales-1-ratio": (scales, (1.0,)),
        "3-scales-3-ratios": (scales, ratios),
    }
    return tuple(
        Variant(
            name,
            {"anchors.scales": list(some), "anchors.ratios": list(shapes)},
            f"{', '.join(f'{base.anchors.base_size * scale:g}²' for scale in some)}; "
            f"{len(shapes)} ratio{'s' if len(shapes) > 1 else ''}",
        )
        for name, (some, shapes) in chosen.items()
    )


def scale_remark(findings: Findings) -> str:
    """Return how large the anchors are beside the paper's; an empty text if they are the same."""
    side, anchors = findings.base.resize.short_side, findings.base.anchors
    shrunk = side / PAPER_SHORT_SIDE
    sides = [anchors.base_size * scale for scale in sorted(anchors.scales)]
    at_paper = [value / shrunk for value in sides]
    if all(abs(here / there - 1) < 0.02 for here, there in zip(at_paper, _SIDES, strict=True)):
        return ""
    ours, theirs = (", ".join(f"{value:.0f}²" for value in row) for row in (sides, at_paper))
    like = ",".join(f"{value * shrunk / anchors.base_size:.3g}" for value in _SIDES)
    return (
        f"Not the paper's anchors: {ours} at a shorter side of {side} are what {theirs} are at its "
        f"{PAPER_SHORT_SIDE}; `--anchors scales={like}` would be its 128², 256², 512²."
    )


def losses(base: TrainConfig) -> tuple[Variant, ...]:
    """Return the paper's loss, with two scores an anchor and with one, and the released loss."""
    choices = ("paper", "softmax"), ("paper", "logistic"), ("released", "softmax")
    return tuple(
        Variant(
            f"{form}-{classifier}",
            {"loss.form": form, "model.classifier": classifier},
            f"{form}, {classifier}",
        )
        for form, classifier in choices
    )


def tuned_layers(base: TrainConfig) -> tuple[Variant, ...]:
    """Return the paper's choice of tuned layers for the backbone, all of them, and none.

    The paper tunes all layers of ZF, and so does `tiny`: then the first two are one variant.
    """
    backbone = build_backbone(base.model.backbone, rng=np.random.default_rng(0))
    frozen = {stage_of(p.name) for p in backbone.parameters() if not p.trainable}
    in_order = [stage for stage in backbone.stages if stage in frozen]
    first_tuned = next(stage for stage in backbone.stages if stage not in frozen)
    paper = Variant("paper", {"model.freeze": in_order}, f"from {first_tuned} up (paper)")
    everything = Variant("all-tuned", {"model.freeze": []}, "all layers")
    nothing = Variant("none-tuned", {"model.freeze": list(backbone.stages)}, "the RPN alone")
    return (paper, everything, nothing) if frozen else (paper, nothing)


def numerics_variants(base: TrainConfig) -> tuple[Variant, ...]:
    """Return float32 on one thread and on two, float64, and float32 on a GPU if one works."""
    choices = [
        ("float32", 1, "cpu", "1 thread"),
        ("float32", 2, "cpu", "2 threads"),
        ("float64", 1, "cpu", "1 thread"),
    ]
    if any(gpu.trouble is None for gpu in find_gpus()):
        choices.append(("float32", 1, "cuda", "GPU"))
    return tuple(
        Variant(
            f"{dtype}-{words.replace(' ', '-').lower()}",
            {"model.dtype": dtype, "run.threads": threads, "run.device": device},
            f"{dtype}, {words}",
        )
        for dtype, threads, device, words in choices
    )


_ALL = (
    Study(
        name="recall",
        title="recall over IoU",
        source="Figure 4",
        question="What share of the objects do the best 50 to 2,000 proposals find, at each IoU?",
        reading="The paper shows curves for 300, 1,000 and 2,000 proposals and prints no numbers. "
        "Its point is that those of the RPN stay close together, while those of Selective Search "
        "and EdgeBoxes fall quickly with fewer proposals.",
        variants=lambda base: (_AS_GIVEN,),
        baseline=_AS_GIVEN.name,
        table=recall_by_iou,
        draw=draw_recall,
        seeds=1,
    ),
    Study(
        name="lambda",
        title="lambda, the weight of the box term",
        source="Table 9",
        question="How much does the weight between the two terms of the loss matter?",
        reading=f"The paper finds the result insensitive to lambda over a wide range. "
        f"{_NOT_DETECTION}",
        variants=lambdas,
        baseline="lambda-10",
        published=TABLE_9,
        table=comparison,
        draw=draw_comparison,
    ),
    Study(
        name="anchors",
        title="scales and ratios of the anchors",
        source="Table 8",
        question="Are several scales and several ratios needed?",
        reading="The paper finds several scales as good as several scales and ratios, and a single "
        "anchor 3 to 4 points worse. Fewer anchors a cell are fewer boxes to propose, too. "
        f"{_NOT_DETECTION}",
        variants=anchor_sets,
        remark=scale_remark,
        baseline="3-scales-3-ratios",
        published=TABLE_8,
        table=comparison,
        draw=draw_comparison,
    ),
    Study(
        name="loss",
        title="form of the loss",
        source="Section 3.1.2, footnote 3",
        question="Does training differ between the paper's loss and the released one, or between "
        "two scores an anchor and one?",
        reading="The paper prints no numbers for this: it says that two scores are for simplicity, "
        "and that its normalisation could be simplified.",
        variants=losses,
        baseline="paper-softmax",
        table=comparison,
        draw=draw_comparison,
    ),
    Study(
        name="layers",
        title="tuned layers",
        source="Section 3.1.3",
        question="Which layers of the backbone should be trained too?",
        reading="The paper prints no numbers for this: it tunes all layers of ZF, and those from "
        "conv3_1 up of VGG-16, to save memory.",
        variants=tuned_layers,
        baseline="paper",
        table=comparison,
        draw=draw_comparison,
    ),
    Study(
        name="sizes",
        title="average proposal size of each anchor",
        source="Table 1",
        question="How large are the proposals that come from each anchor?",
        reading="The paper shows that proposals are not bound to their anchor, nor to what the "
        "network sees of the image; it does not say which proposals its means are of.",
        variants=lambda base: (_AS_GIVEN,),
        baseline=_AS_GIVEN.name,
        table=size_table,
        draw=draw_sizes,
        seeds=1,
        measure=proposal_sizes,
        more=stored_sizes,
    ),
    Study(
        name="numerics",
        title="precision and threads",
        source="not in the paper",
        question="What does rounding change in a training, and what does it leave alone?",
        reading="A loss that differs in its last digits leads to other weights, and after hundreds "
        "of steps to other proposals, as another seed would. So a change of recall is no fault. A "
        "GPU is compared where there is one.",
        variants=numerics_variants,
        baseline="float32-1-thread",
        table=numerics_table,
        draw=draw_numerics,
        seeds=1,
        measure=first_steps,
        more=stored_steps,
    ),
)

STUDIES: Mapping[str, Study] = {study.name: study for study in _ALL}
"""The studies by name."""
