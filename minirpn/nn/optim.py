"""What an optimizer is, and the paper's: stochastic gradient descent with momentum."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from minirpn._checks import check_shape
from minirpn._typing import Array
from minirpn.accel.dispatch import accelerated
from minirpn.backend import namespace_of, numbers
from minirpn.nn.layers import Parameter

RULES = ("caffe", "torch")


def clip_gradients(grads: Mapping[str, Array], max_norm: float) -> dict[str, Array]:
    """Return the gradients, scaled by one factor if their common norm is above `max_norm`.

    Parameters
    ----------
    grads
        Gradients by parameter name.
    max_norm
        Above 0: a limit for the Euclidean norm of all gradients as one vector.

    Notes
    -----
    Caffe's ``clip_gradients``. One number is copied from a device.
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
    """Return the new value of a parameter, and change its velocity in place.

    The formula of `SGD`, with the multipliers in `rate` and `decay`.
    """
    # In place where the array belongs to the optimizer: one temporary array instead of five.
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
    """Return the new values of all parameters, and the velocities, which change in place.

    With `in_place` the new values overwrite the old ones.
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
    """Return the sum of squares of each of n arrays (n,), or of all `together` ().

    A sum is not finite if one of its numbers is not, or if it overflows.
    """
    xp = namespace_of(*arrays)
    flat = [xp.reshape(array, (-1,)) for array in arrays]
    sums = [xp.vecdot(numbers, numbers) for numbers in flat]
    return sum(sums[1:], sums[0]) if together else xp.stack(sums)


class Optimizer(ABC):
    """The parameters that a training moves, and what it keeps of them from step to step.

    Parameters
    ----------
    parameters
        The parameters of the network; frozen ones are skipped.
    weight_decay
        This factor times the parameter is added to its gradient (SGD) or to its step (AdamW).
    in_place
        Whether a step overwrites the arrays of the parameters, which a CUDA graph needs. Otherwise
        a step replaces them, and the caches of an earlier forward pass stay as they were.

    Attributes
    ----------
    velocity
        A running sum or mean of the gradients, by parameter name, in the order of the parameters.
        Checkpoints save it, and what follows.
    squares
        A running mean of the squared gradients, likewise; empty for `SGD`.
    steps
        How many steps were taken.

    Raises
    ------
    ValueError
        Two parameters have one name.
    """

    keeps_squares = False  # whether a subclass needs them

    def __init__(
        self, parameters: Iterable[Parameter], *, weight_decay: float, in_place: bool
    ) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.trainable]
        self.weight_decay = weight_decay
        self.in_place = in_place
        self.steps = 0
        self.velocity: dict[str, Array] = {}
        self.squares: dict[str, Array] = {}
        for parameter in self.parameters:
            if parameter.name in self.velocity:
                raise ValueError(f"parameters: two are called {parameter.name!r}")
            xp = namespace_of(parameter.value)
            self.velocity[parameter.name] = xp.zeros_like(parameter.value)
            if self.keeps_squares:
                self.squares[parameter.name] = xp.zeros_like(parameter.value)

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
            The gradient of a trainable parameter is missing, or has another shape. Nothing is
            changed then.
        """
        for parameter in self.parameters:
            if parameter.name not in grads:
                raise ValueError(f"grads: none for the parameter {parameter.name!r}")
            check_shape(grads[parameter.name], parameter.value.shape, f"grads[{parameter.name!r}]")
        self.steps += 1
        values = self._moved(
            [grads[parameter.name] for parameter in self.parameters],
            [lr * parameter.lr_multiplier for parameter in self.parameters],
            [self.weight_decay * parameter.decay_multiplier for parameter in self.parameters],
        )
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.value = value

    @abstractmethod
    def _moved(
        self, grads: Sequence[Array], rates: Sequence[float], decays: Sequence[float]
    ) -> tuple[Array, ...]:
        """Return the new values of the parameters, in their order, and change what is kept."""

    @abstractmethod
    def last_step(self, parameter: Parameter, *, lr: float) -> Array:
        """Return what the last `step` subtracted from a parameter, given its learning rate.

        Its norm over that of the parameter shows whether the rate is right; see
        `minirpn.training.diagnostics`.
        """

    def load_state(
        self,
        velocity: Mapping[str, Array],
        squares: Mapping[str, Array] | None = None,
        *,
        steps: int,
    ) -> None:
        """Copy in what an earlier run kept.

        Parameters
        ----------
        velocity, squares
            As the attributes of the same names.
        steps
            How many steps that run took; AdamW divides by what follows from it.

        Raises
        ------
        ValueError
            A name is missing or unknown, or a shape differs. Nothing is changed then.
        """
        squares = squares or {}
        kept = {"velocity": (self.velocity, velocity), "squares": (self.squares, squares)}
        for kind, (own, given) in kept.items():
            if set(given) != set(own):
                names = ", ".join(sorted(set(given) ^ set(own)))
                raise ValueError(f"{kind}: names that are on one side only: {names}")
            for name, array in own.items():
                check_shape(given[name], array.shape, f"{kind}[{name!r}]")
        for own, given in kept.values():
            for name, array in own.items():
                xp = namespace_of(array, given[name])
                # Into the existing array, which has the memory order of the value.
                array[...] = xp.astype(given[name], array.dtype, copy=False)
        self.steps = steps


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum and weight decay.

    With g the gradient, w the value, m the momentum, d the decay times the parameter's multiplier
    and lr the learning rate times the parameter's multiplier:

    .. math:: \text{caffe:} \quad v = m v + \text{lr} \, (g + d w) \quad w = w - v
    .. math:: \text{torch:} \quad v = m v + (g + d w) \quad w = w - \text{lr} \, v

    Parameters
    ----------
    parameters, in_place
        See `Optimizer`.
    momentum, weight_decay
        The paper's section 3.1.3: 0.9 and 0.0005.
    rule
        ``"caffe"`` (the paper's) or ``"torch"``. They are equal until the learning rate changes:
        Caffe's velocity still holds steps at the old rate, torch's holds directions without a rate.

    Attributes
    ----------
    velocity
        v by parameter name.

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
        super().__init__(parameters, weight_decay=weight_decay, in_place=in_place)
        self.momentum = momentum
        self.rule = rule

    def _moved(
        self, grads: Sequence[Array], rates: Sequence[float], decays: Sequence[float]
    ) -> tuple[Array, ...]:
        values = [parameter.value for parameter in self.parameters]
        velocities = list(self.velocity.values())
        options = self.momentum, self.rule, self.in_place
        return move_all(values, velocities, grads, rates, decays, *options)[0]

    def last_step(self, parameter: Parameter, *, lr: float) -> Array:
        """Return what the last `step` subtracted from a parameter; see `Optimizer.last_step`."""
        velocity = self.velocity[parameter.name]
        return velocity if self.rule == "caffe" else velocity * (lr * parameter.lr_multiplier)
