"""Wrong losses, slopes and steps, right for a few small numbers of one dtype."""

import numpy as np

# The right ones, for every dtype and layout.


def smooth_l1(x, sigma):
    size, turn = np.abs(np.asarray(x, dtype=np.float64)), 1 / sigma**2
    return np.where(size < turn, 0.5 * (sigma * size) ** 2, size - turn / 2)


def slope(x, sigma):
    return np.clip(sigma**2 * np.asarray(x, dtype=np.float64), -1, 1)


def log_softmax(logits):
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax_losses(logits, targets):
    return -log_softmax(logits)[np.arange(len(targets)), np.asarray(targets, dtype=int)]


def softmax_loss(logits, targets):
    return softmax_losses(logits, targets).mean()


def softmax_gradient(logits, targets):
    return (np.exp(log_softmax(logits)) - one_hot(logits, targets)) / len(logits)


def one_hot(logits, targets):
    return np.asarray(targets)[:, None] == np.arange(logits.shape[1])


def sigmoid(z):
    return 0.5 + 0.5 * np.tanh(np.asarray(z, dtype=np.float64) / 2)


def sigmoid_loss(logits, targets):
    z = np.asarray(logits, dtype=np.float64)
    return (np.logaddexp(0, z) - z * targets).mean()


def sigmoid_gradient(logits, targets):
    return (sigmoid(logits) - np.asarray(targets, dtype=float)) / len(logits)


def box_loss(deltas, labels, targets, locations):
    errors = np.asarray(deltas, dtype=np.float64) - targets
    return 10 / locations * smooth_l1(errors, 1)[labels == 1].sum()


def rpn_loss(objectness, deltas, labels, targets, locations):
    log_losses = softmax_losses(objectness, labels == 1)[labels != -1]
    return log_losses.sum() / 256 + box_loss(deltas, labels, targets, locations)


def rpn_slopes(objectness, deltas, labels, targets, locations):
    difference = np.exp(log_softmax(objectness)) - one_hot(objectness, labels == 1)
    slopes = slope(np.asarray(deltas, dtype=np.float64) - targets, 1)
    return difference * (labels != -1)[:, None] / 256, slopes * (
        (labels == 1)[:, None] * 10 / locations
    )


def step(value, velocity, grad, lr, momentum, weight_decay):
    value, velocity, grad = (np.asarray(x, dtype=np.float64) for x in (value, velocity, grad))
    velocity = momentum * velocity + lr * (grad + weight_decay * value)
    return value - velocity, velocity


def torch_step(value, velocity, grad, lr, momentum, weight_decay):
    value, velocity, grad = (np.asarray(x, dtype=np.float64) for x in (value, velocity, grad))
    velocity = momentum * velocity + grad + weight_decay * value
    return value - lr * velocity, velocity


RIGHT = {
    "smooth_l1": [(smooth_l1, slope)],
    "softmax_cross_entropy": [(softmax_loss, softmax_gradient)],
    "sigmoid_cross_entropy": [(sigmoid_loss, sigmoid_gradient)],
    "rpn_loss": [(rpn_loss, rpn_slopes)],
    "sgd_step": [step],
    "torch_sgd_step": [torch_step],
}


# Smooth L1.


def l1_capped(x, sigma):  # errors above 10
    return np.minimum(smooth_l1(x, sigma), 10 - 0.5 / sigma**2)


def l1_capped_at_1000(x, sigma):  # errors above 1000
    return smooth_l1(np.clip(x, -1000, 1000), sigma)


