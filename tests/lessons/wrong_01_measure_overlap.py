"""Wrong answers to the exercises of chapter 01, as learners wrote them, and what must be said."""

import numpy as np

from minirpn import boxes

APART = "Where boxes are apart, a side is negative"
TWO_NEGATIVE = "Two negative sides have a positive product"
TWICE = "Did you count the shared area twice?"


def sides(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def no_cut(a, b):
    width, height = sides(a, b)
    shared = width * height
    return shared / (area(a) + area(b) - shared)


def no_cut_guarded(a, b):
    width, height = sides(a, b)
    shared = width * height
    covered = area(a) + area(b) - shared
    return shared / covered if covered > 0 else 0.0


def no_cut_guarded_for_0(a, b):
    width, height = sides(a, b)
    shared = width * height
    covered = area(a) + area(b) - shared
    return 0.0 if covered == 0 else shared / covered


def no_cut_over_at_least_1(a, b):
    width, height = sides(a, b)
    shared = width * height
    return shared / max(area(a) + area(b) - shared, 1)


def product_cut(a, b):
    width, height = sides(a, b)
    shared = max(width * height, 0)
    return shared / (area(a) + area(b) - shared)


def product_cut_guarded(a, b):
    width, height = sides(a, b)
    shared = width * height
    covered = area(a) + area(b) - shared
    return 0 if shared <= 0 or covered <= 0 else shared / covered


def only_width_cut(a, b):
    width, height = sides(a, b)
    shared = max(width, 0) * height
    return shared / (area(a) + area(b) - shared) if area(a) + area(b) > 0 else 0


def one_condition_for_both(a, b):
    width, height = sides(a, b)
    if width <= 0 and height <= 0:
        return 0.0
    return width * height / (area(a) + area(b) - width * height)


def positive_by_force(a, b):
    width, height = map(abs, sides(a, b))
    covered = area(a) + area(b) - width * height
    return width * height / covered if covered else 0.0


def not_cut_and_counted_twice(a, b):
    width, height = sides(a, b)
    return width * height / (area(a) + area(b))


def counted_twice(a, b):
    width, height = sides(a, b)
    if width <= 0 or height <= 0:
        return 0
    return width * height / (area(a) + area(b))


def no_cut_over_the_smaller(a, b):
    width, height = sides(a, b)
    return width * height / min(area(a), area(b)) if area(a) and area(b) else 0


def minus_a_positive_area(a, b):
    width, height = sides(a, b)
    if width < 0 or height < 0:
        return 0.0
    shared = width * height
    return shared / (area(a) + area(b) - shared)


def inclusive(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + 1, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + 1, 0)
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return width * height / (area_a + area_b - width * height)


def box_around(a, b):
    width = max(a[2], b[2]) - min(a[0], b[0])
    height = max(a[3], b[3]) - min(a[1], b[1])
    return width * height / (area(a) + area(b) - width * height)


def over_a(a, b):
    width, height = sides(a, b)
    return max(width, 0) * max(height, 0) / area(a) if area(a) else 0


def columns_first(a, b):
    table = np.zeros((len(b), len(a)))
    for m in range(len(b)):
        for n in range(len(a)):
            table[m, n] = boxes.iou(a[n : n + 1], b[m : m + 1])[0, 0]
    return table


def never_written(a, b):
    overlaps = np.zeros((len(a), len(b)))
    for n in range(len(a)):
        for m in range(len(b)):
            boxes.iou(a[n : n + 1], b[m : m + 1])
    return overlaps


def single_boxes(a, b):
    return np.array([[boxes.iou(one, other) for other in b] for one in a])


def uncut_loops(a, b):
    overlaps = np.zeros((len(a), len(b)))
    for n, m in np.ndindex(overlaps.shape):
        overlaps[n, m] = no_cut_guarded(a[n], b[m])
    return overlaps


def shared_of(a, b):
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.maximum(high - low, 0).prod(axis=2)


def no_cut_arrays(a, b):
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(high - low, axis=2)
    covered = boxes.area(a)[:, None] + boxes.area(b) - shared
    return np.where(covered > 0, shared / covered, 0)


def cut_late(a, b):
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(np.prod(high - low, axis=2), 0)
    covered = boxes.area(a)[:, None] + boxes.area(b) - shared
    return np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)


def unguarded(a, b):
    shared = shared_of(a, b)
    return shared / (boxes.area(a)[:, None] + boxes.area(b)[None] - shared)


def areas_in_a_row(a, b):
    shared = shared_of(a, b)
    covered = boxes.area(a) + boxes.area(b) - shared
    return shared / np.where(shared > 0, covered, 1)


def areas_swapped(a, b):
    shared = shared_of(a, b)
    covered = boxes.area(a) + boxes.area(b)[:, None] - shared
    return shared / np.where(shared > 0, covered, 1)


def over_all_pairs(a, b):
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (boxes.area(a)[:, None] + boxes.area(b) - shared)


def epsilon(a, b):
    shared = shared_of(a, b)
    return shared / (boxes.area(a)[:, None] + boxes.area(b) - shared + 1e-6)


def at_least_one(a, b):
    shared = shared_of(a, b)
    return shared / np.maximum(boxes.area(a)[:, None] + boxes.area(b) - shared, 1)


def dice(a, b):
    shared = boxes.iou(a[None], b[None])[0, 0]
    return 2 * shared / (1 + shared)


def equal_is_1(a, b):
    return 1.0 if np.array_equal(a, b) else boxes.iou(a[None], b[None])[0, 0]


WRONG = {
    "my_pair_iou": [
        (no_cut, APART),
        (no_cut_guarded, APART),
        (no_cut_guarded_for_0, APART),
        (no_cut_over_at_least_1, APART),
        (product_cut, TWO_NEGATIVE),
        (product_cut_guarded, TWO_NEGATIVE),
        (only_width_cut, "Cut off the height at 0, too"),
        (one_condition_for_both, "One negative side is enough"),
        (positive_by_force, "an absolute value makes it positive"),
        (counted_twice, TWICE),
        (not_cut_and_counted_twice, TWICE),
        (no_cut_over_the_smaller, "not by the smaller area, and cut each side off at 0"),
        (minus_a_positive_area, "0/0: boxes without area share nothing"),
        (inclusive, "Did you add 1 to the sides?"),
        (box_around, "The shared part begins at the larger x1"),
        (over_a, "not by the area of a"),
        (dice, "is another measure"),
        (equal_is_1, "Equal boxes without area share nothing either"),
    ],
    "my_iou_loops": [
        (columns_first, "Rows are the boxes of a"),
        (never_written, "Every overlap is 0"),
        (single_boxes, "yours raises ValueError"),
        (uncut_loops, APART),
    ],
    "my_iou": [
        (no_cut_arrays, APART),
        (cut_late, TWO_NEGATIVE),
        (unguarded, "0/0"),
        (areas_in_a_row, "each has an axis of its own"),
        (areas_swapped, "Did you swap the areas?"),
        (over_all_pairs, "pair by pair"),
        (epsilon, "Did you add 1e-06"),
        (at_least_one, "Did you divide by 1 at least?"),
    ],
}
