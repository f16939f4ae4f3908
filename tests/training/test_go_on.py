"""Going on longer than planned: the schedule, and the bits of a run that was planned so."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.training import crew
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import SharingConfig, load_config, with_new_total
from minirpn.training.phases import phases_of
from minirpn.training.train import train, when_it_drops

pytestmark = pytest.mark.usefixtures("no_finish")
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}


def steps_of(folder):
    lines = map(json.loads, folder.metrics.read_text().splitlines())
    return [{k: v for k, v in r.items() if k not in TIMES} for r in lines if r["kind"] == "train"]


def recalls_of(folder):
    """Return the recall with the most proposals of each validation, by step."""
    records = map(json.loads, folder.metrics.read_text().splitlines())
    return {r["step"]: list(r["recall"].values())[-1] for r in records if r["kind"] == "validate"}


def assert_same_end(one, other):
    a, b = load_checkpoint(one.last), load_checkpoint(other.last)
    assert a.step == b.step
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


@pytest.mark.parametrize("total", [-1, 3, 5])
def test_a_total_that_is_done_is_refused(small_config, total):
    with pytest.raises(InputError) as caught:
        with_new_total(small_config, total, done=5, source="runs/mine")
    assert str(caught.value) == (
        "optimizer.steps: the new total must be above the 5 steps that runs/mine has done, "
        f"got {total}"
    )


def test_the_total_of_the_run_is_no_change(small_config):
    assert with_new_total(small_config, 6, done=6, source="run") == small_config


@pytest.mark.parametrize(
    ("steps", "drop_at", "done", "said"),
    [
        (100, 0.6, 80, "dropped after step 60 and stays there"),
        (60, 50 / 60, 50, "drops after step 50"),  # no step at the lower rate is done
        (100, 0.75, 10, "drops after step 75"),
        (100, 1.0, 80, "does not drop"),
        (100, 0.0, 80, "is the lower one from the first step on"),
        (100, 0.0, 0, "is the lower one from the first step on"),
    ],
)
def test_one_line_says_when_the_rate_drops(small_config, steps, drop_at, done, said):
    optimizer = replace(small_config.optimizer, steps=steps, drop_at=drop_at)
    assert when_it_drops(optimizer, done) == said


def test_four_steps_are_divided_once(small_config):
    stored = replace(small_config, sharing=SharingConfig(kind="4-step"))
    assert with_new_total(stored, 6, done=2, source="run") == stored
    said = r"^optimizer\.steps: the 4-step training of run has divided 6 steps .* with run as model"
    with pytest.raises(InputError, match=said):
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
    assert load_checkpoint(longer.last).metrics["best"] == max(recalls_of(longer).values())


def test_it_was_also_measured_at_its_old_end(new_run, small_config, monkeypatch):
    """Seven steps are no multiple of three, between the validations."""

    def steps(count):
        optimizer = replace(small_config.optimizer, steps=count, drop_at=1.0)
        return replace(small_config, optimizer=optimizer)

    def scripted(*args, validate=crew.validate, **options):
        result = validate(*args, **options)
        recall = replace(result.recall, recall=result.recall.recall * 0 + results.pop(0))
        return result._replace(recall=recall)

    longer, straight = new_run("longer", steps(7)), new_run("straight", steps(10))
    monkeypatch.setattr(crew, "validate", scripted)
    results = [0.25, 0.25, 0.75, 0.5, 0.5]
    train(steps(7), longer, progress=False)
    train(steps(7), longer, resume=True, steps=10, progress=False)
    results = [0.25, 0.25, 0.5, 0.5]
    train(steps(10), straight, progress=False)
    assert_same_end(longer, straight)
    assert recalls_of(longer) == {3: 0.25, 6: 0.25, 7: 0.75, 9: 0.5, 10: 0.5}
    assert recalls_of(straight) == {3: 0.25, 6: 0.25, 9: 0.5, 10: 0.5}
    # It counts, for the best and for the patience.
    assert load_checkpoint(longer.last).metrics == {"best": 0.75, "since_best": 2}
    assert load_checkpoint(longer.best).step == 7
    assert load_checkpoint(straight.last).metrics == {"best": 0.5, "since_best": 1}


def test_what_may_change_when_resuming_is_not_written(new_run, small_config):
    folder = new_run("run")
    train(small_config, folder, progress=False)
    other = replace(small_config, run=replace(small_config.run, tensorboard=False, threads=2))
    train(other, folder, resume=True, steps=7, progress=False)
    assert load_config(folder.config).run == small_config.run


def files_of(folder):
    """Return the content of what a failed resume must not touch."""
    return [path.read_bytes() for path in (folder.config, folder.last, folder.text, folder.metrics)]


@pytest.fixture
def impatient(small_config):
    """Settings that learn next to nothing, and end with the second validation, at step 2."""
    run = replace(small_config.run, validate_every=1, patience=1)
    return replace(small_config, run=run, optimizer=replace(small_config.optimizer, lr=1e-9))


@pytest.mark.parametrize("broken", ["data set", "checkpoint"])
def test_a_resume_that_fails_leaves_the_run_as_it_was(new_run, impatient, broken):
    folder, config = new_run("run", impatient), impatient
    assert train(config, folder, progress=False).steps == 2
    if broken == "data set":
        config, said = replace(config, data=replace(config.data, voc="nowhere")), "no such folder"
    else:
        whole, said = load_checkpoint(folder.last), "momentum of another network"
        other = {f"other {name}": value for name, value in whole.velocity.items()}
        save_checkpoint(folder.last, replace(whole, velocity=other))
    before = files_of(folder)
    with pytest.raises(InputError, match=said):
        train(config, folder, resume=True, steps=40, progress=False)
    assert files_of(folder) == before


def test_the_total_of_a_finished_run_leaves_nothing_to_do(new_run, impatient):
    """Even if it was out of patience at its very end: patience does not begin anew."""
    config = replace(impatient, optimizer=replace(impatient.optimizer, steps=2))
    folder = new_run("run", config)
    assert train(config, folder, progress=False).steps == 2
    before = folder.config.read_bytes(), folder.last.read_bytes()
    assert train(config, folder, resume=True, steps=2, progress=False).steps == 2
    assert (folder.config.read_bytes(), folder.last.read_bytes()) == before
    assert "patience begins anew" not in folder.text.read_text()
