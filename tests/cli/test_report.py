"""``minirpn report``: of a run that has ended, was stopped, or goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from minirpn.cli.main import main
from minirpn.training.trainer import Trainer


def test_the_report_of_a_finished_run_is_written_again(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = shutil.copytree(trained, tmp_path / "run")
    before = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}/report.html\n"
    after = (run / "report.html").read_text()
    assert after.count("<img") == before.count("<img") > 6
    assert "<h2>Over time</h2>" in after
    assert len(after) < 3_000_000


@pytest.mark.usefixtures("no_figures")
def test_a_run_that_goes_on_is_not_disturbed(
    trained: Path, tmp_path: Path, small_config: Path, monkeypatch: pytest.MonkeyPatch
):
    """The report is written between the second and the third step of another run."""
    run, take = tmp_path / "run", Trainer.train_step

    def reports(trainer: Trainer, *args: object) -> object:
        if trainer.step == 2:
            assert main(["report", str(run)]) == 0
            assert "2 of 3 steps in" in (run / "report.html").read_text()
        return take(trainer, *args)

    monkeypatch.setattr(Trainer, "train_step", reports)
    assert main(["train", "--config", str(small_config), "--out", str(run)]) == 0
    assert "3 steps in" in (run / "report.html").read_text()
    numbers = [folder / "recall.json" for folder in (run, trained)]
    assert numbers[0].read_text() == numbers[1].read_text()


def test_what_is_no_run_is_one_line(fails: Callable[..., str], tmp_path: Path):
    assert fails("report", tmp_path / "gone") == f"{tmp_path / 'gone'}: no such run folder"
    assert fails("report", tmp_path).startswith(f"{tmp_path}: not a run folder: ")
    said = fails("report", "shapes")
    assert said == "shapes: a report is of a run, and this model is in none"


def test_a_checkpoint_has_no_report_of_its_own(fails: Callable[..., str], trained: Path):
    for source in (f"{trained}@last", trained / "checkpoints" / "last.npz"):
        said = fails("report", source)
        reason = "a report is of a run, not of a checkpoint"
        assert said == f"{source}: {reason}: minirpn report {trained}"
