"""Wrong deltas and wrong sides, right where boxes are few, small, whole numbers and in rows."""

import math

import numpy as np

# The right ones, for every dtype and layout.


def sides(boxes):
    boxes = np.asarray(boxes, dtype=np.float64)
    return boxes[:, 2:] - boxes[:, :2]


def encode(anchors, boxes):
    anchors, boxes = np.asarray(anchors, dtype=float), np.asarray(boxes, dtype=float)
    shifts = ((boxes[:, :2] + boxes[:, 2:]) - (anchors[:, :2] + anchors[:, 2:])) / 2
    logs = np.log(sides(boxes)) - np.log(sides(anchors))
    return np.hstack([shifts / sides(anchors), logs])


def decode(anchors, deltas):
    anchors, deltas = np.asarray(anchors, dtype=float), np.asarray(deltas, dtype=float)
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * sides(anchors)
    half = sides(anchors) * np.exp(deltas[:, 2:]) / 2
    return np.hstack([centers - half, centers + half])


def clip(boxes, image_size):
    height, width = image_size
    return np.clip(np.asarray(boxes, dtype=float), 0, [width, height, width, height])


def min_size(boxes, min_size):
    return np.flatnonzero((sides(boxes) >= min_size).all(axis=1))


CLAMP = math.log(1000 / 16)


def decode_clamped(anchors, deltas):
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], CLAMP)
    return decode(anchors, deltas)


def inverse(boxes, deltas):
    parts = [decode(boxes, deltas[:, k : k + 4]) for k in range(0, deltas.shape[1], 4)]
    return np.hstack(parts)


RIGHT = {
    "encode": [encode],
    "decode": [decode],
    "decode_clamped": [decode_clamped],
    "bbox_transform_inv": [inverse],
    "clip": [clip],
    "min_size": [min_size],
}


# Eq. 2.


def encode_dtype_of_anchors(anchors, boxes):  # whole-number dtypes
    deltas = np.empty_like(anchors)
    deltas[:] = encode(anchors, boxes)
    return deltas


def encode_sides_at_least_one(anchors, boxes):  # sides of less than a pixel
    deltas = encode(anchors, boxes)
    deltas[:, 2:] = np.log(np.maximum(sides(boxes), 1) / np.maximum(sides(anchors), 1))
    return deltas


def encode_single_centers(anchors, boxes):  # fractions at 1e4
    return encode(np.asarray(anchors, np.float32), np.asarray(boxes, np.float32))


def encode_logs_up_to_four(anchors, boxes):  # a box 60 times as wide as the anchor
    deltas = encode(anchors, boxes)
    return np.hstack([deltas[:, :2], np.clip(deltas[:, 2:], -4, 4)])


def encode_shifts_up_to_100(anchors, boxes):  # a box 100 anchors away
    deltas = encode(anchors, boxes)
    return np.hstack([np.clip(deltas[:, :2], -100, 100), deltas[:, 2:]])


def encode_memory_order(anchors, boxes):  # columns in memory
    return encode(anchors, boxes.ravel("K").reshape(-1, 4))


def encode_up_to_4096(anchors, boxes):  # coordinates above 4096
    return encode(np.clip(anchors, -4096, 4096), np.clip(boxes, -4096, 4096))


def encode_first_64(anchors, boxes):  # 65 boxes
    return np.vstack([encode(anchors[:64], boxes[:64]), np.zeros((max(len(boxes) - 64, 0), 4))])


def encode_four_by_four(anchors, boxes):  # 5 boxes: those after the last four
    deltas = encode(anchors, boxes)
    if len(deltas) > 4:
        deltas[len(deltas) // 4 * 4 :] = 0
    return deltas


def decode_clipped(anchors, deltas):  # tw above 2.5
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], 2.5)
    return decode(anchors, deltas)


def decode_floor_of_logs(anchors, deltas):  # tw below -4
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.maximum(deltas[:, 2:], -4)
    return decode(anchors, deltas)


def decode_shifts_up_to_four(anchors, deltas):  # tx above 4
    deltas = np.array(deltas, dtype=float)
    deltas[:, :2] = np.clip(deltas[:, :2], -4, 4)
    return decode(anchors, deltas)


