"""Studies: done once, gone on with, killed and stopped without a difference in what they find."""

import json
import os
import re
import shutil

import pytest

from minirpn.accel.threads import set_threads, thread_count
from minirpn.errors import InputError
from minirpn.files import folder_lock
from minirpn.studies import STUDIES, Variant, measure_run, run_study, runner
from minirpn.studies.runner import JSON, PICTURE, TABLE
from minirpn.studies.study import NOTHING_MORE, Outcome
from minirpn.training.build import load_network
from minirpn.training.config import load_config, override, save_config
from tests.training.threads_as_ranks import on_ranks

KILLS = 20
LAMBDA = STUDIES["lambda"]


@pytest.fixture(scope="module")
def two():
    """A study of two variants, which is what most of these tests need."""
    variants = LAMBDA.variants(load_config())[1:3]
    return LAMBDA._replace(variants=lambda base: variants, published=None)


def found_in(out):
    """Return all that a study has found, but for the clock."""
    clock = ("train_seconds", "measure_seconds")
    outcomes = json.loads((out / JSON).read_text())["outcomes"]
    return [{k: v for k, v in outcome.items() if k not in clock} for outcome in outcomes]


@pytest.fixture(scope="module")
def done(two, base, tmp_path_factory):
    """The folder of a study that is done; not to be changed."""
    out = tmp_path_factory.mktemp("done") / "study"
    run_study(two, base, out, seeds=2, progress=False)
    return out


@pytest.fixture
def whole(done, tmp_path):
    """A copy of it."""
    return shutil.copytree(done, tmp_path / "whole")


@pytest.mark.parametrize("size", [2, 3])  # 3: one of them has nothing to do in the last round
def test_ranks_share_the_trainings_of_a_study(two, base, done, tmp_path, size):
    out = tmp_path / "shared"

    def study(ranks):
        return ranks.perform(
            lambda: run_study(two, base, out, seeds=2, progress=False, ranks=ranks)
        )

    results = on_ranks(size, study)
    assert found_in(out) == found_in(done)
    wanted = [(o.variant, o.seed) for o in results[0].findings.outcomes]
    for result in results:
        assert not result.interrupted
        assert [(o.variant, o.seed) for o in result.findings.outcomes] == wanted
    assert (out / PICTURE).is_file()


def test_a_study_that_another_program_works_on_is_told_by_all_ranks(two, base, done, tmp_path):
    out = shutil.copytree(done, tmp_path / "busy")

    def study(ranks):
        return ranks.perform(
            lambda: run_study(two, base, out, seeds=3, progress=False, ranks=ranks)
        )

    with folder_lock(out):
        outcomes = on_ranks(2, study)
    assert "another" in str(outcomes[0])
    assert str(outcomes[1]).endswith(str(outcomes[0]))
    assert not (out / "lambda-1" / "seed-2").exists()


def test_a_study_trains_measures_and_draws(two, base, whole):
    findings = run_study(two, base, whole, seeds=2, progress=False).findings
    done = [(o.variant, o.seed) for o in findings.outcomes]
    # Seed by seed: a study that is stopped early has something on every variant.
    assert done == [("lambda-1", 0), ("lambda-10", 0), ("lambda-1", 1), ("lambda-10", 1)]
    recalls = {json.dumps(o.recall.to_dict()) for o in findings.outcomes}
    assert len(recalls) > 1
    assert {o.images for o in findings.outcomes} == {2}  # a fifth of twelve
    assert all(o.train_seconds > 0 and o.measure_seconds > 0 for o in findings.outcomes)
    assert (whole / TABLE).read_text() == two.table(findings)
    assert (whole / PICTURE).read_bytes().startswith(b"\x89PNG")
    for variant in ("lambda-1", "lambda-10"):
        for seed in (0, 1):
            run = whole / variant / f"seed-{seed}"
            config = load_config(run / "config.toml")
            assert (config.run.seed, f"lambda-{config.loss.balance:g}") == (seed, variant)
            assert not (run / "report.html").exists()
            assert not (run / "shapes").exists()  # once for all, in the study's folder
    assert (whole / "shapes").is_dir()


