"""The models that come with minirpn are what their cards say."""

import re

import pytest

from docs.models import COUNTS, RECIPES, card
from minirpn.data import VOCDataset, generate
from minirpn.training.build import load_model
from minirpn.training.config import default_config
from minirpn.training.evaluate import evaluate_split
from minirpn.training.stored import SHIPPED, read_stored, shipped_models
from minirpn.training.tables import flat, to_table


def test_there_is_a_recipe_for_each_and_together_they_are_small():
    assert shipped_models() == tuple(sorted(RECIPES)) == ("shapes", "voc-small")
    assert sum(path.stat().st_size for path in SHIPPED.glob("*.npz")) < 12e6


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_card_says_what_the_file_says(name):
    stored = read_stored(name)
    assert (SHIPPED / f"{name}.md").read_text() == card(name, stored.about)
    parameters = sum(value.size for value in stored.parameters.values())
    assert stored.about["parameters"] == parameters


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_model_holds_no_path_of_the_machine_that_trained_it(name):
    texts = [v for v in flat(to_table(read_stored(name).config)).values() if isinstance(v, str)]
    assert not [text for text in texts if re.search(r"[/\\]", text)]


@pytest.mark.slow
def test_shapes_finds_what_its_card_says(tmp_path):
    model, config = load_model("shapes")
    root = generate(tmp_path / "shapes", default_config(voc=False).synthetic)
    dataset = VOCDataset(root, split="test")
    about = read_stored("shapes").about
    result = evaluate_split(model, config, dataset, counts=COUNTS)
    assert len(result.proposals) == about["images"]
    for count in COUNTS:
        assert result.recall.at(count) == pytest.approx(about["recall"][str(count)], abs=0.01)


@pytest.mark.slow
def test_voc_small_finds_what_its_card_says(shared):
    model, config = load_model("voc-small")
    root = shared / "data/voc2007-subset/VOCdevkit"
    dataset = VOCDataset(root, split="test", classes=config.data.classes)
    about = read_stored("voc-small").about
    result = evaluate_split(model, config, dataset, counts=COUNTS, limit=120)
    assert len(dataset) == about["images"]
    for count in COUNTS:
        # A quarter of the images: a little more or less than all of them.
        assert result.recall.at(count) == pytest.approx(about["recall"][str(count)], abs=0.06)
    assert result.precision is not None
    assert result.precision.mean_ap == pytest.approx(about["mean_ap"], abs=0.1)
