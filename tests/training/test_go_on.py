"""Going on longer than planned: the schedule, and the bits of a run that was planned so."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig, load_config, with_new_total
from minirpn.training.phases import phases_of
from minirpn.training.train import train

pytestmark = pytest.mark.usefixtures("no_finish")
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}


def steps_of(folder):
    lines = map(json.loads, folder.metrics.read_text().splitlines())
    return [{k: v for k, v in r.items() if k not in TIMES} for r in lines if r["kind"] == "train"]


def assert_same_end(one, other):
    a, b = load_checkpoint(one.last), load_checkpoint(other.last)
    assert (a.step, a.rng_state) == (b.step, b.rng_state)
    for before, after in ((a.parameters, b.parameters), (a.velocity, b.velocity)):
        assert set(before) == set(after)
        for name in before:
            np.testing.assert_array_equal(before[name], after[name])
    assert steps_of(one) == steps_of(other)


@pytest.mark.parametrize(
    ("steps", "drop_at", "done", "total", "drop"),
    [
        (80, 0.75, 80, 100, 60),  # a finished run stays where it dropped
        (80, 0.75, 61, 100, 60),
        (80, 0.75, 60, 100, 75),  # no step at the lower rate is done
        (80, 0.75, 10, 100, 75),
        (80, 0.75, 30, 50, 38),  # a shorter one drops earlier
        (80, 0.75, 50, 60, 50),  # but not among the steps that are done
        (80, 0.75, 70, 72, 60),
        (80, 1.0, 80, 100, 100),  # one that never drops never does
        (80, 0.0, 80, 100, 0),
        (80, 0.75, 40, 80, 60),
    ],
)
def test_where_the_rate_drops_with_a_new_total(small_config, steps, drop_at, done, total, drop):
    optimizer = replace(small_config.optimizer, steps=steps, drop_at=drop_at)
    stored = replace(small_config, optimizer=optimizer)
    longer = with_new_total(stored, total, done=done, source="run")
    assert longer.optimizer.steps == total
    (before,), (after,) = phases_of(stored), phases_of(longer)
    rates = [after.lr(step, longer.optimizer) for step in range(total)]
    assert rates.index(min(rates)) == (drop if drop < total else 0)
    # The steps that are done are those that the new settings would have given.
    assert rates[:done] == [before.lr(step, optimizer) for step in range(done)]


@pytest.mark.parametrize("total", [-1, 3, 6])
def test_a_total_that_is_done_is_refused(small_config, total):
    with pytest.raises(InputError) as caught:
        with_new_total(small_config, total, done=6, source="runs/mine")
    assert str(caught.value) == (
        f"runs/mine: steps done: 6; --steps is the new total and must be above that, got {total}"
    )


def test_four_steps_are_divided_once(small_config):
    stored = replace(small_config, sharing=SharingConfig(kind="4-step"))
    assert with_new_total(stored, 6, done=2, source="run") == stored
    with pytest.raises(InputError, match=r"4-step training has divided 6 steps .* --weights run$"):
        with_new_total(stored, 12, done=2, source="run")


@pytest.mark.parametrize("stopped_at", [2, None])
def test_it_is_the_run_that_its_new_settings_describe(
    new_run, small_config, monkeypatch, stop_after, capsys, stopped_at
):
    """Whether it had been stopped before the rate dropped, or was finished."""
    longer, straight = new_run("longer"), new_run("straight")
    with monkeypatch.context() as patch:
        if stopped_at is not None:
            stop_after(patch, stopped_at)
        train(small_config, longer, progress=False)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        result = train(small_config, longer, resume=True, steps=10)
    done = stopped_at or 6
    assert result.steps == done + 1
    rate = "drops after step 8" if stopped_at else "dropped after step 4 and stays there"
    said = f"going on from step {done} to step 10: the learning rate {rate}"
    assert said in capsys.readouterr().err
    assert said in longer.text.read_text()
    config = load_config(longer.config)
    optimizer = replace(small_config.optimizer, steps=10, drop_at=0.75 if stopped_at else 0.4)
    assert config == replace(small_config, optimizer=optimizer)
    # Stopped once more, it goes on by itself, and to the same end.
    assert train(config, longer, resume=True, progress=False).steps == 10
    train(config, straight, progress=False)
    assert_same_end(longer, straight)
    best = load_checkpoint(longer.last).metrics["best"]
    validated = [json.loads(line) for line in longer.metrics.read_text().splitlines()]
    recalls = [list(r["recall"].values())[-1] for r in validated if r["kind"] == "validate"]
    assert best == max(recalls)


def test_what_may_change_when_resuming_is_not_written(new_run, small_config):
    folder = new_run("run")
    train(small_config, folder, progress=False)
    other = replace(small_config, run=replace(small_config.run, tensorboard=False, threads=2))
    train(other, folder, resume=True, steps=7, progress=False)
    assert load_config(folder.config).run == small_config.run
