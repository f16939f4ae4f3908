"""Stochastic gradient descent with momentum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import namespace_of, numbers
from minirpn.nn.layers import Parameter

RULES = ("caffe", "torch")


def clip_gradients(grads: Mapping[str, Array], max_norm: float) -> dict[str, Array]:
    """Return the gradients, all scaled alike if together they are longer than `max_norm`.

    Parameters
    ----------
    grads
        Gradients by parameter name.
    max_norm
        Above 0: the greatest Euclidean norm of all of them as one vector.

    Notes
    -----
    Caffe's ``clip_gradients``. On a device one number travels to the host.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm: expected a positive number, got {max_norm}")
    squares = [namespace_of(grad).sum(grad * grad) for grad in grads.values()]
    norm = math.sqrt(*numbers([sum(squares[1:], squares[0])])) if squares else 0.0
    if norm <= max_norm:
        return dict(grads)
    return {name: grad * (max_norm / norm) for name, grad in grads.items()}


def move(
    value: Array,
    velocity: Array,
    grad: Array,
    rate: float,
    decay: float,
    momentum: float,
    rule: str,
) -> Array:
    """Return the new value of a parameter, and change its velocity, which is of the same shape.

    The formula of `SGD`, with the multipliers in `rate` and `decay`.
    """
    # In place where the array is the optimizer's own: one temporary instead of five.
    change = value * decay
    change += grad
    velocity *= momentum
    if rule == "caffe":
        change *= rate
        velocity += change
        return value - velocity
    velocity += change
    return value - velocity * rate


@accelerated("sgd")
def move_all(
    values: Sequence[Array],
    velocities: Sequence[Array],
    grads: Sequence[Array],
    rates: Sequence[float],
    decays: Sequence[float],
    momentum: float,
    rule: str,
    in_place: bool = False,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return the new values of all parameters, and the velocities, which are changed in place.

    With `in_place` the new values are in the arrays of the old ones.
    """
    moved = []
    for value, velocity, grad, rate, decay in zip(
        values, velocities, grads, rates, decays, strict=True
    ):
        new = move(value, velocity, grad, rate, decay, momentum, rule)
        if in_place:
            value[...] = new
        moved.append(value if in_place else new)
    return tuple(moved), tuple(velocities)


@accelerated("square_sums")
def square_sums(arrays: Sequence[Array], together: bool = False) -> Array:
    """Return the sum of squares of each of some arrays (n,), or of all `together` ().

    It is not finite if a number is not, and the other way round but for an overflow.
    """
    xp = namespace_of(*arrays)
    flat = [xp.reshape(array, (-1,)) for array in arrays]
    sums = [xp.vecdot(numbers, numbers) for numbers in flat]
    return sum(sums[1:], sums[0]) if together else xp.stack(sums)


class SGD:
    """Stochastic gradient descent with momentum and weight decay.

    With g the gradient, w the value, m the momentum, d the decay times the parameter's multiplier
    and lr the learning rate times the parameter's multiplier::

        caffe   v = m v + lr (g + d w)     w = w - v
        torch   v = m v + (g + d w)        w = w - lr v

    Parameters
    ----------
    parameters
        Those of the network; frozen ones are passed over.
    momentum, weight_decay
        The paper's section 3.1.3: 0.9 and 0.0005.
    rule
        ``"caffe"`` (the paper's) or ``"torch"``. They agree until the learning rate changes: Caffe
        then goes on with steps taken at the old rate, torch with the old directions.
    in_place
        Let a parameter keep its array, for who has recorded where it is; see
        `minirpn.accel.cuda.graph`. Of itself a step replaces it: what an earlier forward pass
        refers to remains as it was.

    Attributes
    ----------
    velocity
        v by parameter name, for checkpoints.

    Raises
    ------
    ValueError
        The rule is unknown, or two parameters have one name.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        rule: str = "caffe",
        in_place: bool = False,
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {rule!r}")
        self.parameters = [parameter for parameter in parameters if parameter.trainable]
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.rule = rule
        self.in_place = in_place
        self.velocity: dict[str, Array] = {}
        for parameter in self.parameters:
            if parameter.name in self.velocity:
                raise ValueError(f"parameters: two are called {parameter.name!r}")
            xp = namespace_of(parameter.value)
            self.velocity[parameter.name] = xp.zeros_like(parameter.value)

    def step(self, grads: Mapping[str, Array], *, lr: float) -> None:
        """Move every trainable parameter against its gradient.

        Parameters
        ----------
        grads
            Gradients by parameter name.
        lr
            The learning rate of this step.

        Raises
        ------
        ValueError
            The gradient of a trainable parameter is missing, or of another shape. No parameter
            has moved then.
        """
        for parameter in self.parameters:
            if parameter.name not in grads:
                raise ValueError(f"grads: none for the parameter {parameter.name!r}")
            check_shape(grads[parameter.name], parameter.value.shape, f"grads[{parameter.name!r}]")
        values, _ = move_all(
            [parameter.value for parameter in self.parameters],
            [self.velocity[parameter.name] for parameter in self.parameters],
            [grads[parameter.name] for parameter in self.parameters],
            [lr * parameter.lr_multiplier for parameter in self.parameters],
            [self.weight_decay * parameter.decay_multiplier for parameter in self.parameters],
            self.momentum,
            self.rule,
            self.in_place,
        )
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.value = value

    def last_step(self, parameter: Parameter, *, lr: float) -> Array:
        """Return what the last `step`, at this learning rate, has taken from a parameter.

        Its length beside that of the parameter tells whether the rate suits; see
        `minirpn.training.diagnostics`.
        """
        velocity = self.velocity[parameter.name]
        return velocity if self.rule == "caffe" else velocity * (lr * parameter.lr_multiplier)

    def load_velocity(self, velocity: Mapping[str, Array]) -> None:
        """Take the velocities of an earlier run, copied.

        Raises
        ------
        ValueError
            A name is missing or unknown, or a shape differs.
        """
        if set(velocity) != set(self.velocity):
            names = ", ".join(sorted(set(velocity) ^ set(self.velocity)))
            raise ValueError(f"velocity: names that are on one side only: {names}")
        for name, own in self.velocity.items():
            check_shape(velocity[name], own.shape, f"velocity[{name!r}]")
        for name, own in self.velocity.items():
            xp = namespace_of(own, velocity[name])
            # Into the array there is, and so in its order in memory, which is the value's.
            own[...] = xp.astype(velocity[name], own.dtype, copy=False)
