"""Wrong answers to the exercises of chapter 09, as learners wrote them, and what must be said."""

import numpy as np


def swapped(dy, cache):
    a, b = cache
    return a * dy, b * dy


def without_dy(dy, cache):
    a, b = cache
    return b, a


def as_a_sum(dy, cache):
    return dy, dy


def product_rule(dy, cache):
    a, b = cache
    return np.multiply(dy, a + b)


def whole_product(dy, cache):
    a, b = cache
    return a * b * dy, a * b * dy


def loop(tape, grads, places, keep=lambda grads, source, part: None):
    for place in places:
        if tape[place].backward and grads[place] is not None:
            parts = tape[place].backward(grads[place], tape[place].cache)
            if not isinstance(parts, tuple):
                parts = [parts]
            for k, part in enumerate(parts):
                keep(grads, tape[place].inputs[k], part)
    return grads


def overwrite(grads, source, part):
    grads[source] = part


def add(grads, source, part):
    grads[source] = part + (0 if grads[source] is None else grads[source])


def add_in_place(grads, source, part):
    if grads[source] is None:
        grads[source] = part
    else:
        grads[source] += part


def begun(tape, at, value=1.0):
    return [value if place == at else None for place in range(len(tape))]


def forgets_to_add(tape, last):
    return loop(tape, begun(tape, last.place), range(last.place, -1, -1), overwrite)


def forwards(tape, last):
    return loop(tape, begun(tape, last.place), range(len(tape)), add)


def from_the_end(tape, last):
    return loop(tape, begun(tape, len(tape) - 1), reversed(range(len(tape))), add)


def begins_with_its_value(tape, last):
    grads = begun(tape, last.place, last.array)
    return loop(tape, grads, range(last.place, -1, -1), add)


def begins_with_nothing(tape, last):
    return loop(tape, [0.0] * len(tape), range(last.place, -1, -1), add)


def leaves_out_the_last(tape, last):
    return loop(tape, begun(tape, last.place), reversed(range(last.place)), add)


def in_place(tape, last):
    return loop(tape, begun(tape, last.place), range(last.place, -1, -1), add_in_place)


def only_of_the_first(tape, last):
    return loop(tape, begun(tape, last.place), range(last.place, -1, -1), add)[0]


def heads():
    """Return wrong heads, which compute and return values without a tape."""
    from minirpn import nn, rpn

    def value_of(like, array):
        return type(like)(array, 0)

    def wrong(padding=1, relu=True, values=(2, 4), order=1, rows=True):
        def head(tape, features, weights):
            def conv(x, name, padding=0):
                pair = weights[f"rpn.{name}.weight"].array, weights[f"rpn.{name}.bias"].array
                return nn.conv2d_forward(x, *pair, padding=padding)[0]

            hidden = conv(features.array, "conv", padding)
            hidden = hidden * (hidden > 0) if relu else hidden
            maps = conv(hidden, "objectness"), conv(hidden, "deltas")
            found = [
                value_of(features, rpn.anchor_rows(y, count)[0] if rows else y)
                for y, count in zip(maps, values, strict=True)
            ]
            return tuple(found[::order])

        return head

    def arrays(tape, features, weights):
        return tuple(one.array for one in wrong()(tape, features, weights))

    return [
        (wrong(padding=0), "needs a padding of 1"),
        (wrong(relu=False), "Where is the ReLU?"),
        (wrong(order=-1), "Objectness comes first"),
        (wrong(values=(4, 2)), "Objectness comes in rows of 2"),
        (wrong(rows=False), "put both through `rows`"),
        (arrays, "no pair of values of the tape"),
    ]


WRONG = {
    "my_multiply_backward": [
        (swapped, "are the two swapped?"),
        (without_dy, "multiply by dy"),
        (as_a_sum, "through a product it is multiplied"),
        (product_rule, "one gradient for each factor"),
        (whole_product, "the other factor alone"),
    ],
    "my_gradients": [
        (forgets_to_add, "add them"),
        (forwards, "backwards, not forwards"),
        (from_the_end, "need not be the end of the tape"),
        (begins_with_its_value, "not its value"),
        (begins_with_nothing, "not with 0"),
        (leaves_out_the_last, "one place after"),
        (in_place, "+= changes the array of another value"),
        (only_of_the_first, "no list with one gradient"),
    ],
    "my_head": heads(),
}
