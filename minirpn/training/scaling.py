"""What a training of one process becomes when several processes share its steps.

A step needs at least one image for each process. With k times as many images in a step, the mean
gradient has less noise, so a k times larger step can be taken, and a k-th of the steps sees as many
images: the linear rule of Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.1. At the
start, where the network changes fast, so large a step goes too far. So the learning rate warms up
(their section 2.2).

A step of AdamW is as long as the learning rate says, whatever the length of the gradient. There the
rate grows with the root of k: Malladi et al. 2022, "On the SDEs and scaling rules for adaptive
gradient algorithms".
"""

from __future__ import annotations

import math
from dataclasses import replace

from minirpn.errors import InputError
from minirpn.training.config import LEAST_STEPS, TrainConfig
from minirpn.training.phases import phases_of

WARMUP = 0.05
"""The share of the shortest phase in which the learning rate rises, if the settings name none."""


def shared_by(config: TrainConfig, ranks: int) -> tuple[TrainConfig, str | None]:
    """Return the settings of a new training that so many processes share, and what to say of them.

    With as many images in a step as processes, or more, only ``run.ranks`` changes. Otherwise there
    will be one image for each process. With ``optimizer.linear_rule`` the steps from one validation
    to the next, and so on, are divided like all steps: as many images lie between them.

    Raises
    ------
    InputError
        Learning rate or images would be more than the settings allow.
    """
    try:
        return _shared_by(config, ranks)
    except ValueError as error:
        keep = "; --no-linear-rule keeps lr" if config.optimizer.linear_rule else ""
        raise InputError(f"{ranks} ranks: optimizer.{error}{keep}") from error


def _shared_by(config: TrainConfig, ranks: int) -> tuple[TrainConfig, str | None]:
    optimizer, run = config.optimizer, replace(config.run, ranks=ranks)
    config = replace(config, run=run)
    if ranks <= optimizer.images_per_step:
        return config, None
    factor = ranks / optimizer.images_per_step
    images = f"{ranks} ranks: {ranks} images a step in place of {optimizer.images_per_step}"
    if not optimizer.linear_rule:
        alone = replace(optimizer, images_per_step=ranks)
        return replace(config, optimizer=alone), f"{images}; steps and learning rate as they are"

    def fewer(steps: int) -> int:
        return math.ceil(steps / factor)

    lr = optimizer.lr * (factor if optimizer.method == "sgd" else math.sqrt(factor))
    # The phases of 4-step training divide them; each begins with the warm-up.
    steps = max(fewer(optimizer.steps), LEAST_STEPS.get(config.sharing.kind, 1))
    phases = phases_of(replace(config, optimizer=replace(optimizer, steps=steps)))
    shortest = min(phase.steps for phase in phases)
    warmup = fewer(optimizer.warmup_steps) or math.ceil(WARMUP * shortest)
    scaled = replace(optimizer, images_per_step=ranks, lr=lr, steps=steps, warmup_steps=warmup)
    run = replace(
        run,
        validate_every=fewer(run.validate_every),
        checkpoint_every=fewer(run.checkpoint_every),
        diagnose_every=fewer(run.diagnose_every),
    )
    told = (
        f"{images}; {optimizer.steps} steps become {steps}, the learning rate {optimizer.lr:g} "
        f"becomes {lr:g} after a warm-up of {warmup} step{'s' * (warmup > 1)} "
        "(--no-linear-rule keeps both)"
    )
    return replace(config, optimizer=scaled, run=run), told


def check_shareable(config: TrainConfig, ranks: int) -> None:
    """Raise InputError if a step has fewer images than there are processes to share them."""
    images = config.optimizer.images_per_step
    if images < ranks:
        raise InputError(
            f"optimizer.images_per_step: a step of this run has {images} image"
            f"{'s' * (images > 1)}, so no more than {images} of the {ranks} processes can share it"
        )