def test_what_is_measured_is_what_eval_measures(two, base, whole, capsys):
    from minirpn.cli.main import main

    shapes, run = whole / "shapes", whole / "lambda-10" / "seed-1"
    numbers = whole / "eval.json"
    words = ["eval", str(run), "--voc", str(shapes), "--split", "val", "--json", str(numbers)]
    assert main(words) == 0
    measured = found_in(whole)[-1]["recall"]
    assert json.loads(numbers.read_text())["recall"] == measured["recall"]


def test_what_is_done_is_not_done_again(two, base, whole, monkeypatch):
    before = {path: path.read_bytes() for path in (whole / JSON, whole / TABLE)}
    monkeypatch.setattr(runner, "train", None)
    monkeypatch.setattr(runner, "measure", None)
    assert not run_study(two, base, whole, seeds=2, progress=False).interrupted
    assert {path: path.read_bytes() for path in before} == before


def test_more_seeds_are_added_to_what_is_there(two, base, whole, tmp_path):
    before = found_in(whole)
    findings = run_study(two, base, whole, seeds=3, progress=False).findings
    assert found_in(whole)[:4] == before
    assert [(o.variant, o.seed) for o in findings.outcomes[4:]] == [
        ("lambda-1", 2),
        ("lambda-10", 2),
    ]
    assert findings.seeds == 3


@pytest.mark.parametrize(
    ("values", "limit", "said"),
    [
        ({"optimizer.steps": 5}, None, "optimizer.steps: is 4, but 5 is asked for"),
        ({"model.classifier": "logistic"}, None, "model.classifier: is 'softmax', but 'logistic'"),
        ({}, 1, "limit: is None, but 1 is asked for"),
    ],
)
def test_a_study_that_is_asked_otherwise_stops(two, base, whole, values, limit, said):
    with pytest.raises(InputError) as caught:
        run_study(two, override(base, values, origins={}), whole, seeds=2, limit=limit)
    assert str(caught.value).startswith(f"{whole / JSON}: {said}")
    assert "or use --out" in str(caught.value)


def test_stages_that_a_training_unfroze_are_no_contradiction(two, base, tmp_path):
    """Without weights SqueezeNet trains all its stages, and says so in the settings of its run."""
    base = override(base, {"model.backbone": "squeezenet", "optimizer.steps": 1}, origins={})
    one = two._replace(variants=lambda base: two.variants(base)[1:])
    found = run_study(one, base, tmp_path / "out", seeds=1, progress=False).findings
    (tmp_path / "out" / JSON).unlink()
    again = run_study(one, base, tmp_path / "out", seeds=1, progress=False).findings
    assert again.outcomes[0].recall.to_dict() == found.outcomes[0].recall.to_dict()
    assert load_config(tmp_path / "out/lambda-10/seed-0/config.toml").model.freeze == ()
    (tmp_path / "out" / JSON).unlink()
    frozen = override(base, {"model.freeze": ["conv1"]}, origins={})
    with pytest.raises(InputError, match=r"model\.freeze: is \[\], but \['conv1'\] is asked for"):
        run_study(one, frozen, tmp_path / "out", seeds=1, progress=False)


def test_a_study_starts_from_weights_and_measures_with_their_pixels(two, base, tmp_path):
    base = override(base, {"model.weights": "shapes", "optimizer.steps": 1}, origins={})
    one = two._replace(variants=lambda base: two.variants(base)[1:])
    outcomes = run_study(one, base, tmp_path / "out", seeds=1, progress=False).findings.outcomes
    assert outcomes[0].recall.gt_count == 3
    stored = load_config(tmp_path / "out/lambda-10/seed-0/config.toml")
    assert stored.model.preprocessing is not None


def test_what_may_change_on_resume_may_change(two, base, whole):
    other = override(base, {"run.threads": 2, "run.seed": 7}, origins={})
    before = found_in(whole)
    run_study(two, other, whole, seeds=2, progress=False)
    assert found_in(whole) == before