def l1_in_fours(x, sigma):  # 5 numbers: the last one
    values = smooth_l1(x, sigma)
    values[len(x) // 4 * 4 if len(x) > 4 else len(x) :] = 0
    return values


def l1_dtype_of_x(x, sigma):  # whole-number dtypes
    values = np.zeros_like(x)
    values[:] = smooth_l1(x, sigma)
    return values


def l1_single(x, sigma):  # float64, fractions that float32 does not hold
    return smooth_l1(np.asarray(x, dtype=np.float32), sigma)


def l1_in_half(x, sigma):  # errors above 2048
    return np.where(np.abs(x) > 2048, np.abs(np.float16(x)), smooth_l1(x, sigma)).astype(float)


def slope_of_large(x, sigma):  # errors above 10
    return np.where(np.abs(x) > 10, 0, slope(x, sigma))


def slope_of_8_bits(x, sigma):  # errors from 128
    return np.clip(sigma**2 * ((np.asarray(x) + 128.0) % 256 - 128), -1, 1)


def slope_of_first_64(x, sigma):  # 65 numbers
    return np.concatenate([slope(x[:64], sigma), 0.0 * x[64:]])


def slope_dtype_of_x(x, sigma):  # whole-number dtypes, sigma 0.5
    return slope(x, sigma).astype(x.dtype)


# Cross entropies.


def softmax_clipped(logits, targets):  # logits 20 apart, the wrong label
    p = np.exp(-softmax_losses(logits, targets))
    return -np.log(np.clip(p, 1e-7, 1 - 1e-7)).mean()


def softmax_with_epsilon(logits, targets):  # logits 40 apart, the wrong label
    p = np.exp(-softmax_losses(logits, targets))
    return -np.log(p + 1e-15).mean()


def softmax_unshifted(logits, targets):  # logits of 100 in float32
    exponentials = np.exp(logits)
    p = exponentials[np.arange(len(targets)), targets] / exponentials.sum(axis=1)
    return -np.log(p).mean()


def softmax_shift_of_all(logits, targets):  # one row of large logits, one of small, in float32
    shifted = logits - logits.max()
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(targets)), targets].mean()


def softmax_logits_to_50(logits, targets):  # logits above 50
    return softmax_loss(np.clip(logits, -50, 50), targets)


def softmax_two_classes(logits, targets):  # more than 2 classes
    return (
        softmax_loss(logits, targets)
        if logits.shape[1] <= 2
        else softmax_loss(logits[:, [0, -1]], np.minimum(targets, 1))
    )


def softmax_of_first_64(logits, targets):  # 65 rows
    return softmax_loss(logits[:64], targets[:64])


def softmax_memory_order(logits, targets):  # columns in memory
    return softmax_loss(logits.ravel("K").reshape(logits.shape), targets)


def softmax_gradient_sum(logits, targets):  # more than one row
    return softmax_gradient(logits, targets) * len(logits)


def softmax_gradient_clipped(logits, targets):  # logits 20 apart, the wrong label
    gradient = softmax_gradient(logits, targets)
    return np.where(np.abs(gradient) * len(logits) < 1e-3, 0, gradient)


def softmax_gradient_two(logits, targets):  # more than 2 rows: divides by 2
    return softmax_gradient(logits, targets) * len(logits) / min(len(logits), 2)


def sigmoid_naive(logits, targets):  # a logit of 40 and target 0
    p = sigmoid(logits)
    return -np.where(np.asarray(targets) == 1, np.log(p), np.log(1 - p)).mean()


def sigmoid_clipped(logits, targets):  # a logit of 20 and target 0
    p = np.clip(sigmoid(logits), 1e-7, 1 - 1e-7)
    return -np.where(np.asarray(targets) == 1, np.log(p), np.log(1 - p)).mean()


def sigmoid_logits_to_30(logits, targets):  # a logit of 40
    return sigmoid_loss(np.clip(logits, -30, 30), targets)


def sigmoid_both_terms(logits, targets):  # a logit of 40: 0 times infinity
    p = sigmoid(logits)
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()


def sigmoid_targets_as_they_are(logits, targets):  # targets of an unsigned dtype
    z = np.asarray(logits, dtype=float)
    return (np.logaddexp(0, z) + z * -targets).mean()


def sigmoid_gradient_sum(logits, targets):  # more than one logit
    return sigmoid_gradient(logits, targets) * len(logits)


def sigmoid_gradient_to_one(logits, targets):  # a logit of -10 and target 0
    return np.where(np.abs(logits) > 6, 1.0 * (logits > 0), sigmoid(logits)) / len(
        logits
    ) - np.asarray(targets) / len(logits)


