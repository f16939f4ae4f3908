"""Wrong answers to the exercises of chapter 03, as learners wrote them, and what must be said."""

import numpy as np


def sides_and_centers(boxes):
    x1, y1, x2, y2 = boxes.T
    return x2 - x1, y2 - y1, (x1 + x2) / 2, (y1 + y2) / 2


def columns(*parts):
    return np.stack(parts, axis=1)


def corners(anchors, targets):
    wa, ha, _, _ = sides_and_centers(anchors)
    w, h, _, _ = sides_and_centers(targets)
    tx, ty = (targets[:, 0] - anchors[:, 0]) / wa, (targets[:, 1] - anchors[:, 1]) / ha
    return columns(tx, ty, np.log(w / wa), np.log(h / ha))


def in_pixels(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h, x, y = sides_and_centers(targets)
    return columns(x - xa, y - ya, np.log(w / wa), np.log(h / ha))


def by_the_object(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h, x, y = sides_and_centers(targets)
    return columns((x - xa) / w, (y - ya) / h, np.log(w / wa), np.log(h / ha))


def no_logarithm(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h, x, y = sides_and_centers(targets)
    return columns((x - xa) / wa, (y - ya) / ha, w / wa, h / ha)


def upside_down(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h, x, y = sides_and_centers(targets)
    return columns((x - xa) / wa, (y - ya) / ha, np.log(wa / w), np.log(ha / h))


def base_ten(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h, x, y = sides_and_centers(targets)
    return columns((x - xa) / wa, (y - ya) / ha, np.log10(w / wa), np.log10(h / ha))


def both_by_width(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h, x, y = sides_and_centers(targets)
    return columns((x - xa) / wa, (y - ya) / wa, np.log(w / wa), np.log(h / ha))


def as_rows(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h, x, y = sides_and_centers(targets)
    return np.stack([(x - xa) / wa, (y - ya) / ha, np.log(w / wa), np.log(h / ha)])


def plus_one(anchors, targets):
    one = np.array([0, 0, 1, 1])
    wa, ha, xa, ya = sides_and_centers(anchors + one)
    w, h, x, y = sides_and_centers(targets + one)
    return columns((x - xa) / wa, (y - ya) / ha, np.log(w / wa), np.log(h / ha))


def exchanged(anchors, targets):
    wa, ha, xa, ya = sides_and_centers(targets)
    w, h, x, y = sides_and_centers(anchors)
    return columns((x - xa) / wa, (y - ya) / ha, np.log(w / wa), np.log(h / ha))


def decoded(anchors, deltas, *, low=0.5, high=0.5, grow=np.exp, sign=1, start=0.5):
    """Return the boxes; each option is what somebody wrote in another way."""
    x1, y1, x2, y2 = anchors.T
    tx, ty, tw, th = deltas.T
    wa, ha = x2 - x1, y2 - y1
    x, y = sign * tx * wa + x1 + start * wa, sign * ty * ha + y1 + start * ha
    w, h = wa * grow(tw), ha * grow(th)
    return columns(x - low * w, y - low * h, x + high * w, y + high * h)


def center_for_corner(anchors, deltas):
    return decoded(anchors, deltas, low=0, high=1)


def whole_sides(anchors, deltas):
    return decoded(anchors, deltas, low=1, high=1)


def no_exponential(anchors, deltas):
    return decoded(anchors, deltas, grow=lambda logs: logs)


def power_of_two(anchors, deltas):
    return decoded(anchors, deltas, grow=np.exp2)


def minus(anchors, deltas):
    return decoded(anchors, deltas, sign=-1)


def from_the_corner(anchors, deltas):
    return decoded(anchors, deltas, start=0)


def pixels(anchors, deltas):
    tx, ty, tw, th = deltas.T
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h = wa * np.exp(tw), ha * np.exp(th)
    return columns(xa + tx - w / 2, ya + ty - h / 2, xa + tx + w / 2, ya + ty + h / 2)


def clamped(anchors, deltas):
    return decoded(anchors, deltas, grow=lambda logs: np.exp(np.minimum(logs, np.log(1000 / 16))))


def sides_for_corners(anchors, deltas):
    tx, ty, tw, th = deltas.T
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h = wa * np.exp(tw), ha * np.exp(th)
    return columns(xa + tx * wa - w / 2, ya + ty * ha - h / 2, w, h)


def new_sides(anchors, deltas):
    tx, ty, tw, th = deltas.T
    wa, ha, xa, ya = sides_and_centers(anchors)
    w, h = wa * np.exp(tw), ha * np.exp(th)
    x, y = tx * w + xa, ty * h + ya
    return columns(x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def last_pixel(anchors, deltas):
    return decoded(anchors, deltas) - np.array([0, 0, 1, 1])


WRONG = {
    "my_encode": [
        (corners, "take the corner for the center"),
        (in_pixels, "divide the shift by the anchor's sides"),
        (by_the_object, "sides of the box, not of the anchor"),
        (no_logarithm, "forget the logarithm"),
        (upside_down, "upside down"),
        (base_ten, "base 10"),
        (both_by_width, "y is measured in heights"),
        (as_rows, "axis=1"),
        (plus_one, "half-open"),
        (exchanged, "from the box to the anchor"),
        (lambda anchors, targets: targets - anchors, "correction of the corners"),
    ],
    "my_decode": [
        (center_for_corner, "take the center for the corner"),
        (whole_sides, "half a side to each side"),
        (no_exponential, "forget the exponential"),
        (power_of_two, "power of 2"),
        (minus, "wrong sign"),
        (from_the_corner, "not at its corner"),
        (pixels, "counts widths of the anchor"),
        (clamped, "limit of tw and th is not asked"),
        (sides_for_corners, "not (x, y, width, height)"),
        (new_sides, "not of the new box"),
        (last_pixel, "half-open"),
    ],
}
