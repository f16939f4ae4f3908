"""Wrong answers to the exercises of chapter 00, as learners wrote them, and what must be said."""

import numpy as np


def inclusive(box):
    x1, y1, x2, y2 = box
    return (x2 - x1 + 1) * (y2 - y1 + 1)


def no_cut(box):
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)


def cut_too_late(box):
    x1, y1, x2, y2 = box
    return max(0, (x2 - x1) * (y2 - y1))


def closed_end(box, image_size):
    x1, y1, x2, y2 = box
    height, width = image_size
    return sum(
        bool(x1 <= column <= x2 and y1 <= row <= y2)
        for row in range(height)
        for column in range(width)
    )


def by_formula(box, image_size):
    x1, y1, x2, y2 = box
    return (x2 - x1) * (y2 - y1)


def both_corners(corners):
    return corners - 1


def the_ends(corners):
    return corners + np.array([0, 0, 1, 1])


def columns_first(image, box):
    x1, y1, x2, y2 = box.astype(int)
    return image[x1:x2, y1:y2]


def still_one_more(image, box):
    x1, y1, x2, y2 = box.astype(int)
    return image[y1 : y2 + 1, x1 : x2 + 1]


def kept_order(box, width):
    x1, y1, x2, y2 = box
    return np.array([width - x1, y1, width - x2, y2])


def minus_one(box, width):
    x1, y1, x2, y2 = box
    return np.array([width - x2 - 1, y1, width - x1 - 1, y2])


WRONG = {
    "my_area": [
        (inclusive, "Did you add 1 to the sides"),
        (no_cut, "below 0 counts as 0"),
        (cut_too_late, "before you multiply"),
        (lambda box: box, "yours has the shape (4,), expected ()"),
    ],
    "my_count": [(closed_end, "< there, not <="), (by_formula, "Only pixels of the image count")],
    "my_half_open": [(both_corners, "xmax and ymax stay"), (the_ends, "VOC counts from 1")],
    "my_crop": [
        (columns_first, "Rows come first"),
        (still_one_more, "Still one row and one column too many"),
    ],
    "my_flip": [(kept_order, "the new x1 is width - x2"), (minus_one, "No - 1")],
}