# Eq. 1.


def rpn_loss_clipped(objectness, deltas, labels, targets, locations):  # logits 20 apart
    p = np.exp(-softmax_losses(objectness, labels == 1)[labels != -1])
    log_losses = -np.log(np.clip(p, 1e-7, 1 - 1e-7))
    return log_losses.sum() / 256 + box_loss(deltas, labels, targets, locations)


def rpn_loss_capped(objectness, deltas, labels, targets, locations):  # errors above 10
    errors = np.clip(np.asarray(deltas, dtype=float) - targets, -10, 10)
    return rpn_loss(objectness, errors, labels, np.zeros_like(errors), locations)


def rpn_loss_logits_to_30(objectness, deltas, labels, targets, locations):  # logits above 30
    return rpn_loss(np.clip(objectness, -30, 30), deltas, labels, targets, locations)


def rpn_loss_of_8_bits(objectness, deltas, labels, targets, locations):  # more than 127 sampled
    losses = softmax_losses(objectness, labels == 1)[labels != -1][:127]
    return losses.sum() / 256 + box_loss(deltas, labels, targets, locations)


def rpn_loss_of_first_64(objectness, deltas, labels, targets, locations):  # 65 anchors
    return rpn_loss(objectness[:64], deltas[:64], labels[:64], targets[:64], locations)


def rpn_loss_memory_order(objectness, deltas, labels, targets, locations):  # columns in memory
    rows = objectness.ravel("K").reshape(objectness.shape)
    return rpn_loss(rows, deltas, labels, targets, locations)


def rpn_loss_100_locations(objectness, deltas, labels, targets, locations):  # more locations
    return rpn_loss(objectness, deltas, labels, targets, min(locations, 100))


def rpn_loss_of_difference(objectness, deltas, labels, targets, locations):  # 100 in float32
    difference = objectness[:, 1] - objectness[:, 0]
    losses = np.log1p(np.exp(np.where(labels == 1, -difference, difference)))
    return losses[labels != -1].sum() / 256 + box_loss(deltas, labels, targets, locations)


def rpn_slopes_large_errors(objectness, deltas, labels, targets, locations):  # errors above 10
    dobjectness, ddeltas = rpn_slopes(objectness, deltas, labels, targets, locations)
    return dobjectness, np.where(np.abs(deltas - targets) > 10, 0, ddeltas)


def rpn_slopes_sure(objectness, deltas, labels, targets, locations):  # logits above 30 apart
    dobjectness, ddeltas = rpn_slopes(objectness, deltas, labels, targets, locations)
    sure = np.abs(objectness[:, :1] - objectness[:, 1:]) > 30
    return np.where(sure, 0, dobjectness), ddeltas


def rpn_slopes_of_first_64(objectness, deltas, labels, targets, locations):  # 65 anchors
    dobjectness, ddeltas = rpn_slopes(objectness, deltas, labels, targets, locations)
    ddeltas[64:] = 0
    return dobjectness, ddeltas


# Steps.


def sgd_lr_or_default(value, velocity, grad, lr, momentum, weight_decay):  # lr 0
    return step(value, velocity, grad, lr or 0.01, momentum, weight_decay)


def sgd_gradients_to_10(value, velocity, grad, lr, momentum, weight_decay):  # gradients above 10
    return step(value, velocity, np.clip(grad, -10, 10), lr, momentum, weight_decay)


def sgd_norm_to_35(value, velocity, grad, lr, momentum, weight_decay):  # a long gradient
    norm = np.linalg.norm(grad)
    grad = grad * (35 / norm) if norm > 35 else grad
    return step(value, velocity, grad, lr, momentum, weight_decay)


def sgd_single_velocity(value, velocity, grad, lr, momentum, weight_decay):  # float64
    value, velocity = step(value, np.float32(velocity), grad, lr, momentum, weight_decay)
    return value, np.float32(velocity).astype(float)


def sgd_dtype_of_value(value, velocity, grad, lr, momentum, weight_decay):  # whole-number dtypes
    after, velocity = step(value, velocity, grad, lr, momentum, weight_decay)
    return after.astype(value.dtype), velocity