def decode_from_minus_1000(anchors, deltas):  # coordinates below -1000
    return np.maximum(decode(anchors, deltas), -1000)


def decode_dtype_of_anchors(anchors, deltas):  # anchors of a whole-number dtype
    boxes = np.empty_like(anchors)
    boxes[:] = decode(anchors, deltas)
    return boxes


def decode_single(anchors, deltas):  # fractions at 1e4
    return decode(np.asarray(anchors, np.float32), np.asarray(deltas, np.float32))


def decode_memory_order(anchors, deltas):  # columns in memory
    return decode(anchors, deltas.ravel("K").reshape(-1, 4))


def decode_first_64(anchors, deltas):  # 65 boxes
    return np.vstack([decode(anchors[:64], deltas[:64]), anchors[64:]])


def decode_square_anchors(anchors, deltas):  # anchors above 256 pixels that are not square
    wide = np.where(sides(anchors) > 256, sides(anchors)[:, :1], sides(anchors))
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2.0
    return decode(np.hstack([centers - wide / 2, centers + wide / 2]), deltas)


# Clamped.


def clamped_below(anchors, deltas):  # tw below -4.1
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.clip(deltas[:, 2:], -CLAMP, CLAMP)
    return decode(anchors, deltas)


def clamped_widths_only(anchors, deltas):  # th above the clamp
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2] = np.minimum(deltas[:, 2], CLAMP)
    return decode(anchors, deltas)


def clamped_shifts_too(anchors, deltas):  # tx above the clamp
    return decode(anchors, np.minimum(deltas, CLAMP))


def clamped_in_pixels(anchors, deltas):  # an anchor that has not 16 pixels
    boxes = decode(anchors, deltas)
    half = np.minimum(sides(boxes) / 2, 500)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.hstack([centers - half, centers + half])


def clamped_to_two_digits(anchors, deltas):  # tw above the clamp
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], 4.14)
    return decode(anchors, deltas)


def clamped_to_none(anchors, deltas):  # a log scale too large leaves the anchor as it is
    deltas = np.array(deltas, dtype=float)
    deltas[:, 2:] = np.where(deltas[:, 2:] > CLAMP, 0, deltas[:, 2:])
    return decode(anchors, deltas)


