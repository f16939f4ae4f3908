"""The check of max pooling, and the mistakes it knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing.check_conv import if_it_refuses, loops_conv2d
from minirpn.testing.examine import (
    Answers,
    Asked,
    Contracts,
    Drawn,
    Exercise,
    Mistakes,
    Question,
    Verdict,
    expect_one_of,
    spoiled,
)
from minirpn.testing.pairs import answers_of, examine_pair
from minirpn.testing.strategies import COUNTS, stored
from minirpn.testing.windows import (
    EXACT_UNITS,
    ROUNDED_UNITS,
    Pair,
    conv_size,
    distinct,
    grown,
    hand_back,
    has_ties,
    numbers,
    places,
    side_for,
)


def _pool_size(
    size: Pair,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    *,
    keeps_empty: bool = False,
) -> Pair:
    """Return (height, width) of what comes out; `keeps_empty` is a mistake."""

    def along(side: int, count: int) -> int:
        next_start = count * stride  # in the padded image
        is_covered = next_start - stride + kernel >= side + 2 * padding
        is_empty = next_start >= side + padding
        return count + (ceil_mode and not is_covered and (keeps_empty or not is_empty))

    rows, columns = conv_size(size, (kernel, kernel), stride, padding)
    return along(size[0], rows), along(size[1], columns)


def loops_max_pool2d(
    x: np.ndarray,
    dy: np.ndarray,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    *,
    outside: float = -np.inf,
    keeps_empty: bool = False,
    **gradient: Any,
) -> Answers:
    """Return y and, where it has the shape of `dy`, dx, window by window.

    Each option spoils one part; `gradient` are those of `hand_back`.
    """
    H, W = x.shape[2:]
    size = _pool_size((H, W), kernel, stride, padding, ceil_mode, keeps_empty=keeps_empty)
    # A last window may reach beyond the padding: this makes room for it.
    around = (padding, padding + stride)
    image = np.pad(x, ((0, 0), (0, 0), around, around), constant_values=outside)
    y, dimage = np.zeros((*x.shape[:2], *size)), np.zeros(image.shape)
    for (i, j), (rows, columns) in places(size, (kernel, kernel), stride):
        window = (slice(None), slice(None), rows, columns)
        y[:, :, i, j] = image[window].max(axis=(2, 3))
        if y.shape == dy.shape:
            hand_back(dimage, window, image[window], dy[:, :, i, j], **gradient)
    if y.shape != dy.shape:
        return {"y": y}
    return {"y": y, "dx": dimage[:, :, padding : padding + H, padding : padding + W]}


def _smallest(x: Any, dy: Any, *rest: Any) -> Answers:
    right = loops_max_pool2d(-x, dy, *rest)
    return right | {"y": -right["y"]}


def _spread(x: Any, dy: Any, *rest: Any) -> Answers:
    right = loops_max_pool2d(x, dy, *rest)
    kernel, stride, padding, _ = rest
    C = x.shape[1]
    kernels = np.zeros((C, C, kernel, kernel))
    kernels[range(C), range(C)] = 1 / kernel**2
    mean = loops_conv2d(x, kernels, np.zeros(C), dy, stride, padding)
    return right | {"dx": mean["dx"]} if "dx" in mean else right


def _placed(
    x: Any,
    dy: Any,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    *,
    across: bool = False,
    step: bool = True,
    shift: bool = True,
) -> Answers:
    """Return pooling whose dx puts each slope where the winner's place in its window says.

    The options read the place column by column, and forget the stride or the padding.
    """
    right = loops_max_pool2d(x, dy, kernel, stride, padding, ceil_mode)
    if "dx" not in right:
        return right
    around = (padding, padding + stride)
    image = np.pad(x, ((0, 0), (0, 0), around, around), constant_values=-np.inf)
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dy.shape):
        top, left = i * stride, j * stride
        place = int(image[n, c, top : top + kernel, left : left + kernel].argmax())
        row, column = divmod(place, kernel)[:: -1 if across else 1]
        row += i * (stride if step else 1) - (padding if shift else 0)
        column += j * (stride if step else 1) - (padding if shift else 0)
        dx[n, c, row, column] += dy[n, c, i, j]
    return right | {"dx": dx}


def _uncut(x: Any, dy: Any, kernel: int, stride: int, padding: int, ceil_mode: bool) -> Answers:
    """Return pooling by slices that may start below 0; it raises where one is empty."""
    right = loops_max_pool2d(x, dy, kernel, stride, padding, ceil_mode)
    y = np.zeros(right["y"].shape)
    for i, j in np.ndindex(y.shape[2:]):
        top, left = i * stride - padding, j * stride - padding
        y[:, :, i, j] = x[:, :, top : top + kernel, left : left + kernel].max(axis=(2, 3))
    return right | {"y": y}


_OF_WINDOWS: Mistakes = {
    "With ceil_mode a last window covers the pixels left over: round up.": (
        lambda x, dy, kernel, stride, padding, ceil_mode: loops_max_pool2d(
            x, dy, kernel, stride, padding, False
        )
    ),
    "Did you round up without ceil_mode, too? Pixels left over are in no window then.": (
        lambda x, dy, kernel, stride, padding, ceil_mode: loops_max_pool2d(
            x, dy, kernel, stride, padding, True
        )
    ),
    "Did you swap kernel and stride?": (
        lambda x, dy, kernel, stride, *rest: loops_max_pool2d(x, dy, stride, kernel, *rest)
    ),
    "Windows are stride apart, not kernel.": (
        lambda x, dy, kernel, stride, *rest: loops_max_pool2d(x, dy, kernel, kernel, *rest)
    ),
    "This is the smallest pixel of each window.": _smallest,
    "A slice must not start below 0: take max(top, 0).": _uncut,
    "The whole gradient goes to the pixel that won, none to the others.": _spread,
    "Places are counted row by row: the row is place // kw, the column place % kw.": partial(
        _placed, across=True
    ),
    "Where is the stride? A window begins at i * stride - padding.": partial(_placed, step=False),
    "Where is the padding? Subtract it.": partial(_placed, shift=False),
}
MAX_POOL2D_MISTAKES: Mistakes = _OF_WINDOWS | spoiled(
    loops_max_pool2d,
    outside={0: "Padding must never win: pad with minus infinity, not with 0."},
    keeps_empty={True: "With ceil_mode a window that has no pixel of the image is left out."},
    to_ties={
        "all": "Where pixels tie, only the first one (row by row) gets the gradient.",
        "last": "Where pixels tie, the first one (row by row) gets the gradient, not the last.",
    },
    overwrites={True: "A pixel may win several windows: add up what they give back."},
)


def _question(
    N: int,
    C: int,
    size: Pair,
    *,
    kernel: int,
    stride: int,
    padding: int,
    ceil: bool = False,
    seed: int = 0,
    unit: float = 1.0,
    offset: float = 0.0,
    ties: bool = False,
) -> Question:
    rng = np.random.default_rng(seed)
    draw = numbers if ties else distinct
    return {
        "x": draw(rng, N, C, *size, unit=unit) + offset,
        "dy": numbers(rng, N, C, *_pool_size(size, kernel, stride, padding, ceil), unit=unit),
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil,
    }


@st.composite
def _poolings(
    draw: DrawFn, *, wide: bool = False, left_over: bool = False, ties: bool = False
) -> Question:
    """Draw small whole numbers, or anything.

    If asked for, pixels are left over at the end, with ceil_mode and without, and pixels tie.
    """
    count = st.integers(1, 5 if wide else 2)
    kernel = draw(st.sampled_from([1, 2, 3, 5, 7] if wide else [1, 2, 3]))
    stride = draw(st.integers(1, 3 if wide or left_over else max(2, kernel)))
    padding = draw(st.integers(0, kernel // 2))
    rest = st.integers(0, stride - 1 if left_over else 0)
    H, W = (side_for(draw(st.integers(1, 3)), kernel, stride, padding, draw(rest)) for _ in "HW")
    unit = draw(EXACT_UNITS | ROUNDED_UNITS) if wide else 1.0
    # Whatever number an author pads with should be below all pixels.
    offset = draw(st.sampled_from([0.0, -200.0, -(2.0**19)])) if wide else 0.0
    return _question(
        draw(count),
        draw(count),
        (H, W),
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil=draw(st.booleans()) if left_over else False,
        seed=draw(st.integers(0, 2**16)),
        unit=unit,
        # Fractions that far from 0 would be equal in float32.
        offset=offset if unit >= 1 else max(offset, -200.0),
        ties=ties,
    )


_MANY_IMAGES = _question(COUNTS[-1], 1, (2, 2), kernel=2, stride=1, padding=0)
_MANY_CHANNELS = _question(1, COUNTS[-1], (2, 2), kernel=2, stride=1, padding=0)
_MANY_ROWS = _question(1, 1, (COUNTS[-1], 2), kernel=3, stride=1, padding=1)
_MANY_COLUMNS = _question(1, 1, (2, COUNTS[-1]), kernel=3, stride=1, padding=1)
_LARGE = _question(1, 2, (35, 40), kernel=2, stride=1, padding=0, unit=1 / 16)
# The next window would have no pixel of the image: it starts behind it, or in the padding there.
_EMPTY_WINDOWS = (
    _question(1, 1, (4, 1), kernel=1, stride=2, padding=0, ceil=True),
    _question(1, 2, (2, 3), kernel=2, stride=3, padding=1, ceil=True),
    _question(2, 1, (3, 5), kernel=3, stride=3, padding=1, ceil=True),
)


def check_max_pool2d(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    ties: str = "first",
    divisible_only: bool = False,
) -> Verdict:
    """Check max pooling: ``forward(x, kernel=, stride=, padding=, ceil_mode=)`` and its backward.

    Parameters
    ----------
    forward
        Takes x (N, C, H, W), three ints and a bool; returns ``(y, cache)``. Without `backward` it
        may return y alone. The padding is at most half of the kernel.
    backward
        ``backward(dy, cache)`` returns dx; None checks none.
    ties
        "first": the first of equal pixels, row by row, gets the gradient. "any": where pixels are
        equal, the gradient is not asked.
    divisible_only
        For functions that refuse images with pixels left over: the stride always divides
        ``H + 2 padding - kernel``, and likewise along x, and ``ceil_mode`` is False.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why. It names
        the option under which the functions are right, if there is one.
    ValueError
        `ties` is neither.

    Notes
    -----
    See `minirpn.nn.max_pool2d_forward`. Equal pixels are asked last. With ``ceil_mode`` a last
    window is left out if it has no pixel of the image, as in Caffe and PyTorch.
    """
    expect_one_of("ties", ties, ("first", "any"))
    options = {
        'ties="any"': ("any", divisible_only),
        "divisible_only=True": (ties, True),
        'ties="any", divisible_only=True': ("any", True),
    }
    contracts: dict[str, Callable[[], Verdict]] = {}
    for words, (other_ties, other_divisible_only) in options.items():
        check: Callable[[], Verdict] = partial(
            _check, forward, backward, other_ties, other_divisible_only
        )
        if other_divisible_only and not divisible_only:
            check = if_it_refuses(_calls_with_left_over(forward, backward), check)
        if (other_ties, other_divisible_only) != (ties, divisible_only):
            contracts[words] = check
    return _check(forward, backward, ties, divisible_only, contracts)


def _pair(
    forward: Callable[..., Any], backward: Callable[..., Any] | None, ties: str
) -> Callable[..., Any]:
    """Return a function that asks both; where pixels tie under "any", it leaves out dx."""

    def both(x: Any, dy: Any, kernel: int, stride: int, padding: int, ceil_mode: bool) -> Any:
        def run(x: Any) -> Any:
            return forward(x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)

        def run_other() -> Any:
            other = np.arange(12.0).reshape(1, 1, 4, 3)
            return forward(other, kernel=1, stride=1, padding=0, ceil_mode=False)

        answers = answers_of(run, x, backward, {"y": dy}, ("dx",), run_other)
        if ties == "any" and answers is not ... and has_ties(x):
            return {"y": answers["y"]}
        return answers

    return both


def _calls_with_left_over(
    forward: Callable[..., Any], backward: Callable[..., Any] | None
) -> list[Callable[[], Any]]:
    """Return two calls with pixels left over, without ceil_mode and with it."""
    both = _pair(forward, backward, "any")
    return [
        partial(both, **_question(1, 1, (5, 7), kernel=2, stride=2, padding=0, ceil=ceil))
        for ceil in (False, True)
    ]


def _check(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    ties: str,
    divisible_only: bool,
    contracts: Contracts | None = None,
) -> Verdict:
    both = _pair(forward, backward, ties)
    left_over = (
        Drawn(_poolings(left_over=True), examples=60),
        Asked(_EMPTY_WINDOWS),
        Drawn(stored(_poolings(wide=True, left_over=True), ("x", "dy")), examples=25),
    )
    exercise = Exercise(
        answer=loops_max_pool2d,
        stages=(
            Drawn(_poolings()),
            Drawn(stored(_poolings(wide=True), ("x", "dy")), examples=40),
            grown(_MANY_IMAGES, {"x": 0, "dy": 0}),
            grown(_MANY_CHANNELS, {"x": 1, "dy": 1}),
            grown(_MANY_ROWS, {"x": 2, "dy": 2}),
            grown(_MANY_COLUMNS, {"x": 3, "dy": 3}),
            Asked((_LARGE,)),
            *([] if divisible_only else left_over),
            Drawn(_poolings(ties=True), examples=60),
        ),
        probes=(
            _question(2, 2, (5, 5), kernel=3, stride=1, padding=1),
            _question(1, 2, (6, 4), kernel=2, stride=2, padding=0),
            _question(1, 1, (5, 7), kernel=3, stride=2, padding=1),
        ),
        mistakes=MAX_POOL2D_MISTAKES,
    )
    return examine_pair(forward, backward, both, exercise, contracts=contracts)
