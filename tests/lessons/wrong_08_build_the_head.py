"""Wrong answers to the exercises of chapter 08, as learners wrote them, and what must be said."""

import numpy as np

from minirpn import nn


def variance(shape):
    return 2 / np.prod(shape[1:])


def xavier(shape):
    return np.sqrt(1 / np.prod(shape[1:]))


def outputs_not_inputs(shape):
    outputs, _, *kernel = shape
    return np.sqrt(2 / (outputs * np.prod(kernel)))


def channels_alone(shape):
    return (2 / shape[1]) ** 0.5


def all_weights(shape):
    return np.sqrt(2 / np.prod(shape))


def always(shape):
    return 0.01


def layers(x, weights, name, padding=0):
    weight, bias = weights[f"rpn.{name}.weight"], weights[f"rpn.{name}.bias"]
    return nn.conv2d_forward(x, weight, bias, padding=padding)[0]


def no_relu(features, weights):
    hidden = layers(features, weights, "conv", padding=1)
    return layers(hidden, weights, "objectness"), layers(hidden, weights, "deltas")


def no_padding(features, weights):
    hidden = np.maximum(layers(features, weights, "conv"), 0)
    return layers(hidden, weights, "objectness"), layers(hidden, weights, "deltas")


def no_biases(features, weights):
    weights = {name: part * (not name.endswith("bias")) for name, part in weights.items()}
    return right(features, weights)


def deltas_first(features, weights):
    return right(features, weights)[::-1]


def relu_at_the_end(features, weights):
    return tuple(map(np.abs, right(features, weights)))


def only_positive(features, weights):
    return tuple(part * (part > 0) for part in right(features, weights))


def with_the_cache(features, weights):
    hidden = nn.relu_forward(layers(features, weights, "conv", padding=1))
    return layers(hidden, weights, "objectness"), layers(hidden, weights, "deltas")


def right(features, weights):
    hidden = np.maximum(layers(features, weights, "conv", padding=1), 0)
    return layers(hidden, weights, "objectness"), layers(hidden, weights, "deltas")


def reshaped(y, values):
    return y.reshape(y.shape[0], -1, values)


def joined_too_early(y, values):
    N, channels = y.shape[:2]
    return y.transpose(0, 2, 3, 1).reshape(N, -1, channels // values).transpose(0, 2, 1)


def anchor_by_anchor(y, values):
    N, channels, Hf, Wf = y.shape
    split = y.reshape(N, channels // values, values, Hf * Wf)
    return split.transpose(0, 1, 3, 2).reshape(N, -1, values)


def values_first(y, values):
    N, channels, Hf, Wf = y.shape
    split = y.reshape(N, values, channels // values, Hf, Wf)
    return np.moveaxis(split, 1, -1).transpose(0, 2, 3, 1, 4).reshape(N, -1, values)


def one_image(y, values):
    return np.concatenate([part.transpose(1, 2, 0).reshape(-1, values) for part in y])


def columns_first(y, values):
    return y.transpose(0, 3, 2, 1).reshape(len(y), -1, values)


def backward(join, through_relu=True):
    """Return a backward that joins the gradients of the siblings in its own way."""

    def wrong(dobjectness, ddeltas, cache):
        conv, relu, of_objectness, of_deltas = cache
        grads = {}
        by = {
            "objectness": nn.conv2d_backward(dobjectness, of_objectness),
            "deltas": nn.conv2d_backward(ddeltas, of_deltas),
        }
        dhidden = join(by["objectness"].dx, by["deltas"].dx)
        by["conv"] = nn.conv2d_backward(
            nn.relu_backward(dhidden, relu) if through_relu else dhidden, conv
        )
        for name, part in by.items():
            grads[f"rpn.{name}.weight"], grads[f"rpn.{name}.bias"] = part.dweight, part.dbias
        return grads | {"features": by["conv"].dx}

    return wrong


def without_features(dobjectness, ddeltas, cache):
    grads = backward(np.add)(dobjectness, ddeltas, cache)
    del grads["features"]
    return grads


def root_of_2_alone(shape):
    return np.sqrt(2) / np.prod(shape[1:])


WRONG = {
    "my_he_std": [
        (root_of_2_alone, "root of the whole fraction"),
        (variance, "s is its square root"),
        (xavier, "where is the 2"),
        (outputs_not_inputs, "The first number counts outputs"),
        (channels_alone, "where is the kernel"),
        (all_weights, "leave out the number of outputs"),
        (always, "expected 0.8165"),
    ],
    "my_head": [
        (no_relu, "Where is the ReLU?"),
        (no_padding, "needs a padding of 1"),
        (no_biases, "Where are the biases?"),
        (deltas_first, "Objectness comes first"),
        (only_positive, "No ReLU after the siblings"),
        (relu_at_the_end, "expected -"),
        (with_the_cache, "raises"),
    ],
    "my_anchor_rows": [
        (reshaped, "bring the channels to the end first"),
        (anchor_by_anchor, "The anchors of a cell come one after the other"),
        (values_first, "the values of an anchor are neighbours"),
        (one_image, "Keep the axis of the images"),
        (columns_first, "row by row"),
        (joined_too_early, "expected"),
    ],
    "my_head_backward": [
        (backward(lambda by_o, by_d: by_o), "where is the gradient through the deltas?"),
        (backward(lambda by_o, by_d: by_d), "where is the gradient through the objectness?"),
        (backward(lambda by_o, by_d: (by_o + by_d) / 2), "added, not averaged"),
        (backward(np.add, through_relu=False), "Where is the gradient of the ReLU?"),
        (without_features, "returns no features"),
    ],
}
