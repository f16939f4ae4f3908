"""Every implementation of every operation, the slowest first.

The loops are the definition that tests hold the others to; ``array`` is the body of the function
that `accelerated` stands above. The others are imported when they are first used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minirpn._checks import is_numpy
from minirpn.accel.dispatch import Operation
from minirpn.accel.implementation import (
    Implementation,
    numba_available,
    on_cuda,
    on_cuda_float32,
)

# NumPy's exp and log of float32 may err by three epsilons, and rows are summed in another order;
# what was seen in thousands of rows is 2.5.
LOSS_ROUNDING = 8


def operation(name: str, function: Callable[..., Any]) -> Operation:
    """Return the operation whose implementation ``array`` is `function`."""
    slower, faster, rounding = TABLE[name]
    array = Implementation("array", function, rounding=rounding)
    return Operation(name, (*slower, array, *faster))


def _cuda_available() -> bool:
    from minirpn.accel.cuda._load import cuda_present

    return cuda_present()


def _cudnn_available() -> bool:
    from minirpn.accel.cuda.cudnn_plans import cudnn_present

    return cudnn_present()


def _loops(function: str) -> Implementation:
    return Implementation("loops", f"minirpn.loops:{function}", is_numpy)


def _numba(place: str, name: str = "numba", **options: Any) -> Implementation:
    return Implementation(
        name, f"minirpn.accel.numba.{place}", is_numpy, numba_available, **options
    )


def _cuda(place: str, name: str = "cuda", **options: Any) -> Implementation:
    return Implementation(name, f"minirpn.accel.cuda.{place}", on_cuda, _cuda_available, **options)


def _cudnn(function: str) -> Implementation:
    return Implementation(
        "cudnn",
        f"minirpn.accel.cuda.cudnn:{function}",
        on_cuda_float32,
        _cudnn_available,
        "minirpn.accel.cuda.cudnn:suits",
        rounding=1000,
    )


def _convolution(name: str) -> Row:
    """Return the implementations of a convolution's output, or of its gradients by x or weight."""
    suits = {"conv2d_dx": "suits_dx", "conv2d_dweight": "suits_dweight"}.get(name, "suits")
    # Winograd's intermediate numbers are larger than the result, and so is its rounding.
    faster = [
        _numba(f"strips:{name}_strips", "strips"),
        _numba(
            f"winograd:{name}_winograd",
            "winograd",
            is_preferred=f"minirpn.accel.numba.winograd:{suits}",
            rounding=1000,
        ),
        _cuda(f"im2col:{name}_cuda", is_preferred=f"minirpn.accel.cuda.im2col:{suits}"),
        _cudnn(f"{name}_cudnn"),
    ]
    if name != "conv2d_dweight":
        faster.append(
            _cuda(
                f"winograd:{name}_winograd_cuda",
                "cuda-winograd",
                is_preferred=f"minirpn.accel.cuda.winograd:{suits}",
                rounding=1000,
            )
        )
    return [_loops(name)], faster, None


Row = tuple[Sequence[Implementation], Sequence[Implementation], float | None]
# Operation -> what is slower than its array code, what is faster, and the rounding of the former.
TABLE: dict[str, Row] = {
    "iou": ([_loops("iou")], [_numba("boxes:iou_numba"), _cuda("iou:iou_cuda")], None),
    "nms": ([_loops("nms")], [_numba("boxes:nms_numba"), _cuda("nms:nms_cuda")], None),
    "assign": (
        [_loops("assign")],
        [_numba("boxes:assign_numba"), _cuda("assign:assign_cuda")],
        None,
    ),
    # On a GPU few launches instead of dozens: there is little to compute, and much to ask for.
    "label": ([_loops("label")], [_cuda("assign:label_cuda")], None),
    "candidates": (
        [_loops("candidates")],
        [
            _cuda(
                "candidates:candidates_cuda",
                is_preferred="minirpn.accel.cuda.candidates:of_one_dtype",
                rounding=8,
            )
        ],
        8,
    ),
    "conv2d": _convolution("conv2d"),
    "conv2d_relu": _convolution("conv2d_relu"),
    "conv2d_dx": _convolution("conv2d_dx"),
    "conv2d_dweight": _convolution("conv2d_dweight"),
    "conv2d_dbias": (
        [_loops("conv2d_dbias")],
        # With channels last alone: otherwise CuPy's own sum is as good.
        [
            _cuda(
                "bias:dbias_cuda",
                is_preferred="minirpn.accel.layout:is_channels_last",
                rounding=100,
            )
        ],
        100,
    ),
    "relu": ([_loops("relu")], [_numba("relu:relu_numba"), _cuda("relu:relu_cuda")], None),
    "relu_dx": (
        [_loops("relu_dx")],
        [_numba("relu:relu_dx_numba"), _cuda("relu:relu_dx_cuda")],
        None,
    ),
    "max_pool2d": (
        [_loops("max_pool2d")],
        [_numba("max_pool2d:max_pool2d_numba"), _cuda("max_pool2d:max_pool2d_cuda")],
        None,
    ),
    "max_pool2d_dx": (
        [_loops("max_pool2d_dx")],
        [_numba("max_pool2d:max_pool2d_dx_numba"), _cuda("max_pool2d:max_pool2d_dx_cuda")],
        None,
    ),
    "lrn": ([_loops("lrn")], [_numba("lrn:lrn_numba")], None),
    "lrn_dx": ([_loops("lrn_dx")], [_numba("lrn:lrn_dx_numba")], None),
    "roi_pool": (
        [_loops("roi_pool")],
        [_numba("roi_pool:roi_pool_numba"), _cuda("roi_pool:roi_pool_cuda")],
        None,
    ),
    "roi_pool_dx": (
        [_loops("roi_pool_dx")],
        [_numba("roi_pool:roi_pool_dx_numba"), _cuda("roi_pool:roi_pool_dx_cuda")],
        None,
    ),
    "roi_align": (
        [_loops("roi_align")],
        [_numba("roi_align:roi_align_numba"), _cuda("roi_align:roi_align_cuda")],
        None,
    ),
    "roi_align_dx": (
        [_loops("roi_align_dx")],
        [_numba("roi_align:roi_align_dx_numba"), _cuda("roi_align:roi_align_dx_cuda")],
        None,
    ),
    "softmax_cross_entropy": (
        [_loops("softmax_cross_entropy")],
        [_cuda("losses:softmax_cross_entropy_cuda", rounding=LOSS_ROUNDING)],
        None,
    ),
    "softmax_cross_entropy_dx": (
        [_loops("softmax_cross_entropy_dx")],
        [_cuda("losses:softmax_cross_entropy_dx_cuda")],
        None,
    ),
    "smooth_l1": ([_loops("smooth_l1")], [_cuda("losses:smooth_l1_cuda")], None),
    "smooth_l1_dx": ([_loops("smooth_l1_dx")], [_cuda("losses:smooth_l1_dx_cuda")], None),
    "sgd": ([_loops("sgd")], [_cuda("sgd:sgd_cuda")], None),
    "square_sums": ([_loops("square_sums")], [_cuda("square_sums:square_sums_cuda")], None),
}
