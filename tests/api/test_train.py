"""`minirpn.train` and `Run`: settings by keyword, and what came out."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

import minirpn
from minirpn.backbones import BACKBONES, tiny
from minirpn.errors import InputError
from minirpn.training.config import RECIPES, load_config, save_config
from minirpn.training.keywords import settings_by_key
from tests.api.conftest import SMALL
from tests.training.threads_as_ranks import on_ranks


def test_a_run_has_its_results(run):
    assert (run.steps, run.interrupted) == (3, False)
    assert run.config.optimizer.steps == 3
    assert run.config.resize.short_side == 80
    assert run.config == load_config(run.path / "config.toml")
    assert run.config.loss == RECIPES["shapes"].loss
    assert run.precision is None
    stored = json.loads((run.path / "recall.json").read_text())
    assert run.recall.at(300) == stored["recall"][stored["counts"].index(300)][0]
    assert [record["step"] for record in run.metrics if record["kind"] == "train"] == [1, 2, 3]
    assert run.report == run.path / "report.html"
    assert run.report.is_file()
    assert run.model is run.model
    assert str(run.model.device) == "cpu"


def test_repr_of_a_run(run, detector_run):
    rows = repr(run).splitlines()
    assert rows[0] == f"Run {run.path}"
    assert rows[1].startswith("  3 steps in ")
    assert rows[2].startswith(f"  recall at IoU 0.5: {run.recall.at(50):.3f} with 50, ")
    assert rows[3] == f"  report: {run.report}"
    assert f"  mAP {detector_run.precision.mean_ap:.3f}" in repr(detector_run).splitlines()


def test_a_training_that_is_stopped_says_so(tmp_path, monkeypatch, stop_after):
    stop_after(monkeypatch, 1)
    stopped = minirpn.train(out=tmp_path / "run", **SMALL)
    assert stopped.interrupted
    assert stopped.steps == 1
    assert stopped.recall is None
    assert "1 steps in" in repr(stopped)
    assert ", interrupted" in repr(stopped)
    assert len(stopped.model.propose(np.zeros((80, 96, 3), np.uint8))) > 0


@pytest.mark.usefixtures("no_finish")
def test_settings_come_from_recipe_file_and_keywords(tmp_path, run):
    save_config(tmp_path / "some.toml", run.config)
    of_file = minirpn.train(
        out=tmp_path / "a", config=tmp_path / "some.toml", steps=1, progress=False
    )
    assert of_file.config.optimizer.steps == 1
    assert of_file.config.resize == run.config.resize
    of_run = minirpn.train(
        out=tmp_path / "b", config=run.config, optimizer={"steps": 1}, progress=False
    )
    assert of_run.config == of_file.config
    # The same settings give the same network.
    image = np.zeros((80, 96, 3), np.uint8)
    np.testing.assert_array_equal(
        of_file.model.propose(image).boxes, of_run.model.propose(image).boxes
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"setps": 3}, "setps: no such setting; did you mean steps?"),
        ({"progres": True}, "progres: no such setting; did you mean progress?"),
        ({"optimiser": {}}, "optimiser: no such setting; did you mean optimizer?"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"optimizer": {"lr": -1.0}}, "optimizer.lr: expected a finite number above 0, got -1.0"),
        ({"backbone": "vgg"}, "backbone: unknown 'vgg'; there are squeezenet, tiny, vgg16, zf"),
        ({"batch_size": 3}, "batch_size: a setting of sampling and of regions; say which: samp"),
        ({"device": "tpu"}, "device: expected auto, cpu, cuda or cuda:0"),
        ({"recipe": "smal"}, "recipe: unknown 'smal'; there are small, shapes, paper; did you"),
        ({"sharing": {"kind": "4-step"}, "steps": 3}, "steps: 4-step training needs 6"),
        ({"voc": "nowhere"}, "nowhere: data set: no such folder"),
        ({"config": "nowhere.toml"}, "nowhere.toml: cannot read"),
    ],
)
def test_a_wrong_setting_is_named_and_leaves_nothing(tmp_path, settings, reason):
    with pytest.raises(InputError) as caught:
        minirpn.train(out=tmp_path / "run", **settings)
    assert str(caught.value).startswith(reason)
    assert not (tmp_path / "run").exists()


def test_a_wrong_value_in_a_file_is_named_with_the_file(tmp_path):
    path = tmp_path / "some.toml"
    path.write_text("[optimizer]\nlr = 0\n")
    with pytest.raises(InputError) as caught:
        minirpn.train(out=tmp_path / "run", config=path, steps=3)
    assert str(caught.value).startswith(f"{path}: optimizer.lr: ")
    with pytest.raises(InputError) as caught:
        minirpn.train(out=tmp_path / "run", config=path, steps=-3)
    assert str(caught.value).startswith("steps: ")


def test_a_recipe_and_all_settings_are_too_much(run):
    with pytest.raises(InputError, match="recipe: 'small' and config are both all settings"):
        minirpn.train(config=run.config, recipe="small")


def test_a_folder_with_something_in_it_is_kept(run):
    with pytest.raises(InputError, match="run folder exists"):
        minirpn.train(out=run.path, **SMALL)
    assert run.report.is_file()


def test_seed_and_classes_are_not_those_of_the_generated_pictures():
    values, names = settings_by_key({"seed": 3, "classes": ("a",), "images": 5})
    assert values == {"run.seed": 3, "data.classes": ("a",), "synthetic.images": 5}
    assert names == {"run.seed": "seed", "data.classes": "classes", "synthetic.images": "images"}


def test_paths_become_strings(tmp_path):
    values, _ = settings_by_key({"voc": tmp_path, "model": {"weights": tmp_path / "a.npz"}})
    assert values == {"data.voc": str(tmp_path), "model.weights": str(tmp_path / "a.npz")}


@pytest.mark.usefixtures("no_figures")
def test_an_own_backbone_trains_with_a_detector(tmp_path, monkeypatch):
    """One that has no head of its own gets the light one."""

    def mine(*, rng):
        return replace(tiny(rng=rng), name="mine")

    monkeypatch.setitem(BACKBONES, "mine", mine)
    settings = SMALL | {"synthetic": SMALL["synthetic"] | {"images": 30}, "steps": 2}
    run = minirpn.train(
        out=tmp_path / "run", backbone="mine", sharing={"kind": "approximate-joint"}, **settings
    )
    assert run.precision is not None
    assert run.model.detect(np.zeros((80, 96, 3), np.uint8)).names == run.model.names
    assert "  backbone    mine, stride 16" in repr(run.model)


def test_ranks_train_together_and_each_gets_the_run(tmp_path, monkeypatch, run):
    own = threading.local()
    monkeypatch.setattr("minirpn.models.open_ranks", lambda mode: own.ranks)

    def trained(ranks):
        own.ranks = ranks
        return minirpn.train(out=tmp_path / f"run-{ranks.rank}", **SMALL)

    first, second = on_ranks(2, trained)
    optimizer = first.config.optimizer
    assert (optimizer.images_per_step, optimizer.steps) == (2, 2)  # 3 images, in steps of two
    assert optimizer.lr == 2 * run.config.optimizer.lr
    assert (first.path, first.steps) == (second.path, second.steps) == (tmp_path / "run-0", 2)
    assert first.config == second.config
    assert first.recall.to_dict() == second.recall.to_dict()
    assert not (tmp_path / "run-1").exists()

    again, other = on_ranks(2, trained)
    assert str(again) == f"{first.path}: run folder exists: use --resume or another --out"
    assert str(other) == f"{first.path}: the training has failed; the error of rank 0 says why"
