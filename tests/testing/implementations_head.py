"""Right and wrong heads and rows; see `implementations`."""

import numpy as np

from minirpn import nn, rpn

NAMES = ("rpn.conv", "rpn.objectness", "rpn.deltas")


def loops_anchor_rows(y, values):
    N, channels, Hf, Wf = y.shape
    rows = [
        [
            y[n, a * values : (a + 1) * values, row, column]
            for row in range(Hf)
            for column in range(Wf)
            for a in range(channels // values)
        ]
        for n in range(N)
    ]
    return np.array(rows)


def moved_anchor_rows(y, values):
    return np.moveaxis(y, 1, -1).reshape(len(y), -1, values)


def rows_reversed(y, values):
    return rpn.anchor_rows(y, values)[:, ::-1]


def rows_of_first_image(y, values):
    rows = rpn.anchor_rows(y, values)
    return np.repeat(rows[:1], len(rows), axis=0)


def rows_flat(y, values):
    return rpn.anchor_rows(y, values).reshape(len(y), -1)


def rows_transposed(y, values):
    return rpn.anchor_rows(y, values).transpose(0, 2, 1)


def rows_always_four(y, values):
    return rpn.anchor_rows(y, 4)


def layers_of(weights):
    return [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in NAMES]


def plain_head(features, weights):
    conv, objectness, deltas = layers_of(weights)
    hidden, cache = nn.conv2d_forward(features, *conv, padding=1)
    hidden, relu_cache = nn.relu_forward(hidden)
    scores, scores_cache = nn.conv2d_forward(hidden, *objectness)
    moves, moves_cache = nn.conv2d_forward(hidden, *deltas)
    return (scores, moves), (cache, relu_cache, scores_cache, moves_cache)


def plain_head_backward(dobjectness, ddeltas, cache):
    of_conv, of_relu, of_scores, of_moves = cache
    by_scores = nn.conv2d_backward(dobjectness, of_scores)
    by_moves = nn.conv2d_backward(ddeltas, of_moves)
    dhidden = nn.relu_backward(by_scores.dx + by_moves.dx, of_relu)
    by_conv = nn.conv2d_backward(dhidden, of_conv)
    grads = {"features": by_conv.dx}
    for name, by in zip(NAMES, (by_conv, by_scores, by_moves), strict=True):
        grads[f"{name}.weight"], grads[f"{name}.bias"] = by.dweight, by.dbias
    return grads


def head_without_cache(features, weights):
    return plain_head(features, weights)[0]


def library_head(features, weights):
    head = rpn.RPNHead(1, 1, 1, rng=np.random.default_rng(0))
    for parameter in head.parameters():
        parameter.value = weights[parameter.name]
    (objectness, deltas), cache = head.forward(features)
    size = features.shape[2:]
    return (rpn.anchor_map(objectness, size), rpn.anchor_map(deltas, size)), (head, cache)


def library_head_backward(dobjectness, ddeltas, cache):
    head, of_head = cache
    rows = rpn.anchor_rows(dobjectness, 2), rpn.anchor_rows(ddeltas, 4)
    dfeatures, grads = head.backward(*rows, of_head)
    return grads | {"features": dfeatures}


def head_rectified_twice(features, weights):
    (objectness, deltas), cache = plain_head(features, weights)
    return (np.maximum(objectness, 0), np.maximum(deltas, 0)), cache


def head_of_deltas_only(features, weights):
    (objectness, deltas), cache = plain_head(features, weights)
    return (0 * objectness, deltas), cache


def head_with_softmax(features, weights):
    (objectness, deltas), cache = plain_head(features, weights)
    return (1 / (1 + np.exp(-objectness)), deltas), cache


def backward_without_features(dobjectness, ddeltas, cache):
    grads = plain_head_backward(dobjectness, ddeltas, cache)
    del grads["features"]
    return grads


def backward_without_bias(dobjectness, ddeltas, cache):
    grads = plain_head_backward(dobjectness, ddeltas, cache)
    return grads | {"rpn.conv.bias": 0 * grads["rpn.conv.bias"]}


def backward_doubled(dobjectness, ddeltas, cache):
    grads = plain_head_backward(dobjectness, ddeltas, cache)
    return {name: 2 * grad for name, grad in grads.items()}


RIGHT = {
    "anchor_rows": [rpn.anchor_rows, loops_anchor_rows, moved_anchor_rows],
    "rpn_head": [
        head_without_cache,
        plain_head,
        (plain_head, plain_head_backward),
        (library_head, library_head_backward),
    ],
}
WRONG = {
    "anchor_rows": [
        rows_reversed,
        rows_of_first_image,
        rows_flat,
        rows_transposed,
        rows_always_four,
    ],
    "rpn_head": [
        head_rectified_twice,
        (head_of_deltas_only, plain_head_backward),
        (head_with_softmax, plain_head_backward),
        (plain_head, backward_without_features),
        (plain_head, backward_without_bias),
        (plain_head, backward_doubled),
    ],
}
