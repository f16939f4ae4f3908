"""The optimizer AdamW, which the paper does not have: short trainings learn more with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import namespace_of
from minirpn.nn.layers import Parameter
from minirpn.nn.optim import Optimizer


def adam_direction(
    mean: Array, square: Array, steps: int, betas: tuple[float, float], epsilon: float
) -> Array:
    """Return the direction of a step of `AdamW`: the mean over the root of the mean square."""
    beta1, beta2 = betas
    unbiased_mean = mean / (1 - beta1**steps)
    unbiased_square = square / (1 - beta2**steps)
    return unbiased_mean / (namespace_of(mean).sqrt(unbiased_square) + epsilon)


def move_by_adam(
    value: Array,
    mean: Array,
    square: Array,
    grad: Array,
    rate: float,
    decay: float,
    steps: int,
    betas: tuple[float, float],
    epsilon: float,
) -> Array:
    """Return the new value of a parameter, and change its two averages in place.

    The formula of `AdamW`, with the multipliers in `rate` and `decay`.
    """
    beta1, beta2 = betas
    mean *= beta1
    mean += grad * (1 - beta1)
    square *= beta2
    square += grad * grad * (1 - beta2)
    return value - (adam_direction(mean, square, steps, betas, epsilon) + value * decay) * rate


@accelerated("adamw")
def move_all_by_adam(
    values: Sequence[Array],
    means: Sequence[Array],
    squares: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    steps: int,
    betas: tuple[float, float],
    epsilon: float,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...], tuple[Array, ...]]:
    """Return the new values of all parameters, and their averages, which change in place.

    With `in_place` the new values overwrite the old ones.
    """
    moved = []
    for value, mean, square, grad, rate, decay in zip(
        values, means, squares, grads, rates, decays, strict=True
    ):
        new = move_by_adam(value, mean, square, grad, rate, decay, steps, betas, epsilon)
        if in_place:
            value[...] = new
        moved.append(value if in_place else new)
    return tuple(moved), tuple(means), tuple(squares)


class AdamW(Optimizer):
    r"""Adam, with the weight decay apart from the gradient. Not the paper's.

    With g the gradient, w the value, t the number of the step from 1 on, d the decay times the
    parameter's multiplier and lr the learning rate times the parameter's multiplier:

    .. math:: m = \beta_1 m + (1 - \beta_1) g \qquad s = \beta_2 s + (1 - \beta_2) g^2
    .. math:: w = w - \text{lr} \left( \frac{m / (1 - \beta_1^t)}
              {\sqrt{s / (1 - \beta_2^t)} + \epsilon} + d w \right)

    m and s are running means of the gradient and of its square. They start at 0; the division by
    1 - beta^t makes up for that. A weight moves by about lr in a step, however large its gradient
    is: the first step is lr times the sign of g.

    Parameters
    ----------
    parameters, in_place
        See `Optimizer`.
    betas
        The factors of the two means.
    weight_decay
        Multiplied by the learning rate, but not divided as the gradient is: 0.01 is usual.
    epsilon
        Keeps the quotient finite where all gradients were 0; at 0 it is not.

    Attributes
    ----------
    velocity
        m by parameter name.
    squares
        s by parameter name.

    Raises
    ------
    ValueError
        There are not two betas in [0, 1), or two parameters have one name.

    Notes
    -----
    Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1; the decay is that
    of Loshchilov and Hutter 2019, "Decoupled weight decay regularization", as PyTorch's ``AdamW``
    has it.
    """

    keeps_squares = True

    def __init__(
        self,
        parameters: Iterable[Parameter],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.01,
        epsilon: float = 1e-8,
        in_place: bool = False,
    ) -> None:
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas: expected two numbers in [0, 1), got {betas}")
        super().__init__(parameters, weight_decay=weight_decay, in_place=in_place)
        self.betas = betas
        self.epsilon = epsilon

    def _moved(
        self, grads: Sequence[Array], rates: Sequence[float], decays: Sequence[float]
    ) -> tuple[Array, ...]:
        values = [parameter.value for parameter in self.parameters]
        moved, *_ = move_all_by_adam(
            values,
            list(self.velocity.values()),
            list(self.squares.values()),
            grads,
            rates,
            decays,
            self.steps,
            self.betas,
            self.epsilon,
            self.in_place,
        )
        return moved

    def last_step(self, parameter: Parameter, *, lr: float) -> Array:
        """Return what the last `step` subtracted from a parameter; see `Optimizer.last_step`."""
        rate, decay = lr * parameter.lr_multiplier, self.weight_decay * parameter.decay_multiplier
        kept = self.velocity[parameter.name], self.squares[parameter.name]
        if self.steps == 0:
            return kept[0]  # zeros
        by_gradient = adam_direction(*kept, self.steps, self.betas, self.epsilon) * rate
        # The decay was that of the value before the step, which is not there any more.
        left = 1 - rate * decay
        before = (parameter.value + by_gradient) / left if left else parameter.value
        return by_gradient + before * (rate * decay)
