"""Checks of what looks at regions of a feature map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from minirpn.testing import mistakes_roi_pool as wrong
from minirpn.testing.examine import Question, Task, Verdict, examine
from minirpn.testing.pairs import name_of, only_y, parts


def _question(
    size: tuple[int, int],
    half_cells: list[tuple[int, int, int, int]],
    output_size: tuple[int, int],
    *,
    stride: float,
    channels: int,
    seed: int,
) -> Question:
    """Return a question about boxes whose corners are given in half cells."""
    rng = np.random.default_rng(seed)
    return {
        # Small whole numbers, so that cells tie and sums are exact; without 0, so that a bin that
        # has nothing is told from one that has.
        "features": rng.choice([-3.0, -2, -1, 1, 2, 3], (channels, *size)),
        "boxes": np.array(half_cells, dtype=np.float64).reshape(-1, 4) * (stride / 2),
        "dy": rng.integers(-3, 4, (len(half_cells), channels, *output_size)).astype(np.float64),
        "output_size": output_size,
        "stride": stride,
    }


@st.composite
def _regions(draw: DrawFn, *, on_map: bool) -> Question:
    """Draw a map and boxes, ordinary ones inside of it or of any kind."""
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    outside = 0 if on_map else 3
    # The last cell is the farthest that an ordinary corner is rounded to.
    y, x = (st.integers(-outside, 2 * (side - 1) + outside) for side in size)
    corners = [draw(st.tuples(x, y, x, y)) for _ in range(draw(st.integers(0, 2)))]
    if on_map:
        corners = [
            (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in corners
        ]
    return _question(
        size,
        corners,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        stride=draw(st.sampled_from([4.0, 16.0])),
        channels=draw(st.integers(1, 2)),
        seed=draw(st.integers(0, 2**16)),
    )


def check_roi_pool(
    forward: Callable[..., Any], backward: Callable[..., Any] | None = None
) -> Verdict:
    """Check RoI max pooling: ``forward(features, boxes, output_size=, stride=)`` and its backward.

    Parameters
    ----------
    forward
        Takes features (C, Hf, Wf), boxes (R, 4) in half-open pixels, (h, w) and a number of pixels;
        returns ``(y, cache)``, y of shape (R, C, h, w). Without `backward` it may return y alone.
    backward
        ``backward(dy, cache)`` returns dfeatures; None checks none.

    Raises
    ------
    CheckError
        An answer is wrong; the message has the smallest example found, and perhaps why.

    Notes
    -----
    See `minirpn.nn.roi_pool_forward`: corners are rounded half away from zero, the cell of x2, y2
    included, and the first of equal cells, row by row, wins. Boxes on the map come first, then
    those across its border, off it, empty and inverted.
    """

    def both(features: Any, boxes: Any, dy: Any, output_size: Any, stride: Any) -> Any:
        y, cache = parts(forward(features, boxes, output_size=output_size, stride=stride), backward)
        if y is ... or backward is None or np.shape(y) != dy.shape:
            return y if y is ... else {"y": y}
        dfeatures = backward(dy, cache)
        return dfeatures if dfeatures is ... else {"y": y, "dfeatures": dfeatures}

    task = Task(
        answer=only_y(wrong.roi_pool) if backward is None else wrong.roi_pool,
        drawn=(_regions(on_map=True), _regions(on_map=False)),
        probes=(
            _question(
                (4, 5),
                [(0, 1, 8, 6), (1, 2, 5, 3), (2, 0, 7, 6), (2, 0, 7, 6)],
                (2, 3),
                stride=4.0,
                channels=2,
                seed=0,
            ),
            _question(
                (4, 3),
                [(-3, -1, 3, 5), (1, 3, 11, 9), (4, 4, 0, 1), (2, 2, 2, 2)],
                (3, 2),
                stride=16.0,
                channels=1,
                seed=1,
            ),
        ),
        mistakes=tuple(map(only_y, wrong.ROI_POOL)) if backward is None else wrong.ROI_POOL,
    )
    return examine(both, task, name_of(forward, backward))