def test_another_study_in_the_same_folder_stops(base, whole):
    with pytest.raises(InputError, match="study: is 'lambda', but 'loss' is asked for"):
        run_study(STUDIES["loss"], base, whole, seeds=2)


def test_runs_of_other_settings_are_not_taken_for_its_own(two, base, whole):
    """As after somebody has thrown study.json away."""
    (whole / JSON).unlink()
    with pytest.raises(InputError, match=r"config.toml: optimizer.lr: is 0.01, but 0.02"):
        run_study(two, override(base, {"optimizer.lr": 0.02}, origins={}), whole, seeds=2)
    run_study(two, base, whole, seeds=2, progress=False)


def test_a_study_from_before_there_was_a_setting_goes_on(two, base, whole):
    stored = json.loads((whole / JSON).read_text())
    del stored["settings"]["optimizer.linear_rule"]
    (whole / JSON).write_text(json.dumps(stored))
    other = override(base, {"optimizer.linear_rule": False}, origins={})
    with pytest.raises(InputError, match=r"optimizer\.linear_rule: is True, but False is asked"):
        run_study(two, other, whole, seeds=2)
    run_study(two, base, whole, seeds=2, progress=False)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "minirpn study", "version": 9}', '{"format": 3}']
)
def test_a_damaged_file_is_one_line(two, base, whole, text):
    (whole / JSON).write_text(text)
    with pytest.raises(
        InputError, match=r"study.json: (not JSON: |expected an obj|format: |version: )"
    ):
        run_study(two, base, whole, seeds=2)


def test_a_damaged_outcome_is_one_line(two, base, whole):
    content = json.loads((whole / JSON).read_text())
    del content["outcomes"][0]["recall"]["counts"]
    (whole / JSON).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"study.json: outcomes: 1: recall: counts: missing"):
        run_study(two, base, whole, seeds=2)


@pytest.mark.parametrize("steps", [0, 3, 7])
def test_stopped_it_goes_on_to_the_same_end(
    two, base, whole, tmp_path, monkeypatch, stop_after, steps
):
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        result = run_study(two, base, out, seeds=2, progress=False)
    assert result.interrupted
    assert len(result.findings.outcomes) == steps // 5  # each training asks five times
    assert not (out / TABLE).exists()
    assert not run_study(two, base, out, seeds=2, progress=False).interrupted
    assert found_in(out) == found_in(whole)


