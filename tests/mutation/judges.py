"""Which tests judge a mutant of which file: the likeliest to see it first, in stages.

All of them are in tests/property, tests/gradcheck and tests/ladders. A stage is the arguments of
one pytest; the first stage with a failure ends the trial.
"""

from __future__ import annotations

_EQUAL = "tests/ladders/test_implementations_equal.py"
_REGISTRY = ["tests/ladders/test_registry.py"]
_BOXES = "iou or nms or assign or label or candidates"
_MAPS = "conv2d or pool2d or relu or lrn"
_LOSSES = "softmax or smooth_l1"


def _equal(operations: str) -> list[str]:
    """Return the stage of the equality tests of some operations."""
    return [_EQUAL, "-k", f"{operations} or exist"]


def _ladder(name: str, operations: str) -> list[str]:
    return [f"tests/ladders/test_{name}.py", "-k", operations]


def _properties(*names: str) -> list[str]:
    return [f"tests/property/test_{name}.py" for name in names]


def _kit(checks: str) -> list[str]:
    return ["tests/property/test_kit.py", "-k", checks]


# These are quick, and see bad, missing and empty arguments of everything.
_ARGUMENTS = [*_properties("refused", "published"), "tests/ladders/test_empty.py"]
_OF_CONV = [
    _equal("conv2d"),
    _ladder("blocks", "conv2d"),
    ["tests/ladders/test_ways.py"],
    ["tests/gradcheck/test_nn.py"],
    _properties("nn_pairs", "windows", "threads"),
    _kit("conv"),
    _ladder("nan", "conv2d"),
]

# A longer path comes before a shorter one that it begins with.
STAGES: dict[str, list[list[str]]] = {
    "minirpn/boxes.py": [
        _properties("boxes", "targets"),
        [*_properties("rpn"), *_ARGUMENTS],
        _equal(_BOXES),
        _ladder("nan", _BOXES),
        _ladder("libraries", _BOXES),
        _kit("iou or nms or labels"),
    ],
    "minirpn/rpn/anchors.py": [_properties("anchors", "targets", "rpn", "network"), _ARGUMENTS],
    "minirpn/rpn/targets.py": [
        [*_properties("targets"), *_ARGUMENTS],
        _equal("label or assign"),
        _ladder("nan", "label or assign"),
        _ladder("libraries", "label or assign"),
        _kit("labels"),
    ],
    "minirpn/rpn/proposals.py": [
        [*_properties("rpn", "network"), *_ARGUMENTS],
        _equal("candidates"),
        _ladder("nan", "candidates"),
        _ladder("libraries", "candidates"),
    ],
    "minirpn/rpn": [
        [*_properties("rpn", "network"), *_ARGUMENTS],
        ["tests/gradcheck/test_rpn.py"],
        _properties("anchors"),
    ],
    "minirpn/nn/roi": [
        _equal("roi"),
        _properties("roi"),
        _ARGUMENTS,
        _ladder("nan", "roi"),
        _ladder("libraries", "roi"),
        ["tests/gradcheck/test_roi.py", "tests/gradcheck/test_detector.py"],
        _kit("roi"),
    ],
    "minirpn/nn/losses.py": [
        _equal(_LOSSES),
        ["tests/gradcheck/test_nn.py", "-k", f"{_LOSSES} or sigmoid"],
        [*_properties("nn_pairs", "rpn"), *_ARGUMENTS],
        _ladder("nan", _LOSSES),
        _ladder("libraries", _LOSSES),
    ],
    "minirpn/nn/optim.py": [
        [*_properties("training"), *_ARGUMENTS],
        _equal("sgd or square_sums"),
        _ladder("nan", "sgd or square_sums"),
        _ladder("libraries", "sgd or square_sums"),
    ],
    "minirpn/nn/schedule.py": [[*_properties("training"), *_ARGUMENTS]],
    "minirpn/nn/gradcheck.py": [["tests/gradcheck/test_nn.py"], _ARGUMENTS],
    "minirpn/nn/conv.py": [*_OF_CONV, _ARGUMENTS, _ladder("libraries", "conv2d")],
    "minirpn/nn/window.py": [_properties("windows"), _equal(_MAPS), _ARGUMENTS],
    "minirpn/nn/lrn.py": [
        _equal("lrn"),
        _ladder("libraries", "lrn"),
        [*_ARGUMENTS, *_properties("layers")],
    ],
    "minirpn/nn/dropout.py": [[*_properties("layers"), *_ARGUMENTS]],
    "minirpn/nn": [
        [*_properties("layers"), *_ARGUMENTS],
        _equal(_MAPS),
        ["tests/gradcheck/test_nn.py", "tests/gradcheck/test_rpn.py"],
        _properties("nn_pairs", "windows"),
        _ladder("nan", "relu or pool2d"),
        _ladder("libraries", _MAPS),
        _kit("pool2d"),
    ],
    "minirpn/accel/numba/boxes.py": [
        _ladder("blocks", "iou or nms or box or anchor or pairs"),
        _equal(_BOXES),
        _properties("boxes", "targets"),
        _ladder("nan", _BOXES),
    ],
    "minirpn/accel/numba/regions.py": [
        _equal("roi"),
        _properties("roi"),
        _ladder("blocks", "roi"),
        _ladder("nan", "roi"),
    ],
    "minirpn/accel/numba/maps.py": [
        _equal("pool2d or relu or lrn"),
        _ladder("blocks", "relu"),
        _ladder("nan", "pool2d or relu or lrn"),
        _properties("nn_pairs"),
    ],
    "minirpn/accel/numba/compiled.py": [_REGISTRY, _equal("iou-numba")],
    "minirpn/accel/numba": _OF_CONV,
    "minirpn/accel/threads.py": [_properties("threads"), _ladder("blocks", "roi"), _ARGUMENTS],
    "minirpn/accel": [
        _REGISTRY,
        _ARGUMENTS,
        _equal("conv2d_relu or iou or sgd or with_relu"),
        _properties("boxes"),
    ],
}


def stages_for(module: str) -> list[list[str]]:
    """Return the stages of a file."""
    return next(stages for prefix, stages in STAGES.items() if module.startswith(prefix))
