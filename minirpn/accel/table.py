"""Every implementation of every operation, the slowest first.

The loops are the definition that tests hold the others to; ``array`` is the body of the function
under `accelerated`. The others are imported when they are first used.
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
# the most that was seen in thousands of rows is 2.5.
LOSS_ROUNDING = 8
# Numbers of both signs are added up in another order; the most that was seen in thousands is 56.
ALIGN_ROUNDING = 200
# The array code of the others rounds as the loops do.
ARRAY_ROUNDING = {"candidates": 8, "conv2d_dbias": 100, "roi_align_dx": ALIGN_ROUNDING}
# Winograd's intermediate numbers are larger than the result, and so is its rounding.
WINOGRAD_ROUNDING = CUDNN_ROUNDING = 1000


def operation(name: str, function: Callable[..., Any]) -> Operation:
    """Return the operation whose implementation ``array`` is `function`."""
    loops = Implementation("loops", f"minirpn.loops:{name}", is_numpy)
    array = Implementation("array", function, rounding=ARRAY_ROUNDING.get(name))
    return Operation(name, (loops, array, *FASTER[name]))


def _cuda_available() -> bool:
    from minirpn.accel.cuda._load import cuda_present

    return cuda_present()


def _cudnn_available() -> bool:
    from minirpn.accel.cuda.cudnn_plans import cudnn_present

    return cudnn_present()


def _numba(place: str, name: str = "numba", **options: Any) -> Implementation:
    return Implementation(
        name, f"minirpn.accel.numba.{place}", is_numpy, numba_available, **options
    )


def _cuda(place: str, name: str = "cuda", **options: Any) -> Implementation:
    return Implementation(name, f"minirpn.accel.cuda.{place}", on_cuda, _cuda_available, **options)


def _convolution(name: str, **options: Any) -> list[Implementation]:
    """Return the implementations of a convolution's output, or of its gradient by x or weight."""
    faster = [
        _numba(f"strips:{name}_strips", "strips", options=options),
        _numba(
            f"winograd:{name}_winograd",
            "winograd",
            is_preferred=f"minirpn.accel.numba.winograd:{name}_preferred",
            rounding=WINOGRAD_ROUNDING,
            options=options,
        ),
        _cuda(
            f"im2col:{name}_cuda",
            is_preferred=f"minirpn.accel.cuda.im2col:{name}_preferred",
            options=options,
        ),
        Implementation(
            "cudnn",
            f"minirpn.accel.cuda.cudnn:{name}_cudnn",
            on_cuda_float32,
            _cudnn_available,
            is_preferred="minirpn.accel.cuda.cudnn:not_empty",
            rounding=CUDNN_ROUNDING,
            options=options,
        ),
    ]
    if name != "conv2d_dweight":
        faster.append(
            _cuda(
                f"winograd:{name}_winograd_cuda",
                "cuda-winograd",
                is_preferred=f"minirpn.accel.cuda.winograd:{name}_preferred",
                rounding=WINOGRAD_ROUNDING,
                options=options,
            )
        )
    return faster


# Operation -> the implementations that are faster than its array code, the slowest first.
FASTER: dict[str, Sequence[Implementation]] = {
    "iou": [_numba("boxes:iou_numba"), _cuda("boxes:iou_cuda")],
    "nms": [_numba("boxes:nms_numba"), _cuda("boxes:nms_cuda")],
    "assign": [_numba("boxes:assign_numba"), _cuda("boxes:assign_cuda")],
    # On a GPU these two are a few launches instead of dozens.
    "label": [_cuda("boxes:label_cuda")],
    "candidates": [
        _cuda(
            "boxes:candidates_cuda",
            is_preferred="minirpn.accel.cuda.boxes:of_one_dtype",
            rounding=8,
        )
    ],
    "conv2d": _convolution("conv2d"),
    "conv2d_relu": _convolution("conv2d", relu=True),
    "conv2d_dx": _convolution("conv2d_dx"),
    "conv2d_dweight": _convolution("conv2d_dweight"),
    # Only with channels last: otherwise CuPy's own sum is as good.
    "conv2d_dbias": [
        _cuda(
            "maps:dbias_cuda",
            is_preferred="minirpn.accel.cuda.layout:is_channels_last",
            rounding=100,
        )
    ],
    "relu": [_numba("maps:relu_numba"), _cuda("maps:relu_cuda")],
    "relu_dx": [_numba("maps:relu_dx_numba"), _cuda("maps:relu_dx_cuda")],
    "max_pool2d": [_numba("maps:max_pool2d_numba"), _cuda("maps:max_pool2d_cuda")],
    "max_pool2d_dx": [
        _numba("maps:max_pool2d_dx_numba"),
        _cuda("maps:max_pool2d_dx_cuda"),
    ],
    "lrn": [_numba("maps:lrn_numba")],
    "lrn_dx": [_numba("maps:lrn_dx_numba")],
    "roi_pool": [_numba("regions:roi_pool_numba"), _cuda("regions:roi_pool_cuda")],
    "roi_pool_dx": [_numba("regions:roi_pool_dx_numba"), _cuda("regions:roi_pool_dx_cuda")],
    "roi_align": [_numba("regions:roi_align_numba"), _cuda("regions:roi_align_cuda")],
    "roi_align_dx": [
        _numba("regions:roi_align_dx_numba", rounding=ALIGN_ROUNDING),
        _cuda("regions:roi_align_dx_cuda"),
    ],
    "softmax_cross_entropy": [
        _cuda("losses:softmax_cross_entropy_cuda", rounding=LOSS_ROUNDING),
    ],
    "softmax_cross_entropy_dx": [_cuda("losses:softmax_cross_entropy_dx_cuda")],
    "smooth_l1": [_cuda("losses:smooth_l1_cuda")],
    "smooth_l1_dx": [_cuda("losses:smooth_l1_dx_cuda")],
    "sgd": [_numba("optim:sgd_numba"), _cuda("optim:sgd_cuda")],
    "adamw": [_numba("optim:adamw_numba"), _cuda("optim:adamw_cuda")],
    "square_sums": [_cuda("optim:square_sums_cuda")],
}
