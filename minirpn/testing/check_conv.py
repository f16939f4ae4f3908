"""The check of a convolution, and the mistakes it knows.

Here a forward and its backward are one function, which returns ``y`` and the gradients by name.
Its options spoil one part each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing.examine import Answers, Asked, Drawn, Exercise, Mistakes, Question, Verdict
from minirpn.testing.pairs import answers_of, examine_pair
from minirpn.testing.strategies import COUNTS, stored
from minirpn.testing.windows import (
    EXACT_UNITS,
    ROUNDED_UNITS,
    Pair,
    conv_size,
    grown,
    numbers,
    places,
    side_for,
)


def loops_conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    dy: np.ndarray,
    stride: int,
    padding: int,
    *,
    mode: str = "constant",
    sides: tuple[bool, bool] = (True, True),
    overwrites: bool = False,
) -> Answers:
    """Return y and, where it has the shape of `dy`, the gradients, window by window.

    `sides` says whether there is padding before (above, left) and behind (below, right).
    """
    before, behind = (padding * side for side in sides)
    around = ((0, 0), (0, 0), (before, behind), (before, behind))
    image = np.pad(x, around, mode=mode)  # type: ignore[call-overload]
    kernel = (weight.shape[2], weight.shape[3])
    size = conv_size((image.shape[2], image.shape[3]), kernel, stride, 0)
    y = np.zeros((len(x), len(weight), *size))
    for (i, j), window in places(size, kernel, stride):
        y[:, :, i, j] = np.tensordot(image[:, :, *window], weight, axes=([1, 2, 3], [1, 2, 3]))
    y += bias[:, None, None]
    if y.shape != dy.shape:
        return {"y": y}
    dimage, dweight = np.zeros(image.shape), np.zeros(weight.shape)
    for (i, j), window in places(size, kernel, stride):
        # (N,O) and (O,C,kh,kw) -> (N,C,kh,kw)
        handed_back = np.tensordot(dy[:, :, i, j], weight, axes=1)
        dimage[:, :, *window] = handed_back + (0 if overwrites else dimage[:, :, *window])
        dweight += np.tensordot(dy[:, :, i, j], image[:, :, *window], axes=([0], [0]))
    dx = dimage[:, :, before : before + x.shape[2], before : before + x.shape[3]]
    return {"y": y, "dx": dx, "dweight": dweight, "dbias": dy.sum(axis=(0, 2, 3))}


def _turned(weight: np.ndarray) -> np.ndarray:
    return weight[:, :, ::-1, ::-1]


def _conv_of(change: Callable[[Any], Any], x: Any, weight: Any, *rest: Any) -> Answers:
    """Return a convolution with a changed kernel; the change is its own inverse."""
    wrong = loops_conv2d(x, change(weight), *rest)
    return wrong | {"dweight": change(wrong["dweight"])} if "dweight" in wrong else wrong


def _first_channel(weight: np.ndarray) -> np.ndarray:
    return np.where(np.arange(weight.shape[1])[:, None, None] == 0, weight, 0)


def _averaged(x: Any, weight: Any, bias: Any, dy: Any, *rest: Any) -> Answers:
    right = loops_conv2d(x, weight, bias, dy, *rest)
    shift = bias[:, None, None]
    return right | {"y": (right["y"] - shift) / max(weight[0].size, 1) + shift}


def _without_stride(x: Any, weight: Any, bias: Any, dy: Any, stride: int, padding: int) -> Answers:
    """Return as many numbers as there should be, but of windows one pixel apart."""
    (Ho, Wo), kernel = dy.shape[2:], weight.shape[2:]
    all_around = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    used = all_around[:, :, : Ho + kernel[0] - 1, : Wo + kernel[1] - 1]
    wrong = loops_conv2d(used, weight, bias, dy, 1, 0)
    dimage = np.zeros(all_around.shape)
    dimage[:, :, : used.shape[2], : used.shape[3]] = wrong["dx"]
    return wrong | {"dx": dimage[:, :, *(slice(padding, padding + side) for side in x.shape[2:])]}


def _in_backward(wrong: Callable[..., Answers], *names: str) -> Callable[..., Answers]:
    """Return a convolution with the named gradients of a wrong one."""

    def conv(*question: Any, **named: Any) -> Answers:
        right, changed = loops_conv2d(*question, **named), wrong(*question, **named)
        return right | {name: changed[name] for name in names if name in right}

    return conv


def _only(**wrong: Callable[..., Any]) -> Callable[..., Answers]:
    """Return a convolution with gradients that are wrong: functions of the right ones and all."""

    def conv(x: Any, weight: Any, bias: Any, dy: Any, stride: int, padding: int) -> Answers:
        right = loops_conv2d(x, weight, bias, dy, stride, padding)
        if "dx" not in right:
            return right
        changed = {
            name: change(right, x, weight, dy, stride, padding) for name, change in wrong.items()
        }
        return right | changed

    return conv


def _dimage(right: Answers, x: Any, weight: Any, dy: Any, stride: int, padding: int) -> np.ndarray:
    """Return the gradient by the padded image, the padding included."""
    image = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return loops_conv2d(image, weight, np.zeros(len(weight)), dy, stride, 0)["dx"]


def _cut_from_both_ends(*question: Any) -> np.ndarray:
    padding = question[-1]
    return _dimage(*question)[:, :, padding:-padding, padding:-padding]


def _dx_of_last(
    right: Answers, x: Any, weight: Any, dy: Any, stride: int, padding: int
) -> np.ndarray:
    """Return dx from a loop over kernels and windows that overwrites it."""
    kernel, (H, W) = weight.shape[2:], x.shape[2:]
    dimage = np.zeros((*x.shape[:2], H + 2 * padding, W + 2 * padding))
    for o in range(len(weight)):
        for (i, j), window in places((dy.shape[2], dy.shape[3]), kernel, stride):
            dimage[:, :, *window] = dy[:, o, i, j][:, None, None, None] * weight[o]
    return dimage[:, :, padding : padding + H, padding : padding + W]


def _dweight_of_last(
    right: Answers, x: Any, weight: Any, dy: Any, stride: int, padding: int
) -> np.ndarray:
    """Return dweight from a loop over images and windows that overwrites it."""
    last = np.zeros(dy.shape)
    last[-1:, :, -1:, -1:] = dy[-1:, :, -1:, -1:]
    no_bias = np.zeros(len(weight))
    return loops_conv2d(x, weight, no_bias, last, stride, padding)["dweight"]


def _dweight_of_first_image(
    right: Answers, x: Any, weight: Any, dy: Any, stride: int, padding: int
) -> np.ndarray:
    no_bias = np.zeros(len(weight))
    return loops_conv2d(x[:1], weight, no_bias, dy[:1], stride, padding)["dweight"]


NO_BIAS = "Where is the bias?"
CONV2D_MISTAKES: Mistakes = {
    "Did you turn the kernel round? A layer correlates: y[i] takes x[i + p] weight[p].": partial(
        _conv_of, _turned
    ),
    NO_BIAS: lambda x, weight, bias, *rest: loops_conv2d(x, weight, 0 * bias, *rest),
    "Sum over the window: do not average.": _averaged,
    "Where is the stride? Neighbouring windows are stride pixels apart.": _without_stride,
    "Sum over all channels, not only the first.": partial(_conv_of, _first_channel),
    "Outside of the image x is 0.": partial(loops_conv2d, mode="edge"),
    "Did you swap rows and columns of the kernel?": partial(
        _conv_of, lambda weight: weight.swapaxes(2, 3)
    ),
    "Did you swap stride and padding?": (
        lambda x, weight, bias, dy, stride, padding: loops_conv2d(
            x, weight, bias, dy, stride=padding, padding=stride
        )
    ),
    "Did you pad above and on the left only? Padding goes on all four sides.": partial(
        loops_conv2d, sides=(True, False)
    ),
    "Did you pad below and on the right only? Padding goes on all four sides.": partial(
        loops_conv2d, sides=(False, True)
    ),
    "Is the kernel the wrong way round in dx? What x[i + p] gave to y[i], dy[i] gives back.": (
        _only(
            dx=lambda right, x, weight, dy, *rest: loops_conv2d(
                x, _turned(weight), np.zeros(len(weight)), dy, *rest
            )["dx"]
        )
    ),
    "Windows overlap: add to dx, do not overwrite it.": partial(loops_conv2d, overwrites=True),
    "Windows and kernels overlap in dx: add (+=), do not overwrite (=).": _only(dx=_dx_of_last),
    "The backward needs the stride, too: it goes over the same windows as the forward.": (
        _in_backward(_without_stride, "dx", "dweight")
    ),
    "With padding 0 the slice padding:-padding is empty: cut from padding to padding + H.": _only(
        dx=_cut_from_both_ends
    ),
    "dx has the shape of x: cut the padding off.": _only(dx=_dimage),
    "All windows share the kernel: add to dweight (+=), do not overwrite it (=).": _only(
        dweight=_dweight_of_last
    ),
    "A kernel sees all images: sum dweight over them.": _only(dweight=_dweight_of_first_image),
    "Sum dweight over the images: the loss has its 1 / N already.": _only(
        dweight=lambda right, x, *rest: right["dweight"] / len(x)
    ),
    "The bias adds to every output: dbias is a sum, not a mean.": _only(
        dbias=lambda right, x, weight, dy, *rest: dy.mean(axis=(0, 2, 3))
    ),
}


def _question(
    N: int,
    C: int,
    outs: int,
    size: Pair,
    kernel: Pair,
    *,
    stride: int,
    padding: int,
    seed: int = 0,
    unit: float = 1.0,
) -> Question:
    rng = np.random.default_rng(seed)
    return {
        "x": numbers(rng, N, C, *size, unit=unit),
        "weight": numbers(rng, outs, C, *kernel, unit=unit),
        "bias": numbers(rng, outs, unit=unit),
        "dy": numbers(rng, N, outs, *conv_size(size, kernel, stride, padding), unit=unit),
        "stride": stride,
        "padding": padding,
    }


@st.composite
def _convolutions(
    draw: DrawFn,
    *,
    wide: bool = False,
    left_over: bool = False,
    units: st.SearchStrategy[float] = st.just(1.0),  # noqa: B008 - a strategy is no state
) -> Question:
    """Draw few small images and square kernels, or any.

    If asked for, pixels are left over at the end.
    """
    count = st.integers(1, 5 if wide else 2)
    side = st.sampled_from([1, 2, 3, 5, 7] if wide else [1, 2, 3])
    kernel = draw(st.tuples(side, side) if wide else side.map(lambda length: (length, length)))
    stride = draw(st.integers(1, 3 if wide or left_over else 2))
    padding = draw(st.integers(0, 3 if wide else 1))
    rest = st.integers(0, stride - 1 if left_over else 0)
    H, W = (
        side_for(draw(st.integers(1, 3)), length, stride, padding, draw(rest)) for length in kernel
    )
    return _question(
        draw(count),
        draw(count),
        draw(count),
        (H, W),
        kernel,
        stride=stride,
        padding=padding,
        seed=draw(st.integers(0, 2**16)),
        unit=draw(units),
    )


HELD = ("x", "weight", "bias", "dy")
_MANY_IMAGES = _question(COUNTS[-1], 1, 1, (2, 1), (2, 1), stride=1, padding=0)
_MANY_CHANNELS = _question(2, COUNTS[-1], 2, (1, 2), (1, 2), stride=1, padding=0)
_MANY_OUTPUTS = _question(2, 2, COUNTS[-1], (1, 2), (1, 1), stride=1, padding=0)
_MANY_ROWS = _question(1, 1, 1, (COUNTS[-1], 2), (3, 3), stride=1, padding=1)
_LARGE = _question(1, 2, 2, (33, 40), (3, 3), stride=1, padding=1, unit=1 / 16)
_MANY_COLUMNS = _question(1, 2, 1, (2, COUNTS[-1]), (3, 3), stride=1, padding=1)


def if_it_refuses(
    calls: Sequence[Callable[[], Any]], check: Callable[[], Verdict]
) -> Callable[[], Verdict]:
    """Return the check as a contract for functions that raise in one of the calls.

    For others the verdict is open: wrong numbers are no contract.
    """

    def contract() -> Verdict:
        for call in calls:
            try:
                call()
            except Exception:
                return check()
        return Verdict("yours", 0)

    return contract


def check_conv2d(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    divisible_only: bool = False,
) -> Verdict:
    """Check a convolution: ``forward(x, weight, bias, stride=, padding=)`` and its backward.

    Parameters
    ----------
    forward
        Takes x (N, C, H, W), weight (O, C, kh, kw), bias (O,) and two ints; returns ``(y, cache)``,
        y of shape (N, O, Ho, Wo). Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns ``(dx, dweight, dbias)``; None checks none.
    divisible_only
        For functions that refuse images with pixels left over: the stride always divides
        ``H + 2 padding - kh``, and likewise along x.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why. It names
        the option under which the functions are right, if there is one.

    Notes
    -----
    See `minirpn.nn.conv2d_forward`. Expected are the sums over windows, written as loops. Pixels
    left over at the end are in no window.
    """

    def both(x: Any, weight: Any, bias: Any, dy: Any, stride: int, padding: int) -> Any:
        def run(x: Any) -> Any:
            return forward(x, weight, bias, stride=stride, padding=padding)

        def run_other() -> Any:
            return forward(0 * weight + 1, 1 - weight, bias, stride=1, padding=1)

        return answers_of(run, x, backward, {"y": dy}, ("dx", "dweight", "dbias"), run_other)

    contracts = {}
    if not divisible_only:
        left_over = _question(1, 1, 1, (4, 6), (3, 3), stride=2, padding=0)
        contracts["divisible_only=True"] = if_it_refuses(
            (partial(both, **left_over),),
            partial(check_conv2d, forward, backward, divisible_only=True),
        )
    exercise = Exercise(
        answer=loops_conv2d,
        stages=(
            Drawn(_convolutions()),
            Drawn(stored(_convolutions(wide=True, units=EXACT_UNITS), HELD), examples=50),
            Drawn(
                stored(_convolutions(wide=True, units=ROUNDED_UNITS), HELD, dtypes=(np.float64,)),
                examples=15,
            ),
            grown(_MANY_IMAGES, {"x": 0, "dy": 0}),
            grown(_MANY_CHANNELS, {"x": 1, "weight": 1}),
            grown(_MANY_OUTPUTS, {"weight": 0, "bias": 0, "dy": 1}),
            grown(_MANY_ROWS, {"x": 2, "dy": 2}),
            grown(_MANY_COLUMNS, {"x": 3, "dy": 3}),
            Asked((_LARGE,)),
            *([] if divisible_only else [Drawn(_convolutions(left_over=True), examples=50)]),
        ),
        probes=(
            _question(2, 2, 1, (4, 4), (3, 3), stride=1, padding=1),
            _question(2, 1, 2, (6, 4), (2, 2), stride=2, padding=1),
        ),
        mistakes=CONV2D_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise, contracts=contracts)
