"""Arguments for the operations on regions: small whole numbers, boxes of any kind.

Boxes lie on the map, across its border and off it, and are empty or inverted now and then; whole
corners and a stride of 2 or 4 put many of them between two cells, where rounding is in question.
"""

import numpy as np
from hypothesis import strategies as st

from minirpn import loops
from minirpn.testing import strategies

DTYPES = st.sampled_from([np.float32, np.float64])


def regions(draw, *, of_one_dtype=False):
    """Draw a map, boxes, (h, w) and 1 / stride."""
    # 18 channels are more than one block of lanes, and not a whole number of them.
    C, Hf, Wf = draw(st.sampled_from([1, 2, 18])), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    dtype, rng = draw(DTYPES), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    features = draw(strategies.layouts(rng.integers(-4, 5, (C, Hf, Wf)).astype(dtype)))
    boxes_dtype = dtype if of_one_dtype else draw(DTYPES)
    boxes = draw(
        strategies.boxes(max_count=4, extent=24, whole=draw(st.booleans()), dtype=boxes_dtype)
    )
    if len(boxes) and draw(st.integers(0, 9)) == 0:
        boxes[draw(st.integers(0, len(boxes) - 1)), draw(st.integers(0, 3))] = np.nan
    output_size = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = draw(st.sampled_from([2.0, 3.0, 4.0, 10.0]))
    return features, draw(strategies.layouts(boxes)), output_size, 1 / stride


def given_back(draw, features, boxes, output_size):
    """Draw dy (R,C,h,w)."""
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    shape = (len(boxes), features.shape[0], *output_size)
    return draw(strategies.layouts(rng.integers(-4, 5, shape).astype(features.dtype)))


def roi_pool(draw):
    return regions(draw), {}


def roi_pool_dx(draw):
    features, boxes, output_size, scale = regions(draw)
    argmax = loops.roi_pool(features, boxes, output_size, scale)[1]
    dy = given_back(draw, features, boxes, output_size)
    return (dy, draw(strategies.layouts(argmax)), features.shape[1:]), {}


def roi_align(draw):
    region = regions(draw, of_one_dtype=True)
    return (*region, draw(st.integers(1, 3)), draw(st.booleans())), {}


def roi_align_dx(draw):
    (features, boxes, output_size, *options), _ = roi_align(draw)
    dy = given_back(draw, features, boxes, output_size)
    return (dy, features, boxes, *options), {"need_dboxes": draw(st.booleans())}


CASES = {
    "roi_pool": roi_pool,
    "roi_pool_dx": roi_pool_dx,
    "roi_align": roi_align,
    "roi_align_dx": roi_align_dx,
}
