"""What is trained when: a training as a sequence of phases (section 3.2 of the paper).

Most trainings have one phase. The paper's 4-step training has four::

    rpn-1       backbone, RPN          from ImageNet
    detector-1  backbone, detector     the backbone from ImageNet again, on proposals of rpn-1
    rpn-2       RPN                    on the backbone of detector-1
    detector-2  detector               on the same backbone, on proposals of rpn-2

There is one network throughout, and one set of parameters. A phase says which parts of it learn.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from minirpn.nn.schedule import StepSchedule
from minirpn.training.config import OptimizerConfig, TrainConfig

Part = Literal["backbone", "rpn", "detector"]
Loss = Literal["rpn", "detector", "both"]


class Phase(NamedTuple):
    """Some steps in which the same parts of the network learn from the same loss."""

    name: str  # such as "rpn-1"
    trainable_parts: frozenset[Part]  # the parts whose parameters change
    loss: Loss  # which loss is minimised
    start: int  # the number of steps before it
    steps: int  # the number of steps in it
    reset_backbone: bool = False  # whether the backbone goes back to its values at the very start
    needs_proposals: bool = False  # whether it learns from proposals that the RPN makes before it
    detector_usable: bool = False  # whether RPN and detector both fit the backbone at its end

    @property
    def end(self) -> int:
        """The number of steps done at its end."""
        return self.start + self.steps

    @property
    def rpn_usable(self) -> bool:
        """Whether the RPN fits the backbone during the phase."""
        return self.loss != "detector" or "backbone" not in self.trainable_parts

    def lr(self, step: int, optimizer: OptimizerConfig) -> float:
        """Return the learning rate of a step, counted from the start of the run."""
        schedule = StepSchedule(
            optimizer.lr,
            self.steps,
            optimizer.drop_at,
            optimizer.drop_factor,
            optimizer.warmup_steps,
        )
        return schedule.lr(step - self.start)


def phases_of(config: TrainConfig) -> tuple[Phase, ...]:
    """Return the phases of a training, in order; their steps add up to ``optimizer.steps``."""
    steps, scheme = config.optimizer.steps, config.sharing.kind
    if scheme == "rpn-only":
        return (Phase("rpn", frozenset({"backbone", "rpn"}), "rpn", 0, steps),)
    if scheme != "4-step":
        everything = frozenset[Part]({"backbone", "rpn", "detector"})
        return (Phase("joint", everything, "both", 0, steps, detector_usable=True),)
    # An RPN gets twice as many steps as a detector.
    shares, parts = [0, 2, 3, 5, 6], _FOUR_STEPS
    if config.sharing.proposals is not None:  # another RPN has done the first step
        shares, parts = [0, 1, 3, 4], _FOUR_STEPS[1:]
    ends = [round(steps * share / shares[-1]) for share in shares]
    return tuple(
        Phase(start=start, steps=end - start, **part)
        for part, start, end in zip(parts, ends[:-1], ends[1:], strict=True)
    )


_FOUR_STEPS: tuple[dict[str, Any], ...] = (
    {"name": "rpn-1", "trainable_parts": frozenset({"backbone", "rpn"}), "loss": "rpn"},
    {
        "name": "detector-1",
        "trainable_parts": frozenset({"backbone", "detector"}),
        "loss": "detector",
        "reset_backbone": True,
        "needs_proposals": True,
    },
    {"name": "rpn-2", "trainable_parts": frozenset({"rpn"}), "loss": "rpn"},
    {
        "name": "detector-2",
        "trainable_parts": frozenset({"detector"}),
        "loss": "detector",
        "needs_proposals": True,
        "detector_usable": True,
    },
)
PHASE_NAMES = ("rpn", "joint", *(part["name"] for part in _FOUR_STEPS))
"""Of the phases of all trainings."""