PROGRAM = """
import json, sys
from pathlib import Path
from kills import Killer
from minirpn.studies import STUDIES, run_study, runner
from minirpn.training.config import load_config
from minirpn.viz import save  # loaded before the first fork, as all else

base, out = load_config(Path(sys.argv[1])), Path(sys.argv[2])
study = STUDIES["lambda"]
variants = study.variants(base)[1:3]
study = study._replace(variants=lambda base: variants, published=None)


def run(folder):
    run_study(study, base, folder, seeds=2, progress=False)


run_study(study, base, out / "warm", seeds=1, progress=False)
killer = Killer(int(sys.argv[3]), lambda: run(out / "undisturbed"))
moments, number = [], 0
while killer.left:
    folder = out / f"killed-{number}"
    number += 1
    for _ in killer.until_done(lambda: run(folder)):
        file = folder / runner.JSON
        moments.append(len(json.loads(file.read_text())["outcomes"]) if file.exists() else 0)
print(json.dumps({"moments": moments, "folders": number}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_anywhere_it_finds_the_same(base, run_and_kill, tmp_path):
    save_config(tmp_path / "settings.toml", base)
    found = run_and_kill(PROGRAM, tmp_path / "settings.toml", tmp_path, KILLS)
    assert len(found["moments"]) == KILLS
    assert set(found["moments"]) >= {0, 1, 2, 3}  # of four trainings
    for number in range(found["folders"]):
        assert found_in(tmp_path / f"killed-{number}") == found_in(tmp_path / "undisturbed")


def test_a_run_that_was_killed_before_its_settings_were_written(two, base, whole, tmp_path):
    run = tmp_path / "early" / "lambda-1" / "seed-0"
    (run / "checkpoints").mkdir(parents=True)
    (run / ".config.toml.0123456789abcdef.tmp").write_text("half a li")
    run_study(two, base, tmp_path / "early", seeds=2, progress=False)
    assert found_in(tmp_path / "early") == found_in(whole)


def test_a_mistyped_flag_does_not_stand_in_the_way_of_the_next_try(two, base, whole, tmp_path):
    out = tmp_path / "typed"
    with pytest.raises(InputError, match=r"nosuch.npz: "):
        run_study(two, override(base, {"model.weights": "nosuch.npz"}, origins={}), out, seeds=2)
    run_study(two, base, out, seeds=2, progress=False)
    assert found_in(out) == found_in(whole)


def test_what_is_somebody_elses_is_left_alone(two, base, tmp_path):
    letter = tmp_path / "out" / "lambda-1" / "seed-0" / "letter.txt"
    letter.parent.mkdir(parents=True)
    letter.write_text("dear")
    with pytest.raises(InputError, match=r"seed-0: letter\.txt is in it: give another --out"):
        run_study(two, base, tmp_path / "out", seeds=1, progress=False)
    assert letter.read_text() == "dear"


def test_two_at_a_time_do_not_share_a_folder(two, base, whole):
    with folder_lock(whole), pytest.raises(InputError, match="another process"):
        run_study(two, base, whole, seeds=2)


@pytest.fixture
def wild(two):
    """Make a study in which one variant diverges at once."""

    def make(name):
        settings = {"good": {}, "also-good": {"loss.balance": 1.0}}
        settings[name] = {"optimizer.lr": 10.0, "optimizer.backbone_lr_multiplier": 1000.0}
        variants = tuple(Variant(key, value, key) for key, value in settings.items())
        return two._replace(variants=lambda base: variants, baseline="good")

    return make


def test_a_variant_that_diverges_does_not_keep_the_others_from_their_answer(wild, base, tmp_path):
    study, out = wild("also-good"), tmp_path / "out"
    findings = run_study(study, base, out, seeds=1, progress=False).findings
    good, bad = findings.outcomes
    assert good.recall is not None
    assert bad.recall is None
    assert re.fullmatch(r"step \d, image \d{6}: \w+ is (nan|-?inf)", bad.failure)
    assert f"also-good, seed 0, did not finish: {bad.failure}" in (out / TABLE).read_text()
    before = found_in(out)
    run_study(study, base, out, seeds=1, progress=False)
    assert found_in(out) == before


def test_without_a_baseline_there_is_nothing_to_compare_with(wild, base, tmp_path):
    with pytest.raises(InputError, match=r"^good: .* is "):
        run_study(wild("good"), base, tmp_path / "out", seeds=1, progress=False)


@pytest.mark.parametrize(
    ("values", "seeds", "limit", "said"),
    [
        ({}, 0, None, "--seeds: expected at least 1, got 0"),
        ({}, 1, 0, "--limit: expected at least 1, got 0"),
        ({"data.val_split": None}, 1, None, "--val-split: needed"),
        ({"run.patience": 3}, 1, None, "run.patience: studies train all steps"),
        ({"sharing.kind": "joint"}, 1, None, "sharing.kind: studies train the RPN alone"),
    ],
)
def test_questions_without_an_answer(two, base, tmp_path, values, seeds, limit, said):
    config = override(base, values, origins={})
    with pytest.raises(InputError, match=said):
        run_study(two, config, tmp_path / "out", seeds=seeds, limit=limit)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_numerics_tells_rounding_from_labels(base, tmp_path):
    threads = thread_count()
    set_threads(2)
    try:
        findings = run_study(
            STUDIES["numerics"], base, tmp_path / "out", seeds=1, progress=False
        ).findings
        assert thread_count() == 2
    finally:
        set_threads(threads)
    narrow, shared, wide = (outcome.more for outcome in findings.outcomes)
    assert len(narrow["sampled"]) == len(narrow["losses"]) == 4
    assert len({*narrow["sampled"]}) == 4  # of four different steps
    for key in ("labels", "sampled"):
        assert narrow[key] == shared[key] == wide[key]
    assert narrow["labels"] != narrow["sampled"]
    assert narrow["losses"] != wide["losses"]
    assert narrow["losses"] == pytest.approx(wide["losses"], rel=1e-3)
    run = tmp_path / "out" / "float64-1-thread" / "seed-0"
    assert {p.value.dtype.name for p in load_network(run)[0].parameters()} == {"float64"}
    assert "as they must be" in (tmp_path / "out" / TABLE).read_text()


def test_a_trained_run_is_measured_without_training(base, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "train", None)
    run = whole / "lambda-1" / "seed-1"
    config = override(load_config(run / "config.toml"), {"data.val_split": "test"}, origins={})
    for name in ("recall", "sizes"):
        out = tmp_path / name
        findings = measure_run(STUDIES[name], run, out, config=config, progress=False)
        assert (out / TABLE).read_text() == STUDIES[name].table(findings)
        assert (out / PICTURE).read_bytes().startswith(b"\x89PNG")
        assert not (out / JSON).exists()
    sizes = findings.outcomes[0].more
    assert len(sizes["sizes"]) == len(sizes["counts"]) == 9
    assert sum(sizes["counts"]) > 0
    with pytest.raises(InputError, match="lambda compares 4 trainings"):
        measure_run(LAMBDA, run, tmp_path / "no", config=config)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"train_seconds": []}, "outcomes: 2: train_seconds: expected a number from 0"),
        ({"seed": "0"}, "outcomes: 2: seed: expected a whole number from 0"),
        ({"seed": 0, "variant": "lambda-1"}, "outcomes: expected one for each variant and seed"),
        ({"failure": ["step 3"]}, "outcomes: 2: failure: expected a text"),
        ({"more": 5}, "outcomes: 2: more: expected an object, got 5"),
    ],
)
def test_an_outcome_that_no_study_stores_is_named(two, base, whole, change, reason):
    content = json.loads((whole / JSON).read_text())
    content["outcomes"][1] |= change
    (whole / JSON).write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        run_study(two, base, whole, seeds=2)
    assert str(caught.value).startswith(f"{whole / JSON}: {reason}")


def test_an_outcome_has_the_counts_of_a_study(two, base, whole):
    content = json.loads((whole / JSON).read_text())
    content["outcomes"][0]["recall"]["counts"][0] = 49
    (whole / JSON).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"outcomes: 1: recall: of other counts or thresholds"):
        run_study(two, base, whole, seeds=2)


def test_other_measurements_are_checked_by_their_study(base):
    config = override(base, {"optimizer.steps": 4}, origins={})
    sizes, steps = (STUDIES[name].more(config) for name in ("sizes", "numerics"))
    count = config.anchors.count
    sizes({"sizes": [[1.0, 2.0], None] + [None] * (count - 2), "counts": [3] * count}, "file")
    steps({"losses": [0.5, None, 1, 2], "labels": ["a"], "sampled": ["a"]}, "file")
    for check, wrong in (
        (sizes, {"sizes": [[1.0, 2.0]] * count, "counts": [3] * (count - 1)}),
        (sizes, {"sizes": [[1.0]] * count, "counts": [3] * count}),
        (steps, {"losses": [], "labels": [], "sampled": []}),
        (steps, {"losses": [0.5] * 4, "labels": [[]], "sampled": []}),
    ):
        with pytest.raises(InputError, match=r"^file: "):
            check(wrong, "file")


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_an_outcome_of_any_seed_is_read_back(seed):
    outcome = Outcome("lambda-1", seed, None, failure="diverged")
    assert Outcome.from_dict(outcome.to_dict(), "study.json", NOTHING_MORE) == outcome
