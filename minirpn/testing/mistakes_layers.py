"""Convolution and pooling as people first write them, each wrong in one way; see `mistakes_boxes`.

A pair of forward and backward is one function here: it returns ``y`` and the gradients by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minirpn.nn import conv_output_size, pool_output_size
from minirpn.testing.pairs import Answers

Place = tuple[tuple[int, int], tuple[slice, slice]]


def _places(size: tuple[int, int], kernel: tuple[int, int], stride: int) -> Iterator[Place]:
    """Yield each output's place and the window of the padded image behind it."""
    for i, j in np.ndindex(size):
        top, left = i * stride, j * stride
        yield (i, j), (slice(top, top + kernel[0]), slice(left, left + kernel[1]))


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    dy: np.ndarray,
    stride: int,
    padding: int,
    *,
    mode: str = "constant",
    overwrites: bool = False,
) -> Answers:
    """Return y and the gradients as they should be (by default), window by window."""
    kernel = (weight.shape[2], weight.shape[3])
    size = conv_output_size((x.shape[2], x.shape[3]), kernel, stride, padding)
    around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    image = np.pad(x, around, mode=mode)  # type: ignore[call-overload]
    y, dimage, dweight = np.zeros(dy.shape), np.zeros(image.shape), np.zeros(weight.shape)
    for (i, j), window in _places(size, kernel, stride):
        pixels = image[:, :, *window]
        y[:, :, i, j] = np.tensordot(pixels, weight, axes=([1, 2, 3], [1, 2, 3])) + bias
        # (N,O) and (O,C,kh,kw) -> (N,C,kh,kw)
        handed_back = np.tensordot(dy[:, :, i, j], weight, axes=1)
        dimage[:, :, *window] = handed_back + (0 if overwrites else dimage[:, :, *window])
        dweight += np.tensordot(dy[:, :, i, j], pixels, axes=([0], [0]))
    inside = (slice(padding, padding + x.shape[2]), slice(padding, padding + x.shape[3]))
    dbias = dy.sum(axis=(0, 2, 3))
    return {"y": y, "dx": dimage[:, :, *inside], "dweight": dweight, "dbias": dbias}


def _turned(weight: np.ndarray) -> np.ndarray:
    return weight[:, :, ::-1, ::-1]


def conv_turned(*question: Any) -> Answers:
    """Did you turn the kernel round? A layer correlates: y[i] takes x[i + p] weight[p]."""
    x, weight, *rest = question
    right = conv2d(x, _turned(weight), *rest)
    return right | {"dweight": _turned(right["dweight"])}


def conv_no_bias(*question: Any) -> Answers:
    """Where is the bias?"""
    x, weight, bias, *rest = question
    return conv2d(x, weight, 0 * bias, *rest)


def conv_padded_by_edge(*question: Any) -> Answers:
    """Outside of the image x is 0."""
    return conv2d(*question, mode="edge")


def conv_rows_for_columns(*question: Any) -> Answers:
    """Did you swap rows and columns of the kernel?"""
    x, weight, *rest = question
    right = conv2d(x, weight.swapaxes(2, 3), *rest)
    return right | {"dweight": right["dweight"].swapaxes(2, 3)}


def dx_turned(*question: Any) -> Answers:
    """Is the kernel the wrong way round in dx? What x[i + p] gave to y[i], dy[i] gives back."""
    x, weight, *rest = question
    return conv2d(*question) | {"dx": conv2d(x, _turned(weight), *rest)["dx"]}


def dx_overwritten(*question: Any) -> Answers:
    """Windows overlap: add to dx, do not overwrite it."""
    return conv2d(*question) | {"dx": conv2d(*question, overwrites=True)["dx"]}


def dweight_of_first_image(*question: Any) -> Answers:
    """A kernel sees all images: sum dweight over them."""
    x, weight, bias, dy, *rest = question
    return conv2d(*question) | {"dweight": conv2d(x[:1], weight, bias, dy[:1], *rest)["dweight"]}


def dweight_averaged(*question: Any) -> Answers:
    """Sum dweight over the images: the loss has its 1 / N already."""
    right = conv2d(*question)
    return right | {"dweight": right["dweight"] / len(question[0])}


