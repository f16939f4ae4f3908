"""Wrong answers to the exercises of chapter 02, as learners wrote them, and what must be said."""

import math

import numpy as np


def unrounded(base_size, ratio):
    width = math.sqrt(base_size**2 / ratio)
    return width, width * ratio


def rounded_apart(base_size, ratio):
    width = base_size / math.sqrt(ratio)
    height = base_size * math.sqrt(ratio)
    return np.array([round(width), round(height)])


def width_alone_rounded(base_size, ratio):
    width = np.round(base_size / np.sqrt(ratio))
    return np.array([width, width * ratio])


def cut_off(base_size, ratio):
    width = int((base_size * base_size / ratio) ** 0.5)
    return width, int(width * ratio)


def half_up(base_size, ratio):
    width = int(math.sqrt(base_size**2 / ratio) + 0.5)
    return width, int(width * ratio + 0.5)


def width_over_height(base_size, ratio):
    height = round(np.sqrt(base_size**2 / ratio))
    return np.array([round(height * ratio), height])


def inverse(base_size, ratio):
    width = round(math.sqrt(base_size**2 * ratio))
    return width, round(width / ratio)


def multiplied(base_size, ratio):
    width = round(math.sqrt(base_size**2 * ratio))
    return width, round(width * ratio)


def base_size_wide(base_size, ratio):
    return base_size, round(base_size * ratio)


def no_root(base_size, ratio):
    width = round(base_size**2 / ratio)
    return width, round(width * ratio)


def divided_twice(base_size, ratio):
    width = round(math.sqrt(base_size**2 / ratio))
    return width, round(width / ratio)


def sides_of(base_size, ratio):
    width = round(math.sqrt(base_size**2 / ratio))
    return np.array([width, round(width * ratio)])


def scales_outside(base_size, ratios, scales):
    found, c = [], base_size / 2
    for scale in scales:
        for ratio in ratios:
            w, h = scale * sides_of(base_size, ratio)
            found.append([c - w / 2, c - h / 2, c + w / 2, c + h / 2])
    return np.array(found)


def each(base_size, ratios, scales, make):
    return np.array(
        [make(*scale * sides_of(base_size, ratio)) for ratio in ratios for scale in scales]
    )


def around_0(base_size, ratios, scales):
    return each(base_size, ratios, scales, lambda w, h: (-w / 2, -h / 2, w / 2, h / 2))


def whole_sides(base_size, ratios, scales):
    c = base_size / 2
    return each(base_size, ratios, scales, lambda w, h: (c - w, c - h, c + w, c + h))


def center_and_sides(base_size, ratios, scales):
    c = base_size / 2
    return each(base_size, ratios, scales, lambda w, h: (c, c, w, h))


def swapped(base_size, ratios, scales):
    c = base_size / 2
    return each(
        base_size, ratios, scales, lambda w, h: (c - h / 2, c - w / 2, c + h / 2, c + w / 2)
    )


def inclusive(base_size, ratios, scales):
    c = base_size / 2
    return each(
        base_size, ratios, scales, lambda w, h: (c - w / 2, c - h / 2, c + w / 2 - 1, c + h / 2 - 1)
    )


def without_scales(base_size, ratios, scales):
    found, c = [], base_size / 2
    for ratio in ratios:
        for _ in scales:
            w, h = sides_of(base_size, ratio)
            found.append([c - w / 2, c - h / 2, c + w / 2, c + h / 2])
    return np.array(found)


def last_ratio_alone(base_size, ratios, scales):
    for ratio in ratios:
        found, c = [], base_size / 2
        for scale in scales:
            w, h = scale * sides_of(base_size, ratio)
            found.append([c - w / 2, c - h / 2, c + w / 2, c + h / 2])
    return np.array(found)


def columns_first(base, feature_size, stride):
    found = []
    for j in range(feature_size[1]):
        for i in range(feature_size[0]):
            found += [anchor + stride * np.array([j, i, j, i]) for anchor in base]
    return np.array(found)


def anchors_first(base, feature_size, stride):
    found = []
    for anchor in base:
        for i in range(feature_size[0]):
            found += [anchor + stride * np.array([j, i, j, i]) for j in range(feature_size[1])]
    return np.array(found)


def moves_of(feature_size):
    return [(i, j) for i in range(feature_size[0]) for j in range(feature_size[1])]


def rows_move_x(base, feature_size, stride):
    return np.concatenate(
        [base + stride * np.array([i, j, i, j]) for i, j in moves_of(feature_size)]
    )


def one_corner(base, feature_size, stride):
    return np.concatenate(
        [base + stride * np.array([j, i, 0, 0]) for i, j in moves_of(feature_size)]
    )


def no_stride(base, feature_size, stride):
    return np.concatenate([base + np.array([j, i, j, i]) for i, j in moves_of(feature_size)])


def in_the_middle(base, feature_size, stride):
    return np.concatenate(
        [base + stride * (np.array([j, i, j, i]) + 0.5) for i, j in moves_of(feature_size)]
    )


def width_before_height(base, feature_size, stride):
    return np.concatenate(
        [base + stride * np.array([j, i, j, i]) for i, j in moves_of(feature_size[::-1])]
    )


def a_table(base, feature_size, stride):
    i, j = np.indices(feature_size)
    moves = stride * np.stack([j, i, j, i], axis=-1)
    return moves[:, :, None, :] + base


def over_one_another(base, feature_size, stride):
    return columns_first(base, feature_size, 1)


WRONG = {
    "my_sides": [
        (unrounded, "Round both sides"),
        (rounded_apart, "Take the height from the rounded width"),
        (width_alone_rounded, "Round the height, too"),
        (cut_off, "int() cuts off"),
        (half_up, "A half is rounded to the even number"),
        (width_over_height, "Return the width first"),
        (inverse, "is yours width / height?"),
        (multiplied, "Under the root, divide"),
        (base_size_wide, "The area stays"),
        (no_root, "the square root"),
        (divided_twice, "The height is the width times the ratio"),
    ],
    "my_base_anchors": [
        (scales_outside, "One ratio after the other"),
        (around_0, "not (0, 0)"),
        (whole_sides, "Half a side lies on each side"),
        (center_and_sides, "Give the corners"),
        (swapped, "did you swap them?"),
        (inclusive, "Did you take 1 off x2 and y2?"),
        (without_scales, "Multiply the sides by the scale"),
        (last_ratio_alone, "yours has the shape (1, 4), expected (2, 4)"),
    ],
    "my_grid": [
        (columns_first, "row by row, not column by column"),
        (anchors_first, "All anchors of a cell come together"),
        (rows_move_x, "x grows with the column"),
        (one_corner, "Move both corners"),
        (no_stride, "multiply by the stride"),
        (in_the_middle, "did you add half a stride?"),
        (width_before_height, "(height, width), not (width, height)"),
        (a_table, "Give one list of K anchors"),
        (over_one_another, "multiply by the stride"),
    ],
}
