"""What a study prints: its own numbers, the paper's, and what can be said of them."""

import numpy as np
import pytest

from minirpn.rpn.anchors import AnchorConfig
from minirpn.studies import STUDIES, Findings, Outcome
from minirpn.studies.numerics import relative_differences
from minirpn.studies.tables import markdown, mean_recall
from minirpn.training.config import load_config, override

# At the paper's scale, with a backbone that is quickly built.
VOC = load_config(recipe="paper", overrides={"model.backbone": "squeezenet"})


def findings_of(name, outcomes, base=VOC):
    study = STUDIES[name]
    return Findings(study, base, study.variants(base), tuple(outcomes))


def rows(text):
    """Return the cells of each row of a Markdown table, by its first cell."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


@pytest.fixture
def lambdas(outcome):
    found = {"lambda-0.1": (0.1, 0.2), "lambda-1": (0.5, 0.7), "lambda-10": (0.6, 0.8)}
    return [outcome(name, seed, v) for name, vs in found.items() for seed, v in enumerate(vs)]


def test_ours_beside_theirs_and_none_within_the_seeds(lambdas, outcome):
    lambdas += [outcome("lambda-100", seed, 0.9) for seed in (0, 1)]
    text = STUDIES["lambda"].table(findings_of("lambda", lambdas))
    table = rows(text)
    assert table["lambda 0.1"][1:3] == ["0.150 (0.100 to 0.200)", "-0.550"]
    assert table["lambda 1"][2] == "none"
    assert table["lambda 10"][2] == "(baseline)"
    assert table["lambda 100"][2] == "+0.200"
    assert [cells[-2] for cells in table.values()] == ["67.2", "68.9", "69.9", "69.1"]
    assert [cells[-1] for cells in table.values()] == ["1.0"] * 4
    assert "the range of 2 seeds" in text
    assert "by chance in 1 of 3 comparisons" in text
    assert "2.7 points of mAP there, and 75.0 points of recall" in text
    assert "the seeds of one variant lie up to 20.0 points apart" in text
    assert "8 min 0 s in all" in text
    assert "Ours is recall of proposals after a short training" in text


def test_one_seed_tells_nothing(outcome):
    names = [variant.name for variant in STUDIES["lambda"].variants(VOC)]
    text = STUDIES["lambda"].table(
        findings_of("lambda", [outcome(name, 0, 0.5 + i / 10) for i, name in enumerate(names)])
    )
    assert {cells[2] for cells in rows(text).values()} == {"not known", "(baseline)"}
    assert "One seed each: whether the variants differ is not known" in text
    assert "by chance" not in text


def test_a_training_that_diverged_is_said(lambdas):
    reason = "step 3, image 000005: box_loss is nan"
    failed = [Outcome("lambda-100", seed, None, failure=reason) for seed in (0, 1)]
    text = STUDIES["lambda"].table(findings_of("lambda", lambdas + failed))
    assert rows(text)["lambda 100"][:3] == ["-", "-", "not known"]
    assert f"lambda 100, seed 1, did not finish: {reason}." in text


def test_figure_4_is_the_mean_over_the_seeds(outcome):
    given = [outcome("as-given", 0, 0.2), outcome("as-given", 1, 0.6)]
    np.testing.assert_allclose(mean_recall(given).recall, 0.4)
    text = STUDIES["recall"].table(findings_of("recall", given))
    assert set(rows(text)["2,000"]) == {"0.400"}
    assert "Means of 2 seeds" in text


def test_table_1_weighs_the_seeds_by_their_proposals(outcome):
    base = override(VOC, {"anchors.scales": [8.0], "anchors.ratios": [0.5, 1.0, 2.0]}, origins={})
    more = [
        {"sizes": [[100.0, 50.0], None, None], "counts": [3, 0, 0]},
        {"sizes": [[200.0, 90.0], [64.0, 256.0], None], "counts": [1, 2, 0]},
    ]
    given = [outcome("as-given", seed, 0.5, more=numbers) for seed, numbers in enumerate(more)]
    findings = findings_of("sizes", given, base)
    table = rows(STUDIES["sizes"].table(findings))
    # (3 x 100 + 200) / 4 = 125, (3 x 50 + 90) / 4 = 60; the anchor is 184 x 96.
    assert table["128², 2:1"] == ["184 x 96", "125 x 60", "0.65", "4", "188 x 111"]
    # sqrt(64 x 256) = 128
    assert table["128², 1:1"] == ["128 x 128", "64 x 256", "1.00", "2", "113 x 114"]
    assert table["128², 1:2"] == ["88 x 176", "-", "-", "0", "70 x 92"]
    assert STUDIES["sizes"].draw(findings).get_figure() is not None


@pytest.fixture
def numerics(outcome):
    """Make findings in which float64 has other losses, or other samples."""

    def make(losses, sampled):
        same = {"losses": [2.0, 4.0], "labels": ["a", "b"], "sampled": ["c", "d"]}
        other = {"losses": losses, "labels": ["a", "b"], "sampled": sampled}
        names = ("float32-1-thread", "float32-2-threads", "float64-1-thread")
        return findings_of(
            "numerics",
            [outcome(n, 0, 0.5, more=m) for n, m in zip(names, (same, same, other), strict=True)],
        )

    return make


def test_rounding_is_told_from_a_fault(numerics):
    study = STUDIES["numerics"]
    text = study.table(numerics([2.0, 5.0], ["c", "d"]))
    assert rows(text)["float32, 2 threads"][:3] == ["0 (to the bit)"] * 2 + ["the same"]
    # |5 - 4| / 4 = 0.25
    assert rows(text)["float64, 1 thread"][:3] == ["0 (to the bit)", "2e-01", "the same"]
    assert "the same in all variants, as they must be" in text
    text = study.table(numerics([2.0, 4.0], ["c", "x"]))
    assert rows(text)["float64, 1 thread"][2] == "DIFFER"
    assert "a fault of minirpn" in text


def test_equal_losses_are_named_where_they_cannot_be_drawn(numerics):
    ax = STUDIES["numerics"].draw(numerics([2.0, 5.0], ["c", "d"]))
    shown = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    assert np.isnan(shown["float32, 2 threads: equal to the bit"]).all()
    np.testing.assert_equal(shown["float64, 1 thread"], [np.nan, 0.25])


def test_relative_differences_go_as_far_as_both_do():
    np.testing.assert_equal(relative_differences([1.0, None, 9.0], [2.0, 4.0]), [0.5, np.nan])


def test_columns_stand_under_each_other():
    assert markdown(["a", "bc"], [["long", "d"]]).splitlines() == [
        "| a    | bc |",
        "| ---- | -- |",
        "| long | d  |",
    ]


def test_pictures_show_each_run_and_the_paper(lambdas):
    findings = findings_of("lambda", lambdas)
    figure = STUDIES["lambda"].draw(findings)
    *ours, theirs = figure.axes
    assert len(ours) == 2
    dots = [line for line in ours[0].get_lines() if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [[0.1, 0.2], [0.5, 0.7], [0.6, 0.8]]
    shown = [line.get_xdata()[0] for line in theirs.get_lines() if line.get_marker() == "o"]
    assert shown == [67.2, 68.9, 69.9, 69.1]
    assert theirs.get_xlabel() == "mAP (%) of a detector"


def test_anchors_are_named_by_their_sides():
    base = override(VOC, {"anchors.scales": [4.0, 8.0, 16.0]}, origins={})
    assert base.anchors == AnchorConfig(scales=(4.0, 8.0, 16.0))
    labels = [variant.label for variant in STUDIES["anchors"].variants(base)]
    assert labels[0] == "64²; 1 ratio"
    assert labels[-1] == "64², 128², 256²; 3 ratios"