def dbias_averaged(*question: Any) -> Answers:
    """The bias adds to every output: dbias is a sum, not a mean."""
    return conv2d(*question) | {"dbias": question[3].mean(axis=(0, 2, 3))}


def max_pool2d(
    x: np.ndarray,
    dy: np.ndarray,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    *,
    outside: float = -np.inf,
    to_ties: str = "first",
    overwrites: bool = False,
) -> Answers:
    """Return y and dx as they should be (by default), window by window."""
    size = pool_output_size((x.shape[2], x.shape[3]), kernel, stride, padding, ceil_mode)
    # Behind the image there is room for a window that the image cuts.
    around = ((0, 0), (0, 0), (padding, padding + stride), (padding, padding + stride))
    image = np.pad(x, around, constant_values=outside)
    y, dimage = np.zeros((*x.shape[:2], *size)), np.zeros(image.shape)
    if y.shape != dy.shape:
        return {"y": y, "dx": np.zeros(0)}
    for n, c in np.ndindex(x.shape[:2]):
        for (i, j), window in _places(size, (kernel, kernel), stride):
            pixels = image[n, c, *window]
            y[n, c, i, j] = pixels.max()
            wins = pixels == pixels.max()
            if to_ties != "all":
                order = wins.ravel().cumsum().reshape(wins.shape)
                wins &= order == (1 if to_ties == "first" else wins.sum())
            given = dy[n, c, i, j] * wins
            dimage[n, c, *window] = (
                np.where(wins, given, dimage[n, c, *window])
                if overwrites
                else (dimage[n, c, *window] + given)
            )
    inside = (slice(padding, padding + x.shape[2]), slice(padding, padding + x.shape[3]))
    return {"y": y, "dx": dimage[:, :, *inside]}


def pool_floor(*question: Any) -> Answers:
    """With ceil_mode a last window covers the pixels left over: round up."""
    x, dy, kernel, stride, padding, _ = question
    return max_pool2d(x, dy, kernel, stride, padding, ceil_mode=False)


def pool_padding_wins(*question: Any) -> Answers:
    """Padding must never win: pad with minus infinity, not with 0."""
    return max_pool2d(*question, outside=0)


def pool_smallest(*question: Any) -> Answers:
    """This is the smallest pixel of each window."""
    x, dy, *rest = question
    return {name: -value for name, value in max_pool2d(-x, -dy, *rest).items()} | {
        "dx": max_pool2d(-x, dy, *rest)["dx"]
    }


def pool_all_ties(*question: Any) -> Answers:
    """Where pixels tie, only the first one (row by row) gets the gradient."""
    return max_pool2d(*question, to_ties="all")


def pool_last_tie(*question: Any) -> Answers:
    """Where pixels tie, the first one (row by row) gets the gradient, not the last."""
    return max_pool2d(*question, to_ties="last")


def pool_overwritten(*question: Any) -> Answers:
    """A pixel may win several windows: add up what they give back."""
    return max_pool2d(*question, overwrites=True)


def pool_spread(*question: Any) -> Answers:
    """The whole gradient goes to the pixel that won, none to the others."""
    x, dy, kernel, stride, padding, _ = question
    right = max_pool2d(*question)
    kernels = np.zeros((x.shape[1], x.shape[1], kernel, kernel))
    kernels[range(x.shape[1]), range(x.shape[1])] = 1 / kernel**2
    if conv_output_size((x.shape[2], x.shape[3]), kernel, stride, padding) != dy.shape[2:]:
        return right
    return right | {"dx": conv2d(x, kernels, np.zeros(x.shape[1]), dy, stride, padding)["dx"]}


CONV2D = (
    conv_turned,
    conv_no_bias,
    conv_padded_by_edge,
    conv_rows_for_columns,
    dx_turned,
    dx_overwritten,
    dweight_of_first_image,
    dweight_averaged,
    dbias_averaged,
)
MAX_POOL2D = (
    pool_floor,
    pool_padding_wins,
    pool_smallest,
    pool_all_ties,
    pool_last_tie,
    pool_overwritten,
    pool_spread,
)
