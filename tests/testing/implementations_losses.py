"""Right and wrong losses and steps of gradient descent; see `implementations`."""

import math

import numpy as np

from minirpn import nn, rpn


def loops_smooth_l1(x, sigma):
    turn = 1 / sigma**2
    values = [0.5 * (sigma * v) ** 2 if abs(v) < turn else abs(v) - turn / 2 for v in x]
    return np.array(values, dtype=float)


def torch_smooth_l1(x, sigma):
    import torch

    beta = 1 / sigma**2
    return torch.nn.functional.smooth_l1_loss(
        torch.from_numpy(x), torch.zeros(len(x), dtype=torch.float64), reduction="none", beta=beta
    )


def clipped_slope(x, sigma):
    return np.clip(sigma**2 * x, -1, 1)


def library_smooth_l1(x, sigma):
    return nn.smooth_l1_forward(x, sigma=sigma)[0]


def library_slope(x, sigma):
    return nn.smooth_l1_backward(np.ones_like(x), nn.smooth_l1_forward(x, sigma=sigma)[1])


def library_rpn_loss(objectness, deltas, labels, targets, locations):
    return rpn.rpn_loss_forward(objectness, deltas, labels, targets, locations=locations)[0].total


def library_rpn_loss_slopes(objectness, deltas, labels, targets, locations):
    _, cache = rpn.rpn_loss_forward(objectness, deltas, labels, targets, locations=locations)
    return rpn.rpn_loss_backward(1.0, cache)


def loops_rpn_loss(objectness, deltas, labels, targets, locations):
    total = 0.0
    for scores, said, label, right in zip(objectness, deltas, labels, targets, strict=True):
        if label != -1:
            total += (np.logaddexp(*scores) - scores[label]) / 256
        if label == 1:
            total += 10 / locations * loops_smooth_l1(said - right, 1).sum()
    return total


def torch_rpn_loss(objectness, deltas, labels, targets, locations):
    import torch

    scores, labels = torch.from_numpy(objectness), torch.from_numpy(labels)
    log_loss = torch.nn.functional.cross_entropy(scores, labels, ignore_index=-1, reduction="sum")
    said, right = (torch.from_numpy(x)[labels == 1] for x in (deltas, targets))
    box = torch.nn.functional.smooth_l1_loss(said, right, reduction="sum")
    return log_loss / 256 + 10 / locations * box


def loops_softmax(logits, targets):
    losses = []
    for row, target in zip(logits, targets, strict=True):
        largest = max(row)
        log_sum = largest + math.log(sum(math.exp(logit - largest) for logit in row))
        losses.append(log_sum - row[target])
    return sum(losses) / len(losses)


def one_hot_softmax_slope(logits, targets):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    return (p - np.eye(logits.shape[1])[targets]) / len(logits)


