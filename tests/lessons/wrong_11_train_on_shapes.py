"""Wrong answers to the exercises of chapter 11, as learners wrote them, and what must be said."""


def no_decay(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + lr * grad
    return value - velocity, velocity


def uphill(value, velocity, grad, lr, momentum, weight_decay):
    slope = grad + weight_decay * value
    velocity = momentum * velocity + lr * slope
    return value + velocity, velocity


def as_pytorch(value, velocity, grad, lr, momentum, weight_decay):
    velocity = velocity * momentum + grad + value * weight_decay
    return value - velocity * lr, velocity


def old_velocity(value, velocity, grad, lr, momentum, weight_decay):
    new = momentum * velocity + lr * (grad + weight_decay * value)
    return value - velocity, new


def decay_is_not_scaled(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + lr * grad + weight_decay * value
    return value - velocity, velocity


def rate_twice(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + lr * (grad + weight_decay * value)
    return value - lr * velocity, velocity


def forgets(value, velocity, grad, lr, momentum, weight_decay):
    step = lr * (grad + weight_decay * value)
    return value - step, step


def as_an_average(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + (1 - momentum) * lr * (grad + weight_decay * value)
    return value - velocity, velocity


def only_the_value(value, velocity, grad, lr, momentum, weight_decay):
    return value - momentum * velocity - lr * (grad + weight_decay * value)


def in_place(value, velocity, grad, lr, momentum, weight_decay):
    velocity *= momentum
    velocity += lr * (grad + weight_decay * value)
    return value - velocity, velocity


def as_caffe(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + lr * (grad + weight_decay * value)
    return value - velocity, velocity


def no_rate(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + grad + weight_decay * value
    return value - velocity, velocity


def late(value, velocity, grad, lr, momentum, weight_decay):
    new = momentum * velocity + grad + weight_decay * value
    return value - lr * velocity, new


def decays_the_velocity(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + grad + weight_decay * velocity
    return value - lr * velocity, velocity


def grows(value, velocity, grad, lr, momentum, weight_decay):
    velocity = momentum * velocity + grad - weight_decay * value
    return value - lr * velocity, velocity


WRONG = {
    "my_caffe_step": [
        (no_decay, "Where is the weight decay?"),
        (uphill, "Downhill is against the slope"),
        (as_pytorch, "This is PyTorch's rule"),
        (old_velocity, "Use the new velocity"),
        (decay_is_not_scaled, "the learning rate is for both"),
        (rate_twice, "inside the velocity already"),
        (forgets, "Where is the momentum?"),
        (as_an_average, "Add the whole slope"),
        (only_the_value, "value"),
        (in_place, "yours changes its argument velocity"),
    ],
    "my_torch_step": [
        (as_caffe, "This is Caffe's rule"),
        (no_rate, "Where is the learning rate?"),
        (late, "Use the new velocity"),
        (decays_the_velocity, "of the value, not of the velocity"),
        (grows, "Decay makes weights smaller"),
    ],
}
