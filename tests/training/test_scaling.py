"""The linear rule: what a training of one process becomes when several share its steps."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.errors import InputError
from minirpn.nn import StepSchedule
from minirpn.training.config import RECIPES, OptimizerConfig, SharingConfig
from minirpn.training.phases import phases_of
from minirpn.training.scaling import check_shareable, shared_by

SMALL = RECIPES["small"]


def with_optimizer(**settings):
    return replace(SMALL, optimizer=replace(SMALL.optimizer, **settings))


def test_four_ranks_take_four_images_and_a_quarter_of_the_steps():
    config, told = shared_by(SMALL, 4)
    optimizer, run = config.optimizer, config.run
    assert (optimizer.images_per_step, optimizer.steps, optimizer.lr) == (4, 2000, 0.008)
    assert optimizer.warmup_steps == 100
    assert (run.validate_every, run.checkpoint_every, run.diagnose_every) == (500, 125, 125)
    assert run.ranks == 4
    assert told == (
        "4 ranks: 4 images a step in place of 1; 8000 steps become 2000, the learning rate 0.002 "
        "becomes 0.008 after a warm-up of 100 steps (--no-linear-rule keeps both)"
    )


def test_the_rate_of_adamw_grows_with_the_root():
    config, told = shared_by(with_optimizer(method="adamw", lr=0.001), 4)
    assert config.optimizer.lr == pytest.approx(0.002)
    assert "the learning rate 0.001 becomes 0.002" in told


def test_without_the_rule_only_the_images_change():
    before = with_optimizer(linear_rule=False)
    config, told = shared_by(before, 4)
    assert config.optimizer == replace(before.optimizer, images_per_step=4)
    assert config.run == replace(before.run, ranks=4)
    assert told == "4 ranks: 4 images a step in place of 1; steps and learning rate as they are"


def test_a_warm_up_of_the_settings_is_divided_like_all_steps():
    config, _ = shared_by(with_optimizer(warmup_steps=90), 4)
    assert config.optimizer.warmup_steps == 23


@given(
    images=st.integers(1, 16),
    ranks=st.integers(1, 64),
    steps=st.integers(6, 100_000),
    lr=st.floats(1e-5, 0.1),
    kind=st.sampled_from(["rpn-only", "4-step"]),
)
def test_as_many_images_are_seen_with_the_same_rate_for_each(images, ranks, steps, lr, kind):
    before = with_optimizer(images_per_step=images, steps=steps, lr=lr)
    before = replace(before, sharing=SharingConfig(kind=kind))
    config, told = shared_by(before, ranks)
    after = config.optimizer
    check_shareable(config, ranks)
    assert shared_by(config, ranks) == (config, None)  # once is enough
    if ranks <= images:
        assert told is None
        assert after == before.optimizer
        return
    assert after.images_per_step == ranks
    assert after.lr / ranks == pytest.approx(lr / images)
    more = after.steps * ranks - steps * images
    assert more >= 0
    assert more < ranks or after.steps == 6
    assert sum(phase.steps for phase in phases_of(config)) == after.steps


def test_a_rate_that_would_be_too_large_is_told():
    told = r"64 ranks: optimizer\.lr: expected at most 10, got 64\.0; --no-linear-rule keeps lr"
    with pytest.raises(InputError, match=told):
        shared_by(with_optimizer(lr=1.0), 64)


def test_there_is_a_most_of_images_too():
    told = r"^2000 ranks: optimizer\.images_per_step: expected at most 1,?024, got 2000$"
    with pytest.raises(InputError, match=told):
        shared_by(with_optimizer(linear_rule=False), 2000)


def test_the_warm_up_fits_into_the_shortest_phase():
    before = replace(with_optimizer(steps=240_000), sharing=SharingConfig(kind="4-step"))
    config, _ = shared_by(before, 8)
    assert config.optimizer.steps == 30_000
    assert config.optimizer.warmup_steps == 250  # of phases of 10,000 and 5,000 steps


def test_a_step_needs_an_image_for_each_rank():
    check_shareable(with_optimizer(images_per_step=3), 3)
    with pytest.raises(InputError, match=r"has 3 images, so no more than 3 of the 4 processes"):
        check_shareable(with_optimizer(images_per_step=3), 4)


# --- warm-up -------------------------------------------------------------------------------------


@given(warmup=st.integers(1, 50), steps=st.integers(1, 100), at=st.floats(0, 1))
def test_the_rate_rises_evenly_and_is_then_what_it_was(warmup, steps, at):
    cold = StepSchedule(0.8, steps, at)
    warm = StepSchedule(0.8, steps, at, warmup_steps=warmup)
    for step in range(100):
        share = min(1, (step + 1) / warmup)
        assert warm.lr(step) == pytest.approx(share * cold.lr(step))


def test_a_warm_up_below_zero_is_refused():
    with pytest.raises(ValueError, match="warmup_steps: expected at least 0, got -1"):
        StepSchedule(0.1, 10, warmup_steps=-1)


def test_each_phase_warms_up():
    optimizer = OptimizerConfig(steps=60, lr=0.4, warmup_steps=4)
    config = replace(SMALL, optimizer=optimizer, sharing=SharingConfig(kind="4-step"))
    for phase in phases_of(config):
        rates = [phase.lr(phase.start + step, optimizer) for step in range(5)]
        assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