def plain_softmax(logits, targets):
    """It takes the logarithm of p, and returns a list with one number."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    return [-np.log(p[np.arange(len(p)), targets]).mean()]


def logaddexp_softmax(logits, targets):
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return -np.mean(np.take_along_axis(log_p, targets[:, None], axis=1), keepdims=True)


def torch_softmax(logits, targets):
    import torch

    logits = torch.tensor(logits.copy(), requires_grad=True)
    return torch.nn.functional.cross_entropy(logits, torch.tensor(targets.copy()))


def torch_softmax_slope(logits, targets):
    import torch

    logits = torch.tensor(logits.copy(), requires_grad=True)
    torch.nn.functional.cross_entropy(logits, torch.tensor(targets.copy())).backward()
    return logits.grad


def _shares(logits):
    return np.full(len(logits), 1 / len(logits), logits.dtype)


def library_softmax(logits, targets):
    return nn.softmax_cross_entropy_forward(logits, targets, _shares(logits))[0]


def library_softmax_slope(logits, targets):
    _, cache = nn.softmax_cross_entropy_forward(logits, targets, _shares(logits))
    return nn.softmax_cross_entropy_backward(1.0, cache)


def single_softmax(logits, targets):
    return np.float32(loops_softmax(logits, targets))


def loops_sigmoid(logits, targets):
    total = 0.0
    for z, t in zip(logits, targets, strict=True):
        total += max(z, 0) - z * t + math.log1p(math.exp(-abs(z)))
    return total / len(logits)


def logaddexp_sigmoid(logits, targets):
    return np.mean(np.where(targets == 1, np.logaddexp(0, -logits), np.logaddexp(0, logits)))


def sigmoid_slope(logits, targets):
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-logits)) - targets) / len(logits)


def loops_sigmoid_slope(logits, targets):
    grads = []
    for z, t in zip(logits, targets, strict=True):
        decay = math.exp(-abs(z))
        grads.append(((1 if z >= 0 else decay) / (1 + decay) - t) / len(logits))
    return grads


def torch_sigmoid(logits, targets):
    import torch

    logits, targets = torch.tensor(logits.copy()), torch.tensor(targets.copy())
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)


def library_sigmoid(logits, targets):
    return nn.sigmoid_cross_entropy_forward(logits, targets, _shares(logits))[0]


def library_sigmoid_slope(logits, targets):
    _, cache = nn.sigmoid_cross_entropy_forward(logits, targets, _shares(logits))
    return nn.sigmoid_cross_entropy_backward(1.0, cache)


def loops_sgd(value, velocity, grad, lr, momentum, weight_decay):
    value, velocity = value.copy(), velocity.copy()
    for n in range(len(value)):
        velocity[n] = momentum * velocity[n] + lr * (grad[n] + weight_decay * value[n])
        value[n] -= velocity[n]
    return value, velocity


def _by_library(rule):
    def step(value, velocity, grad, lr, momentum, weight_decay):
        parameter = nn.Parameter("w", value)
        sgd = nn.SGD([parameter], momentum=momentum, weight_decay=weight_decay, rule=rule)
        sgd.load_state({"w": velocity}, steps=0)
        sgd.step({"w": grad}, lr=lr)
        return parameter.value, sgd.velocity["w"]

    return step


library_caffe, library_torch = _by_library("caffe"), _by_library("torch")


def numbers_sgd(value, velocity, grad, lr, momentum, weight_decay):
    """It goes number by number and returns lists."""
    if np.ndim(value) == 0:
        velocity = momentum * velocity + lr * (grad + weight_decay * value)
        return value - velocity, velocity
    rows = [
        numbers_sgd(*row, lr, momentum, weight_decay)
        for row in zip(value, velocity, grad, strict=True)
    ]
    return [new for new, _ in rows], [new for _, new in rows]


def loops_torch_sgd(value, velocity, grad, lr, momentum, weight_decay):
    _, velocity = loops_sgd(value, velocity, grad, 1.0, momentum, weight_decay)
    return value - lr * velocity, velocity


def _outside(step):
    """Return a wrong step of Caffe's rule as one of PyTorch's, whose velocity is v / lr."""

    def outside(value, velocity, grad, lr, momentum, weight_decay):
        value, velocity = step(value, lr * velocity, grad, lr, momentum, weight_decay)
        return value, velocity / lr

    outside.__name__ = f"torch_{step.__name__}"
    return outside


# Wrong in ways of their own.


def l2(x, sigma):
    return 0.5 * (sigma * x) ** 2


def l1(x, sigma):
    return np.abs(x)


def smooth_l1_in_place(x, sigma):
    x[:] = loops_smooth_l1(x, sigma)
    return x


def slope_absolute(x, sigma):
    return np.abs(clipped_slope(x, sigma))


def slope_sign(x, sigma):
    return np.sign(x)


def slope_clipped_late(x, sigma):
    return np.clip(x, -1, 1)


def slope_sigma_outside(x, sigma):
    return sigma**2 * clipped_slope(x, sigma)


def rpn_loss_unstable(objectness, deltas, labels, targets, locations):
    exponentials = np.exp(objectness)
    p = exponentials[:, 1] / exponentials.sum(axis=1)
    sampled = np.where(labels == 1, -np.log(p), np.where(labels == 0, -np.log(1 - p), 0)).sum()
    box = sum(loops_smooth_l1(d, 1).sum() for d in (deltas - targets)[labels == 1])
    return sampled / 256 + 10 / locations * box


def rpn_loss_released(objectness, deltas, labels, targets, locations):
    config = rpn.LossConfig(form="released")
    loss, _ = rpn.rpn_loss_forward(
        objectness, deltas, labels, targets, locations=locations, config=config
    )
    return loss.total


def rpn_loss_two_terms(objectness, deltas, labels, targets, locations):
    loss, _ = rpn.rpn_loss_forward(objectness, deltas, labels, targets, locations=locations)
    return np.stack([loss.objectness, loss.box])


def rpn_loss_no_box(objectness, deltas, labels, targets, locations):
    return loops_rpn_loss(objectness, deltas, labels, deltas, locations)


def rpn_loss_slopes_transposed(*inputs):
    return library_rpn_loss_slopes(*inputs)[::-1]


def rpn_loss_slopes_everywhere(objectness, deltas, labels, targets, locations):
    return library_rpn_loss_slopes(objectness, deltas, np.abs(labels), targets, locations)


def rpn_loss_slopes_of_targets(objectness, deltas, labels, targets, locations):
    return library_rpn_loss_slopes(objectness, targets, labels, deltas, locations)


def rpn_loss_slopes_probability(objectness, deltas, labels, targets, locations):
    dobjectness, ddeltas = library_rpn_loss_slopes(objectness, deltas, labels, targets, locations)
    return dobjectness + 1 / 256, ddeltas


def rpn_loss_slopes_clipped(*inputs):
    dobjectness, ddeltas = library_rpn_loss_slopes(*inputs)
    return dobjectness, np.clip(ddeltas, -0.01, 0.01)


def smooth_l1_capped(x, sigma):
    return np.minimum(loops_smooth_l1(x, sigma), 10)


def smooth_l1_in_blocks(x, sigma):
    return np.concatenate([loops_smooth_l1(x[:64], sigma), 0 * x[64:]])


def smooth_l1_single_by_halves(x, sigma):
    """It is right in float64 alone."""
    return loops_smooth_l1(x if x.dtype == np.float64 else np.round(x), sigma)


def smooth_l1_by_memory(x, sigma):
    """It reads what lies in memory, whatever the strides are."""
    base = x if x.base is None else x.base
    return loops_smooth_l1(base.view(x.dtype).ravel()[: len(x)], sigma)


def rpn_loss_capped(objectness, deltas, labels, targets, locations):
    deltas = np.clip(deltas, targets - 10, targets + 10)
    return loops_rpn_loss(objectness, deltas, labels, targets, locations)


def rpn_loss_limited(objectness, deltas, labels, targets, locations):
    return loops_rpn_loss(np.clip(objectness, -50, 50), deltas, labels, targets, locations)


def rpn_loss_of_some(*inputs):
    return loops_rpn_loss(*(part[:64] for part in inputs[:-1]), inputs[-1])


def softmax_hinge(logits, targets):
    right = np.take_along_axis(logits, targets[:, None], axis=1)
    return (np.maximum(logits - right + 1, 0).sum(axis=1) - 1).mean()


def softmax_limited(logits, targets):
    return loops_softmax(np.clip(logits, -50, 50), targets)


def softmax_rounded(logits, targets):
    return loops_softmax(np.round(logits), targets)


def softmax_of_some(logits, targets):
    return loops_softmax(logits[:64], targets[:64])


def softmax_of_some_classes(logits, targets):
    return loops_softmax(logits[:, :64], targets % 64)


def softmax_next_class(logits, targets):
    return loops_softmax(logits, (targets + 1) % logits.shape[1])


def softmax_and_cache(logits, targets):
    return loops_softmax(logits, targets), logits


def softmax_slope_of_rows(logits, targets):
    slope = one_hot_softmax_slope(logits, targets)
    return slope - slope.mean(axis=0)


def softmax_slope_limited(logits, targets):
    return one_hot_softmax_slope(np.clip(logits, -2, 2), targets)


def sigmoid_limited(logits, targets):
    return loops_sigmoid(np.clip(logits, -50, 50), targets)


def sigmoid_of_size(logits, targets):
    return loops_sigmoid(np.abs(logits), targets)


def sigmoid_of_some(logits, targets):
    return loops_sigmoid(logits[:64], targets[:64])


def sigmoid_balanced(logits, targets):
    return loops_sigmoid(logits, targets) + (targets * np.logaddexp(0, -logits)).mean()


def sigmoid_squares(logits, targets):
    return ((1 / (1 + np.exp(-logits)) - targets) ** 2).mean()


def sigmoid_slope_rounded(logits, targets):
    return ((logits > 0) - targets) / len(logits)


def sgd_in_place(value, velocity, grad, lr, momentum, weight_decay):
    velocity *= momentum
    velocity += lr * (grad + weight_decay * value)
    return value - velocity, velocity


def sgd_swapped(*asked):
    value, velocity = loops_sgd(*asked)
    return velocity, value


def sgd_by_sign(value, velocity, grad, lr, momentum, weight_decay):
    return loops_sgd(value, velocity, np.sign(grad), lr, momentum, weight_decay)


def sgd_shrinks_by_sign(value, velocity, grad, lr, momentum, weight_decay):
    grad = grad + weight_decay * np.sign(value)
    return loops_sgd(value, velocity, grad, lr, momentum, 0.0)


def sgd_clipped(value, velocity, grad, lr, momentum, weight_decay):
    return loops_sgd(value, velocity, np.clip(grad, -1, 1), lr, momentum, weight_decay)


def sgd_in_blocks(value, velocity, grad, lr, momentum, weight_decay):
    new, after = loops_sgd(value, velocity, grad, lr, momentum, weight_decay)
    return np.concatenate([new[:64], value[64:]]), after


def sgd_flat(*asked):
    return [part.reshape(-1) for part in loops_sgd(*asked)]


_velocities = {}


def sgd_one_memory(*asked):
    """It keeps its velocity between calls, and returns it."""
    value, velocity = loops_sgd(*asked)
    kept = _velocities.setdefault(velocity.shape, np.zeros(velocity.shape))
    kept[...] = velocity
    return value, kept


STEPS = (
    sgd_swapped,
    sgd_by_sign,
    sgd_shrinks_by_sign,
    sgd_clipped,
    sgd_in_blocks,
    sgd_flat,
)

RIGHT = {
    "smooth_l1": [
        loops_smooth_l1,
        (torch_smooth_l1, clipped_slope),
        (library_smooth_l1, library_slope),
    ],
    "rpn_loss": [loops_rpn_loss, torch_rpn_loss, (library_rpn_loss, library_rpn_loss_slopes)],
    "softmax_cross_entropy": [
        loops_softmax,
        plain_softmax,
        logaddexp_softmax,
        single_softmax,
        (torch_softmax, torch_softmax_slope),
        (library_softmax, library_softmax_slope),
        (loops_softmax, one_hot_softmax_slope),
    ],
    "sigmoid_cross_entropy": [
        logaddexp_sigmoid,
        torch_sigmoid,
        (library_sigmoid, library_sigmoid_slope),
        (loops_sigmoid, loops_sigmoid_slope),
        (loops_sigmoid, sigmoid_slope),
    ],
    "sgd_step": [loops_sgd, numbers_sgd, library_caffe],
    "torch_sgd_step": [loops_torch_sgd, library_torch],
}
WRONG = {
    "smooth_l1": [
        l2,
        l1,
        smooth_l1_in_place,
        smooth_l1_capped,
        smooth_l1_in_blocks,
        smooth_l1_single_by_halves,
        smooth_l1_by_memory,
        (loops_smooth_l1, slope_absolute),
        (loops_smooth_l1, slope_sign),
        (loops_smooth_l1, slope_clipped_late),
        (loops_smooth_l1, slope_sigma_outside),
    ],
    "rpn_loss": [
        rpn_loss_unstable,
        rpn_loss_released,
        rpn_loss_two_terms,
        rpn_loss_no_box,
        rpn_loss_capped,
        rpn_loss_limited,
        rpn_loss_of_some,
        (library_rpn_loss, rpn_loss_slopes_transposed),
        (library_rpn_loss, rpn_loss_slopes_everywhere),
        (library_rpn_loss, rpn_loss_slopes_of_targets),
        (library_rpn_loss, rpn_loss_slopes_probability),
        (library_rpn_loss, rpn_loss_slopes_clipped),
    ],
    "softmax_cross_entropy": [
        softmax_hinge,
        softmax_limited,
        softmax_rounded,
        softmax_of_some,
        softmax_of_some_classes,
        softmax_next_class,
        softmax_and_cache,
        (loops_softmax, softmax_slope_of_rows),
        (loops_softmax, softmax_slope_limited),
    ],
    "sigmoid_cross_entropy": [
        sigmoid_limited,
        sigmoid_of_size,
        sigmoid_of_some,
        sigmoid_balanced,
        sigmoid_squares,
        (loops_sigmoid, sigmoid_slope_rounded),
    ],
    "sgd_step": [sgd_in_place, sgd_one_memory, *STEPS],
    "torch_sgd_step": [_outside(step) for step in STEPS],
}