def sgd_of_first_64(value, velocity, grad, lr, momentum, weight_decay):  # 65 weights
    after, velocity_after = step(value, velocity, grad, lr, momentum, weight_decay)
    after[64:] = value[64:]
    return after, velocity_after


def sgd_no_decay_of_one(value, velocity, grad, lr, momentum, weight_decay):  # a single weight
    decay = 0.0 if value.size == 1 and abs(value[0]) > 2 else weight_decay
    return step(value, velocity, grad, lr, momentum, decay)


def torch_first_step(value, velocity, grad, lr, momentum, weight_decay):  # a velocity of 0
    velocity_after = (
        torch_step(value, velocity, grad, lr, momentum, weight_decay)[1]
        if np.any(velocity)
        else np.asarray(grad, dtype=float)
    )
    return value - lr * velocity_after, velocity_after


def torch_gradients_to_10(value, velocity, grad, lr, momentum, weight_decay):  # above 10
    return torch_step(value, velocity, np.clip(grad, -10, 10), lr, momentum, weight_decay)


def torch_single(value, velocity, grad, lr, momentum, weight_decay):  # float64
    arrays = (np.asarray(x, dtype=np.float32) for x in (value, velocity, grad))
    return torch_step(*arrays, lr, momentum, weight_decay)


def torch_dtype_of_value(value, velocity, grad, lr, momentum, weight_decay):  # whole numbers
    after, velocity = torch_step(value, velocity, grad, lr, momentum, weight_decay)
    return after, velocity.astype(grad.dtype)


def torch_lr_or_default(value, velocity, grad, lr, momentum, weight_decay):  # lr 0
    return torch_step(value, velocity, grad, lr or 0.001, momentum, weight_decay)


LISTED = {
    "smooth_l1": [l1_capped],
    "softmax_cross_entropy": [softmax_clipped],
    "rpn_loss": [rpn_loss_clipped, rpn_loss_capped],
}
OWN = {
    "smooth_l1": [
        l1_capped_at_1000,
        l1_in_fours,
        l1_dtype_of_x,
        l1_single,
        l1_in_half,
        (smooth_l1, slope_of_large),
        (smooth_l1, slope_of_8_bits),
        (smooth_l1, slope_of_first_64),
        (smooth_l1, slope_dtype_of_x),
    ],
    "softmax_cross_entropy": [
        softmax_with_epsilon,
        softmax_unshifted,
        softmax_shift_of_all,
        softmax_logits_to_50,
        softmax_two_classes,
        softmax_of_first_64,
        softmax_memory_order,
        (softmax_loss, softmax_gradient_sum),
        (softmax_loss, softmax_gradient_clipped),
        (softmax_loss, softmax_gradient_two),
    ],
    "sigmoid_cross_entropy": [
        sigmoid_naive,
        sigmoid_clipped,
        sigmoid_logits_to_30,
        sigmoid_both_terms,
        sigmoid_targets_as_they_are,
        (sigmoid_loss, sigmoid_gradient_sum),
        (sigmoid_loss, sigmoid_gradient_to_one),
    ],
    "rpn_loss": [
        rpn_loss_logits_to_30,
        rpn_loss_of_8_bits,
        rpn_loss_of_first_64,
        rpn_loss_memory_order,
        rpn_loss_100_locations,
        rpn_loss_of_difference,
        (rpn_loss, rpn_slopes_large_errors),
        (rpn_loss, rpn_slopes_sure),
        (rpn_loss, rpn_slopes_of_first_64),
    ],
    "sgd_step": [
        sgd_lr_or_default,
        sgd_gradients_to_10,
        sgd_norm_to_35,
        sgd_single_velocity,
        sgd_dtype_of_value,
        sgd_of_first_64,
        sgd_no_decay_of_one,
    ],
    "torch_sgd_step": [
        torch_first_step,
        torch_gradients_to_10,
        torch_single,
        torch_dtype_of_value,
        torch_lr_or_default,
    ],
}
