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


def positive_by_force(box):
    x1, y1, x2, y2 = box
    return abs(x2 - x1) * abs(y2 - y1)


def of_the_ends(box):
    _, _, width, height = box
    return width * height


def half_the_edges(box):
    x1, y1, x2, y2 = box
    return max(x2 - x1, 0) + max(y2 - y1, 0)


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


def open_start(box, image_size):
    x1, y1, x2, y2 = box
    height, width = image_size
    count = 0
    for row in range(height):
        for column in range(width):
            if x1 < column < x2 and y1 < row < y2:
                count += 1
    return count


def open_start_closed_end(box, image_size):
    x1, y1, x2, y2 = box
    rows, columns = np.indices(image_size)
    return ((x1 < columns) & (columns <= x2) & (y1 < rows) & (rows <= y2)).sum()


def width_first(box, image_size):
    x1, y1, x2, y2 = box
    width, height = image_size
    return sum(
        bool(x1 <= column < x2 and y1 <= row < y2)
        for row in range(height)
        for column in range(width)
    )


def y_for_columns(box, image_size):
    x1, y1, x2, y2 = box
    height, width = image_size
    count = 0
    for row in range(height):
        for column in range(width):
            count += bool(x1 <= row < x2 and y1 <= column < y2)
    return count


def both_corners(corners):
    return corners - 1


def the_ends(corners):
    return corners + np.array([0, 0, 1, 1])


def one_added(corners):
    return corners + np.array([1, 1, 0, 0])


def unchanged(corners):
    return corners


def y_forgotten(corners):
    return corners - np.array([1, 0, 0, 0])


def both_directions(corners):
    return corners + np.array([-1, -1, 1, 1])


def columns_first(image, box):
    x1, y1, x2, y2 = box.astype(int)
    return image[x1:x2, y1:y2]


def still_one_more(image, box):
    x1, y1, x2, y2 = box.astype(int)
    return image[y1 : y2 + 1, x1 : x2 + 1]


def one_less(image, box):
    x1, y1, x2, y2 = box.astype(int)
    return image[y1 : y2 - 1, x1 : x2 - 1]


def whole_rows(image, box):
    _, y1, _, y2 = box.astype(int)
    return image[y1:y2]


def second_pixel_first(image, box):
    x1, y1, x2, y2 = box.astype(int)
    return image[y1 + 1 : y2, x1 + 1 : x2]


def kept_order(box, width):
    x1, y1, x2, y2 = box
    return np.array([width - x1, y1, width - x2, y2])


def minus_one(box, width):
    x1, y1, x2, y2 = box
    return np.array([width - x2 - 1, y1, width - x1 - 1, y2])


def upside_down(box, width):
    x1, y1, x2, y2 = box
    return np.array([x1, width - y2, x2, width - y1])


def both_mirrored(box, width):
    return width - box[[2, 3, 0, 1]]


def out_of_the_image(box, width):
    x1, y1, x2, y2 = box
    return np.array([-x2, y1, -x1, y2])


def only_width_cut(box):
    x1, y1, x2, y2 = box
    return max(x2 - x1, 0) * (y2 - y1)


def only_height_cut(box):
    x1, y1, x2, y2 = box
    return (x2 - x1) * max(y2 - y1, 0)


def around(box):
    x1, y1, x2, y2 = box
    return 2 * (x2 - x1 + y2 - y1)


def whole(box):
    x1, y1, x2, y2 = box.astype(int)
    return max(x2 - x1, 0) * max(y2 - y1, 0)


def whole_at_last(box):
    x1, y1, x2, y2 = box
    return int(max(x2 - x1, 0) * max(y2 - y1, 0))


WRONG = {
    "my_area": [
        (inclusive, "Did you add 1 to the sides"),
        (no_cut, "below 0 counts as 0"),
        (cut_too_late, "before you multiply"),
        (positive_by_force, "an absolute value makes it positive"),
        (of_the_ends, "not its width and height"),
        (half_the_edges, "this is their sum"),
        (lambda box: box, "for box = [1, 0, 3, 5]: yours has the shape (4,), expected ()"),
        (only_width_cut, "below 0 counts as 0"),
        (only_height_cut, "below 0 counts as 0"),
        (around, "not how far it is around the box"),
        (whole, "for box = [0, 0, 2.5, 3]"),
        (whole_at_last, "do not round it"),
    ],
    "my_count": [
        (closed_end, "< there, not <="),
        (by_formula, "Only pixels of the image count"),
        (open_start, "<= there, not <"),
        (open_start_closed_end, "Both ends are counted differently"),
        (width_first, "image_size is (height, width): did you swap them?"),
        (y_for_columns, "x belongs to columns"),
    ],
    "my_half_open": [
        (both_corners, "xmax and ymax stay"),
        (the_ends, "VOC counts from 1"),
        (one_added, "Subtract 1, not add it"),
        (unchanged, "Nothing has changed"),
        (y_forgotten, "y counts from 1, too"),
        (both_directions, "Only xmin and ymin change"),
    ],
    "my_crop": [
        (columns_first, "Rows come first in an array"),
        (still_one_more, "Still one row and one column too many"),
        (one_less, "one row and one column too few"),
        (whole_rows, "Cut off columns, too"),
        (second_pixel_first, "The slice begins with y1 and x1"),
    ],
    "my_flip": [
        (kept_order, "the new x1 is width - x2"),
        (minus_one, "No - 1"),
        (upside_down, "upside down"),
        (both_mirrored, "y stays as it is"),
        (out_of_the_image, "Take width - x"),
    ],
}
