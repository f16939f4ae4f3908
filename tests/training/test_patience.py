"""Stopping early: when no validation improves, at the same step whatever stopped the run before."""

import json
from dataclasses import replace

import pytest

from minirpn.errors import InputError
from minirpn.training import crew
from minirpn.training import train as loop
from minirpn.training.checkpoint import load_checkpoint, save_checkpoint
from minirpn.training.config import DataConfig, SharingConfig, TrainConfig, load_config
from minirpn.training.train import train
from minirpn.training.trainer import Trainer


@pytest.fixture
def config(small_config):
    """Thirty steps, with a validation after each, and patience for two."""
    return replace(
        small_config,
        optimizer=replace(small_config.optimizer, steps=30),
        run=replace(small_config.run, validate_every=1, patience=2, checkpoint_every=4),
    )


@pytest.fixture
def measured(monkeypatch):
    """Let validations find these recalls, by step, and the last of them from then on."""
    recalls = [0.25, 0.5, 0.5, 0.75, 0.75, 0.5]
    validate = crew.validate
    record = loop.record_validation

    def at_step(run, bar):
        def scripted(*args, **options):
            result = validate(*args, **options)
            recall = replace(result.recall, recall=result.recall.recall * 0 + step_recall)
            return result._replace(recall=recall)

        step_recall = recalls[min(run.trainer.step, len(recalls)) - 1]
        monkeypatch.setattr(crew, "validate", scripted)
        record(run, bar)

    monkeypatch.setattr(loop, "record_validation", at_step)


def kinds(folder, kind):
    records = map(json.loads, folder.metrics.read_text().splitlines())
    return [record["step"] for record in records if record["kind"] == kind]


@pytest.mark.usefixtures("measured", "no_figures")
def test_it_stops_when_so_many_validations_have_not_improved(new_run, config, capsys):
    folder = new_run("early", config)
    result = train(config, folder)
    # A recall of 0.5 came twice at steps 2 and 3, which is no improvement; 0.75 at 4 and 5.
    assert (result.steps, result.interrupted) == (6, False)
    said = "step 6: stopped early: 2 validations have not raised the best recall, 0.750"
    assert said in capsys.readouterr().err
    assert said in folder.text.read_text()
    last = load_checkpoint(folder.last)
    assert (last.step, last.metrics) == (6, {"best": 0.75, "since_best": 2})
    assert load_checkpoint(folder.best).step == 5  # the later one of two equals
    assert result.recall is not None
    assert folder.report.is_file()
    assert kinds(folder, "train") == [1, 2, 3, 4, 5, 6]


@pytest.mark.usefixtures("measured", "no_finish")
def test_without_patience_it_takes_all_steps(new_run, config):
    config = replace(config, run=replace(config.run, patience=None))
    config = replace(config, optimizer=replace(config.optimizer, steps=9))
    assert train(config, new_run("all", config), progress=False).steps == 9


@pytest.mark.usefixtures("measured", "no_finish")
@pytest.mark.parametrize("steps", [3, 5])
def test_stopped_and_resumed_it_ends_at_the_same_step(
    new_run, config, monkeypatch, stop_after, steps
):
    folder = new_run("stopped", config)
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        assert train(config, folder, progress=False).steps == steps
    result = train(load_config(folder.config), folder, resume=True, progress=False)
    assert (result.steps, result.interrupted) == (6, False)
    assert load_checkpoint(folder.last).metrics == {"best": 0.75, "since_best": 2}
    # It is done: to resume it once more changes nothing.
    before = folder.last.read_bytes()
    assert train(config, folder, resume=True, progress=False).steps == 6
    assert folder.last.read_bytes() == before


@pytest.mark.usefixtures("measured", "no_finish")
@pytest.mark.parametrize("total", [30, 7])
def test_with_a_total_it_goes_on_with_patience_anew(new_run, config, total):
    folder = new_run("again", config)
    train(config, folder, progress=False)
    result = train(config, folder, resume=True, steps=total, progress=False)
    assert result.steps == min(total, 8)  # nothing improves
    assert "ended early at step 6: patience begins anew" in folder.text.read_text()
    assert load_checkpoint(folder.last).metrics["since_best"] == min(total, 8) - 6


def test_a_checkpoint_from_before_there_was_patience_still_loads(tmp_path, config):
    trainer = Trainer(config)
    old = replace(trainer.checkpoint(), metrics={"best": 0.5})
    save_checkpoint(tmp_path / "old.npz", old)
    trainer.restore(load_checkpoint(tmp_path / "old.npz"), tmp_path / "old.npz")
    assert (trainer.best, trainer.since_best) == (0.5, 0)
    wrong = replace(old, metrics={"best": 0.5, "since_best": "x"})
    with pytest.raises(InputError, match="not a whole checkpoint: since_best is 'x'"):
        trainer.restore(wrong, tmp_path / "old.npz")


def test_patience_needs_a_validation_split(tmp_path):
    message = r"^--patience: needs a validation split \(data\.val_split\)"
    values = {"run.patience": 3, "data.val_split": "none"}
    with pytest.raises(InputError, match=message):
        load_config(None, values, origins={"run.patience": "--patience"})
    with pytest.raises(ValueError, match=r"^run\.patience: needs a validation split"):
        TrainConfig(run=replace(TrainConfig().run, patience=3))
    assert TrainConfig(data=DataConfig(val_split="val"), run=replace(TrainConfig().run, patience=3))


@pytest.mark.slow
@pytest.mark.usefixtures("no_finish")
def test_of_4_step_training_only_the_last_phase_ends_early(new_run, config):
    """Nothing improves there: the detector finds nothing in so few steps."""
    config = replace(
        config,
        sharing=SharingConfig(kind="4-step", pre_nms=60, post_nms=30),
        optimizer=replace(config.optimizer, steps=24, lr=1e-9),
        run=replace(config.run, patience=1),
    )
    folder = new_run("four", config)
    result = train(config, folder, progress=False)
    # Its phases end after steps 8, 12, 20 and 24.
    assert result.steps == 22
    assert "best mAP" in folder.text.read_text()
