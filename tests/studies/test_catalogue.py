"""The studies that there are: what each varies, and which numbers of the paper stand beside it."""

from dataclasses import replace

import pytest

from minirpn.devices import Gpu
from minirpn.errors import InputError
from minirpn.rpn.anchors import AnchorConfig
from minirpn.studies import STUDIES, TABLE_1, TABLE_8, TABLE_9, Findings
from minirpn.studies.sizes import published_size
from minirpn.training.config import default_config, load_config, override
from minirpn.training.tables import flat, to_table

# At the paper's scale, with a backbone that is quickly built.
VOC = load_config(recipe="paper", overrides={"model.backbone": "squeezenet"})


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
@pytest.mark.parametrize("base", [VOC, default_config(voc=False)], ids=["voc", "shapes"])
def test_every_variant_is_a_training_of_its_own(study, base):
    variants = study.variants(base)
    configs = [override(base, variant.settings, origins={}) for variant in variants]
    tables = [str(to_table(config)) for config in configs]
    assert len(set(tables)) == len(tables)
    names = [variant.name for variant in variants]
    assert len({*names}) == len({v.label for v in variants}) == len(names)
    assert study.baseline in names
    assert all(name == name.lower() and "/" not in name and " " not in name for name in names)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_a_study_says_what_the_paper_has_to_say(study):
    if study.published is not None:
        assert set(study.published.values) == {v.name for v in study.variants(VOC)}
        assert study.published.source == study.source
    assert study.question.endswith("?")
    assert study.reading.endswith(".")


@pytest.mark.parametrize(("trouble", "count"), [(None, 4), ("no memory", 3)])
def test_a_gpu_that_works_is_compared(monkeypatch, trouble, count):
    gpus = [Gpu("cuda:0", "a card", trouble)]
    monkeypatch.setattr("minirpn.studies.catalogue.find_gpus", lambda: gpus)
    variants = STUDIES["numerics"].variants(VOC)
    devices = [override(VOC, v.settings, origins={}).run.device for v in variants]
    assert devices == (["cpu"] * 3 + ["cuda"])[:count]


def test_the_numbers_of_the_paper():
    # arXiv:1506.01497v3, typed once more from the page.
    assert [*TABLE_9.values.items()] == [
        ("lambda-0.1", 67.2),
        ("lambda-1", 68.9),
        ("lambda-10", 69.9),
        ("lambda-100", 69.1),
    ]
    assert sorted(TABLE_8.values.values()) == [65.8, 66.7, 67.9, 68.8, 69.8, 69.9]
    # The mean proposal of a wide anchor is wide, that of a high one high.
    for (_, ratio), (width, height) in TABLE_1.items():
        if ratio != 1:
            assert (width > height) == (ratio < 1)


def test_what_the_variants_set():
    by_name = {
        name: {v.name: v.settings for v in study.variants(VOC)} for name, study in STUDIES.items()
    }
    assert [s["loss.balance"] for s in by_name["lambda"].values()] == [0.1, 1, 10, 100]
    assert by_name["anchors"]["small-1-ratio"] == {"anchors.scales": [8], "anchors.ratios": [1]}
    assert by_name["anchors"]["middle-3-ratios"] == {
        "anchors.scales": [16],
        "anchors.ratios": [0.5, 1, 2],
    }
    assert by_name["layers"]["paper"]["model.freeze"] == ["conv1", "fire2", "fire3"]
    assert by_name["layers"]["none-tuned"]["model.freeze"][-1] == "fire9"


def test_where_the_paper_tunes_all_there_is_one_variant_less():
    variants = STUDIES["layers"].variants(default_config(voc=False))
    assert [v.name for v in variants] == ["paper", "none-tuned"]


@pytest.mark.parametrize(
    ("anchors", "said"),
    [
        (AnchorConfig(scales=(8.0, 16.0)), "anchors.scales: the study compares one with three"),
        (AnchorConfig(ratios=(0.5, 0.9, 2.0)), "anchors.ratios: the study compares 1 with three"),
    ],
)
def test_anchors_that_leave_nothing_to_compare(anchors, said):
    with pytest.raises(InputError, match=said):
        STUDIES["anchors"].variants(replace(VOC, anchors=anchors))


@pytest.mark.parametrize(
    ("side", "scales", "said"),
    [
        (600, (8.0, 16.0, 32.0), ""),
        (300, (16.0, 4.0, 8.0), ""),
        (
            300,
            (8.0, 16.0, 32.0),
            "are what 256², 512², 1024² are at its 600; `--anchors scales=4,8,16`",
        ),
    ],
)
def test_anchors_that_are_not_the_papers_are_said_to_be_so(side, scales, said):
    base = override(VOC, {"resize.short_side": side, "anchors.scales": [*scales]}, origins={})
    study = STUDIES["anchors"]
    remark = study.remark(Findings(study, base, study.variants(base), ()))
    assert said in remark
    assert bool(said) == bool(remark)


def test_sizes_of_the_paper_at_another_scale():
    half = override(VOC, {"resize.short_side": 300}, origins={})
    assert published_size(VOC, 8, 0.5) == (188, 111)
    assert published_size(half, 4, 0.5) == (94, 55.5)
    assert published_size(half, 8, 0.5) == (208, 114.5)  # half of what 256 pixels propose
    assert published_size(half, 6, 0.5) is None
    assert published_size(VOC, 8, 0.7) is None


def test_the_lambda_of_a_variant_is_that_of_the_paper_whatever_the_settings_say():
    released = override(VOC, {"loss.form": "released"}, origins={})
    for variant in STUDIES["lambda"].variants(released):
        config = override(released, variant.settings, origins={})
        assert flat(to_table(config))["loss.form"] == "paper"
