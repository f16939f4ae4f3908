"""The learning rate by step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepSchedule:
    r"""One learning rate, then a fraction of it for the rest.

    .. math:: \text{lr}(k) = \text{lr}_0 \text{ if } k < d \, n, \text{ else } f \, \text{lr}_0

    k is the step, n the number of steps, d is `drop_at`, f `drop_factor`; before, there may be a
    warm-up. The paper's section 3.1.3: 0.001 for the first 60k mini-batches, 0.0001 for the next
    20k.

    Parameters
    ----------
    base_lr
        The first learning rate.
    steps
        Number of steps of the training.
    drop_at
        The fraction of `steps` before the drop, in [0, 1].
    drop_factor
        The learning rate is multiplied by it at the drop.
    warmup_steps
        In so many steps at first the learning rate rises to its full value, by the same amount in
        each. The paper has none. Goyal et al. 2017, section 2.2, begin at the rate of a single
        process, here it begins near 0.

    Examples
    --------
    >>> schedule = StepSchedule(base_lr=0.001, steps=80_000)
    >>> schedule.lr(59_999), schedule.lr(60_000)
    (0.001, 0.0001)
    """

    base_lr: float
    steps: int
    drop_at: float = 0.75
    drop_factor: float = 0.1
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if not self.base_lr > 0:
            raise ValueError(f"base_lr: expected a positive number, got {self.base_lr}")
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")
        if not 0 <= self.drop_at <= 1:
            raise ValueError(f"drop_at: expected a number in [0, 1], got {self.drop_at}")
        if not self.drop_factor > 0:
            raise ValueError(f"drop_factor: expected a positive number, got {self.drop_factor}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps: expected at least 0, got {self.warmup_steps}")

    def lr(self, step: int) -> float:
        """Return the learning rate of `step`, counted from 0."""
        dropped = step >= round(self.drop_at * self.steps)
        lr = self.base_lr * self.drop_factor if dropped else self.base_lr
        return lr * min(1, (step + 1) / self.warmup_steps) if self.warmup_steps else lr