def inverse_of_two_classes(boxes, deltas):  # more than 2 classes
    right = inverse(boxes, deltas)
    right[:, 8:] = np.tile(boxes, (1, right.shape[1] // 4))[:, 8:]
    return right


def inverse_four_columns_if_empty(boxes, deltas):  # no boxes, several classes
    return inverse(boxes, deltas) if len(boxes) else np.zeros((0, 4))


def inverse_dtype_of_boxes(boxes, deltas):  # boxes of a whole-number dtype
    return inverse(boxes, deltas).astype(boxes.dtype)


def inverse_memory_order(boxes, deltas):  # columns in memory
    return inverse(boxes, deltas.ravel("K").reshape(deltas.shape))


def inverse_single(boxes, deltas):  # fractions at 1e4
    return inverse(np.asarray(boxes, np.float32), np.asarray(deltas, np.float32))


def inverse_clamped(boxes, deltas):  # tw above 4.1
    deltas = np.array(deltas, dtype=float).reshape(-1, 4)
    deltas[:, 2:] = np.minimum(deltas[:, 2:], CLAMP)
    rows = decode(np.repeat(boxes, len(deltas) // max(len(boxes), 1), axis=0), deltas)
    return rows.reshape(len(boxes), -1) if len(boxes) else inverse(boxes, np.zeros((0, 4)))


def inverse_tiled(boxes, deltas):  # 2 boxes and 2 classes
    rows = decode(np.tile(boxes, (max(deltas.shape[1] // 4, 1), 1)), deltas.reshape(-1, 4))
    return rows.reshape(deltas.shape)


def inverse_of_first_64(boxes, deltas):  # 65 boxes
    right = inverse(boxes, deltas)
    right[64:] = 0
    return right


# Clipping, minimum size.


def clip_own_borders(boxes, image_size):  # a box entirely outside
    height, width = image_size
    low, high = np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], [width, height])
    return np.hstack([low, high])


def clip_one_pixel_stays(boxes, image_size):  # a box entirely outside, to the left
    clipped = clip(boxes, image_size)
    beyond = (boxes[:, 2] < 0) & (boxes[:, 0] < 0)
    clipped[beyond, 2] = 1
    return clipped


def clip_square(boxes, image_size):  # the image is higher than wide, and y ends between
    return clip(boxes, (min(image_size), image_size[1]))


def clip_memory_order(boxes, image_size):  # columns in memory
    return clip(boxes.ravel("K").reshape(-1, 4), image_size)


def clip_corners_in_order(boxes, image_size):  # inverted boxes
    clipped = clip(boxes, image_size)
    return np.hstack([clipped[:, :2], np.maximum(clipped[:, :2], clipped[:, 2:])])


def clip_to_1000(boxes, image_size):  # images of more than 1000 pixels
    return clip(boxes, (min(image_size[0], 1000), min(image_size[1], 1000)))


def clip_whole_pixels(boxes, image_size):  # fractions
    return np.trunc(clip(boxes, image_size))


def min_size_area(boxes, min_size):  # long and thin
    return np.flatnonzero((sides(boxes).prod(axis=1) >= min_size**2) & (sides(boxes) > 0).all(1))


def min_size_above(boxes, min_size):  # sides equal to the least one
    return np.flatnonzero((sides(boxes) > min_size).all(axis=1))


def min_size_none_asked(boxes, min_size):  # at least 0: inverted boxes
    right = np.flatnonzero((sides(boxes) >= min_size).all(axis=1))
    return right if min_size else np.arange(len(boxes))


def min_size_rounded(boxes, min_size):  # sides between two whole numbers
    return np.flatnonzero((np.round(sides(boxes)) >= min_size).all(axis=1))


def min_size_absolute(boxes, min_size):  # inverted boxes
    return np.flatnonzero((np.abs(sides(boxes)) >= min_size).all(axis=1))


def min_size_squeezed(boxes, min_size):  # one box stays
    return np.squeeze(np.argwhere((sides(boxes) >= min_size).all(axis=1)))


def min_size_single(boxes, min_size):  # fractions at 1e4
    corners = np.asarray(boxes, dtype=np.float32)
    return np.flatnonzero((corners[:, 2:] - corners[:, :2] >= np.float32(min_size)).all(axis=1))


LISTED = {
    "decode": [decode_clipped],
}


OWN = {
    "encode": [
        encode_dtype_of_anchors,
        encode_sides_at_least_one,
        encode_single_centers,
        encode_logs_up_to_four,
        encode_shifts_up_to_100,
        encode_memory_order,
        encode_up_to_4096,
        encode_first_64,
        encode_four_by_four,
    ],
    "decode": [
        decode_clamped,
        decode_floor_of_logs,
        decode_shifts_up_to_four,
        decode_from_minus_1000,
        decode_dtype_of_anchors,
        decode_single,
        decode_memory_order,
        decode_first_64,
        decode_square_anchors,
    ],
    "decode_clamped": [
        decode,
        clamped_below,
        clamped_widths_only,
        clamped_shifts_too,
        clamped_in_pixels,
        clamped_to_two_digits,
        clamped_to_none,
    ],
    "bbox_transform_inv": [
        inverse_of_two_classes,
        inverse_four_columns_if_empty,
        inverse_dtype_of_boxes,
        inverse_memory_order,
        inverse_single,
        inverse_clamped,
        inverse_tiled,
        inverse_of_first_64,
    ],
    "clip": [
        clip_own_borders,
        clip_one_pixel_stays,
        clip_square,
        clip_memory_order,
        clip_corners_in_order,
        clip_to_1000,
        clip_whole_pixels,
    ],
    "min_size": [
        min_size_area,
        min_size_above,
        min_size_none_asked,
        min_size_rounded,
        min_size_absolute,
        min_size_squeezed,
        min_size_single,
    ],
}
