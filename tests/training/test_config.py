"""Settings: exact round trips, one clear line for whatever is wrong, and who wins over whom."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn.data import VOC_CLASSES
from minirpn.errors import InputError
from minirpn.training import tables
from minirpn.training.config import (
    RECIPES,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
    check_resumable,
    default_config,
    load_config,
    save_config,
)

# --- tables: the generic conversion --------------------------------------------------------------


@dataclass(frozen=True)
class Inner:
    number: float = 1.5
    pair: tuple[int, int] = (2, 3)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"number: expected 0 or more, got {self.number}")
        if self.pair[0] > self.pair[1]:
            raise ValueError("Inner: expected an ordered pair")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    count: int = 1
    on: bool = False
    word: str | None = "w"
    choice: Literal["a", "b"] | None = "a"

    def __post_init__(self) -> None:
        if (self.count, self.word) == (9, "wrong"):
            raise ValueError("count, word: do not go together")


numbers = st.floats(0, allow_nan=False, allow_infinity=False)
letters = st.characters(codec="utf-8", exclude_characters="\0")
words = st.text(letters, max_size=5).filter(lambda word: word != "none")
inners = st.builds(
    Inner,
    number=numbers,
    pair=st.tuples(st.integers(-9, 0), st.integers(0, 2**60)),
    names=st.lists(words).map(tuple),
)
outers = st.builds(
    Outer,
    inner=inners,
    count=st.integers(-(2**60), 2**60),
    on=st.booleans(),
    word=st.none() | words,
    choice=st.sampled_from([None, "a", "b"]),
)


@given(config=outers)
def test_a_config_comes_back_from_its_table_and_from_json(config: Outer):
    table = tables.to_table(config)
    assert tables.from_table(Outer, table, "x") == config
    assert tables.from_table(Outer, json.loads(json.dumps(table)), "x") == config


def test_a_config_comes_back_from_toml(tmp_path: Path):
    config = Outer(Inner(3.25, (0, 1), ('quo"te', "ü\n")), 7, True, None, None)
    path = tmp_path / "config.toml"
    tables.write_toml(path, tables.to_table(config))
    assert tables.from_table(Outer, tables.read_toml(path), str(path)) == config


def test_what_is_absent_keeps_its_default():
    assert tables.from_table(Outer, {}, "x") == Outer()
    assert tables.from_table(Outer, {"inner": {"number": 2}}, "x") == Outer(Inner(2.0))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"cuont": 1},
            "x: cuont: unknown; there are inner, count, on, word, choice; did you mean count?",
        ),
        ({"inner": {"n": 1}}, "x: inner.n: unknown; there are number, pair, names"),
        ({"inner": 3}, "x: inner: expected a table, got 3"),
        ({"count": 1.5}, "x: count: expected a whole number, got 1.5"),
        ({"count": True}, "x: count: expected a whole number, got True"),
        ({"count": "1"}, "x: count: expected a whole number, got '1'"),
        ({"on": 1}, "x: on: expected true or false, got 1"),
        ({"word": 1}, "x: word: expected a string, got 1"),
        ({"choice": "c"}, "x: choice: expected 'a' or 'b', got 'c'"),
        ({"inner": {"number": "1"}}, "x: inner.number: expected a number, got '1'"),
        ({"inner": {"number": False}}, "x: inner.number: expected a number, got False"),
        (
            {"inner": {"number": float("nan")}},
            "x: inner.number: expected a finite number, got nan",
        ),
        (
            {"inner": {"number": float("inf")}},
            "x: inner.number: expected a finite number, got inf",
        ),
        ({"inner": {"number": -1}}, "x: inner.number: expected 0 or more, got -1.0"),
        ({"inner": {"pair": [1]}}, "x: inner.pair: expected 2 values, got 1"),
        ({"inner": {"pair": 1}}, "x: inner.pair: expected a list, got 1"),
        ({"inner": {"pair": [1, "a"]}}, "x: inner.pair: expected a whole number, got 'a'"),
        ({"inner": {"pair": [2, 1]}}, "x: inner: expected an ordered pair"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], message: str):
    with pytest.raises(InputError) as caught:
        tables.from_table(Outer, table, "x")
    assert str(caught.value) == message


def test_a_value_is_called_what_the_user_calls_it():
    with pytest.raises(InputError, match=r"^--number: expected 0 or more, got -1\.0$"):
        tables.from_table(
            Outer, {"inner": {"number": -1}}, "x", origins={"inner.number": "--number"}
        )


@pytest.mark.parametrize(
    ("typed", "table", "said"),
    [
        # A name for a value that was not typed is none: the value is from the file.
        ({"inner.number": "--number"}, {"inner": {"pair": [2, 1]}}, "x: inner: expected an"),
        ({"inner.pair": "--pair"}, {"inner": {"pair": [2, 1]}}, "--pair: expected an"),
        ({"inner": "--inner"}, {"inner": {"number": -1}}, "--inner: expected 0 or more"),
        (
            {"inner.pair": "--pair", "inner.number": "--number"},
            {"inner": {"pair": [2, 1], "number": 1}},
            "--pair and --number: expected an",
        ),
        (
            {"inner.pair": "--pair"},
            {"inner": {"pair": [2, 1], "number": 1}},
            "--pair and x: inner: expected an",
        ),
        ({"iner.number": "--number"}, {"iner": {"number": 1}}, "--number: unknown; there are"),
        ({}, {"word": "wrong", "count": 9}, "x: count, word: do not go together"),
        ({"word": "--word"}, {"word": "wrong", "count": 9}, "--word and x: count: do not go"),
        ({"word": "--word"}, {"word": "wrong"}, "--word: do not go"),
    ],
)
def test_only_what_was_typed_is_named(typed: dict[str, str], table: dict[str, Any], said: str):
    with pytest.raises(InputError) as caught:
        tables.from_table(Outer, table, "x", base=Outer(count=9), origins=typed)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("cuont", "; did you mean count?"),
        ("iner", "; did you mean inner?"),
        ("inner.numbr", "; did you mean number?"),
        ("number", "; did you mean inner.number?"),
        ("inner.count", "; did you mean count?"),
        ("inner.x", ""),
    ],
)
def test_the_nearest_key(key: str, said: str):
    assert tables.nearest_key(Outer, key) == said


def test_the_keys_of_a_dataclass_are_those_of_its_table():
    keys = ["inner.number", "inner.pair", "inner.names", "count", "on", "word", "choice"]
    assert tables.keys_of(Outer) == keys == list(tables.flat(tables.to_table(Outer())))


def test_values_over_a_base():
    base = Outer(inner=Inner(number=7.0, names=("a",)), word=None)
    table = {"inner": {"number": 2}, "on": True}
    wanted = replace(base, inner=replace(base.inner, number=2.0), on=True)
    assert tables.from_table(Outer, table, "x", base=base) == wanted


def test_nested_goes_into_a_table_and_leaves_it():
    table = {"a": {"b": 1, "c": 2}, "d": 3}
    assert tables.nested({"a.c": 4, "d.e": 5}, table) == {"a": {"b": 1, "c": 4}, "d": {"e": 5}}
    assert table == {"a": {"b": 1, "c": 2}, "d": 3}


def test_nested_and_flat_are_inverse():
    table = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert tables.flat(table) == {"a.b": 1, "a.c.d": 2, "e": 3}
    assert tables.nested(tables.flat(table)) == table


def test_bytes_that_are_no_utf8_are_kept(tmp_path: Path):
    table = {"data": {"voc": os.fsdecode(b"/\xff/\xc3\x9f"), "split": "\x1b\u202e$"}}
    tables.write_toml(tmp_path / "config.toml", table)
    assert tables.read_toml(tmp_path / "config.toml") == table


@pytest.mark.parametrize("content", [b"lr = \n", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_file_that_is_not_toml_is_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^\S*bad\.toml: not TOML: [^\n]+$"):
        tables.read_toml(path)


def test_a_missing_file_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"no\.toml: cannot read: No such file"):
        tables.read_toml(tmp_path / "no.toml")


# --- the settings of a run -----------------------------------------------------------------------


@pytest.mark.parametrize("voc", [False, True])
def test_every_setting_survives_a_file(tmp_path: Path, voc: bool):
    config = default_config(voc=voc)
    config = replace(config, data=replace(config.data, voc="/data" if voc else None))
    path = tmp_path / "config.toml"
    save_config(path, config)
    assert load_config(path) == config
    written = tomllib.loads(path.read_text())
    assert set(written) == {section.name for section in fields(TrainConfig)}


def test_a_setting_that_is_not_given_is_written_as_one_that_is(tmp_path: Path):
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    save_config(first, load_config(None, recipe="shapes"))  # 16 and not 16.0 in its class
    save_config(second, load_config(first, recipe="paper"))
    assert second.read_text() == first.read_text()


def test_the_classes_have_the_papers_settings():
    config = TrainConfig()
    assert (config.resize.short_side, config.resize.max_side) == (600, 1000)
    optimizer = config.optimizer
    assert (optimizer.steps, optimizer.lr) == (80_000, 0.001)
    assert (optimizer.drop_at, optimizer.drop_factor) == (0.75, 0.1)  # after 60,000 steps


def test_the_papers_recipe_is_that_of_the_classes_with_its_network():
    classes = TrainConfig()
    assert RECIPES["paper"] == replace(classes, model=replace(classes.model, backbone="vgg16"))


def test_a_recipe_is_what_file_and_flags_win_over(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("[optimizer]\nsteps = 7\n")
    config = load_config(path, {"data.voc": "/voc"}, recipe="paper")
    paper = RECIPES["paper"]
    assert config == replace(
        paper,
        data=replace(paper.data, voc="/voc"),
        optimizer=replace(paper.optimizer, steps=7),
    )


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("[optimizer]\nlr = 0.5\nsteps = 7\n")
    config = load_config(path, {"optimizer.lr": 0.25})
    shapes = default_config(voc=False)
    assert config.optimizer == replace(shapes.optimizer, lr=0.25, steps=7)
    assert config.data == shapes.data


@pytest.mark.parametrize("in_file", [False, True])
def test_naming_a_data_set_brings_its_defaults(tmp_path: Path, in_file: bool):
    path = tmp_path / "mine.toml"
    path.write_text('[data]\nvoc = "/voc"\n' if in_file else "")
    config = load_config(path, {} if in_file else {"data.voc": "/voc"})
    defaults = default_config(voc=True)
    assert config == replace(defaults, data=replace(defaults.data, voc="/voc"))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("optimizer.lr", float("nan"), "expected a finite number, got nan"),
        ("optimizer.lr", 0.0, "expected a finite number above 0, got 0.0"),
        ("optimizer.lr", -1, "expected a finite number above 0, got -1.0"),
        ("optimizer.steps", -5, "expected at least 1, got -5"),
        ("optimizer.steps", 1.5, "expected a whole number, got 1.5"),
        ("optimizer.momentum", 1.0, "expected 0 to below 1, got 1.0"),
        ("optimizer.weight_decay", -0.1, "expected at least 0, got -0.1"),
        ("optimizer.drop_at", 2.0, "expected 0 to 1, got 2.0"),
        ("optimizer.rule", "adam", "expected 'caffe' or 'torch', got 'adam'"),
        ("run.seed", -1, "expected at least 0, got -1"),
        ("run.threads", 0, "expected at least 1, got 0"),
        ("run.validate_every", 0, "expected at least 1, got 0"),
        ("run.device", "tpu", "expected auto, cpu, cuda or cuda:0, cuda:1, ..., got 'tpu'"),
        ("model.backbone", "resnet", "unknown 'resnet'; there are "),
        ("loss.form", "mine", "expected 'paper' or 'released', got 'mine'"),
        ("synthetic.images", 1, "expected at least 5, got 1"),
        ("anchors.scales", [8, -1], "expected finite numbers above 0, got -1.0"),
        ("optimizer.leaning_rate", 1.0, "unknown; there are"),
    ],
)
def test_senseless_values_are_refused(tmp_path: Path, key: str, value: object, reason: str):
    path = tmp_path / "bad.toml"
    tables.write_toml(path, tables.nested({key: value}))
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {key}: {reason}")
    with pytest.raises(InputError) as caught:
        load_config(None, {key: value}, origins={key: "--flag"})
    assert str(caught.value).startswith(f"--flag: {reason}")


def test_a_recipe_must_exist():
    message = r"^recipe: unknown 'Smal'; there are small, shapes, paper; did you mean small\?$"
    with pytest.raises(InputError, match=message):
        load_config(recipe="Smal")


def test_a_file_with_a_number_for_a_section_is_refused(tmp_path: Path):
    path = tmp_path / "bad.toml"
    path.write_text("data = 3\n")
    with pytest.raises(InputError, match=r"bad\.toml: data: expected a table, got 3"):
        load_config(path)


def test_a_library_caller_gets_a_value_error():
    with pytest.raises(ValueError, match="lr: expected a finite number above 0, got nan"):
        OptimizerConfig(lr=float("nan"))
    with pytest.raises(ValueError, match="steps: expected at least 1, got inf"):
        OptimizerConfig(steps=float("inf"))
    with pytest.raises(ValueError, match="seed: expected at least 0, got inf"):
        RunConfig(seed=float("inf"))


# --- resuming ------------------------------------------------------------------------------------

ORIGINS = {"optimizer.lr": "--lr", "run.threads": "--threads"}


def test_a_resumed_run_keeps_its_settings():
    stored = default_config(voc=False)
    same = {"optimizer.lr": stored.optimizer.lr, "anchors.scales": [2, 4, 8]}
    assert check_resumable(stored, same, "run", origins=ORIGINS) == stored


def test_a_resumed_run_may_move_to_another_machine():
    config = check_resumable(TrainConfig(), {"run.threads": 3}, "run", origins=ORIGINS)
    assert config == replace(TrainConfig(), run=replace(TrainConfig().run, threads=3))


def test_a_contradiction_is_named():
    message = r"^run/config\.toml: optimizer\.lr: is 0\.001, but --lr asks for 0\.5$"
    with pytest.raises(InputError, match=message):
        check_resumable(TrainConfig(), {"optimizer.lr": 0.5}, "run/config.toml", origins=ORIGINS)


def test_a_folder_of_annotations_is_a_data_set(tmp_path):
    folder = tmp_path / "data/annotations"
    for config in (
        load_config(None, {"data.annotation_folder": str(folder)}),
        load_config(None, {"data.annotation_folder": str(folder), "data.image_folder": "images"}),
    ):
        assert config.model.backbone == "squeezenet"  # the recipe for data of one's own
        assert config.data.voc == str(folder.parent)
    with pytest.raises(InputError, match="image_folder: needs the annotation_folder too"):
        load_config(None, {"data.image_folder": "images"})


def test_vocs_classes_by_one_word():
    assert load_config(None, {"data.classes": ["voc"]}).data.classes == VOC_CLASSES


@pytest.mark.parametrize("classes", [["cat", "cat"], [""], ["cat", " "]])
def test_names_of_classes_are_names_each_once(classes):
    with pytest.raises(InputError, match="classes: expected names, each once, got"):
        load_config(None, {"data.classes": classes})


# --- files and values that no run has ------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("optimizer.lr", 1e8, "expected at most 10, got 100000000.0"),
        ("optimizer.lr", 10**400, "expected a finite number, got a number of 1329 bits"),
        (
            "optimizer.steps",
            10**30,
            "expected at most 1,000,000,000, got 1000000",
        ),
        ("optimizer.steps", 1e30, "expected a whole number, got 1e+30"),
        ("optimizer.weight_decay", 2.0, "expected at most 1, got 2.0"),
        ("optimizer.bias_lr_multiplier", 1e6, "expected at most 1,000, got 1000000.0"),
        ("optimizer.clip_norm", 1e300, "expected at most 1e+30, got 1e+300"),
        ("run.seed", 2**63, "expected at most 9,223,372,036,854,775,807, got"),
        ("run.threads", 10**6, "expected at most 1,024, got 1000000"),
        ("run.validate_every", 10**10, "expected at most 1,000,000,000, got 10000000000"),
        ("sharing.post_nms", 10**10, "expected at most 1,000,000,000, got 10000000000"),
        ("proposals.pre_nms", 10**10, "expected at most 1,000,000,000, got 10000000000"),
        ("proposals.min_size", 1e300, "expected 0 to 1,000,000, got 1e+300"),
        ("sampling.batch_size", 10**10, "expected at most 1,000,000,000, got 10000000000"),
        ("regions.batch_size", 10**10, "expected at most 1,000,000,000, got 10000000000"),
        ("detections.max_detections", 10**10, "expected at most 1,000,000,000, got 10000000000"),
        ("labels.tie_tolerance", 2.0, "expected 0 to 1, got 2.0"),
        ("loss.balance", 1e300, "expected a positive number up to 1e+06, got 1e+300"),
        ("loss.n_cls", 10**10, "expected at most 1,000,000,000, got 10000000000"),
        ("synthetic.images", 10**9, "expected at most 1,000,000, got 1000000000"),
        ("synthetic.seed", -1, "expected at least 0, got -1"),
        ("synthetic.max_objects", 10**9, "expected at most 1,000, got 1000000000"),
        ("synthetic.image_size", [10**6, 10**6], "expected sides of at most 4096, got"),
        ("anchors.scales", [1.0] * 20_000, "expected at most 10,000 values, got 20,000"),
        ("model.weights", "x" * 5000, "expected at most 4,096 characters, none of them 0, got"),
        ("model.weights", "a\0b", "expected at most 4,096 characters, none of them 0, got"),
        ("model.weights", "\ud800", "expected at most 4,096 characters, none of them 0, got"),
        ("model.weights", ["a"] * 10**5, "expected a string, got ['a', "),
        ("loss.form", {"a": []}, "expected 'paper' or 'released', got {'a': []}"),
    ],
)
def test_values_that_no_run_has_are_refused(key: str, value: object, reason: str):
    with pytest.raises(InputError) as caught:
        load_config(None, {key: value})
    assert str(caught.value).startswith(f"settings: {key}: {reason}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kinds", [(1000, 1), (1, 1000), (32, 32)])
def test_a_cell_has_so_many_anchors_at_most(kinds):
    ratios, scales = ([1.0 + n / 1e4 for n in range(count)] for count in kinds)
    reason = r"anchors.ratios, anchors.scales: expected at most 1000 anchors at a cell, got 1024"
    values = {"anchors.ratios": ratios, "anchors.scales": scales}
    if len(ratios) * len(scales) == 1000:
        assert load_config(None, values).anchors.count == 1000
    else:
        with pytest.raises(InputError, match=reason):
            load_config(None, values)


def test_the_short_side_has_a_limit_and_the_long_side_needs_none():
    sides = {"resize.short_side": 1_000_000, "resize.max_side": 1_000_000}
    reason = r"resize\.short_side: expected at most 10,000, got 1000000"
    with pytest.raises(InputError, match=reason):
        load_config(None, sides)
    for no_limit in (1_000_000, 2**63 - 1):
        sides = {"resize.short_side": 600, "resize.max_side": no_limit}
        assert load_config(None, sides).resize.max_side == no_limit
    with pytest.raises(InputError, match=r"resize\.max_side: expected at most"):
        load_config(None, {"resize.max_side": 10**400})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"x = {'[' * 100_000}", "not TOML: nested too deep"),
        ("x = " + "{a = " * 100 + "1" + "}" * 100, "not TOML: nested deeper than 20 levels"),
        (f"x = {'[' * 100}{']' * 100}", "not TOML: nested deeper than 20 levels"),
        (f"[{'.'.join('a' * 60_000)}]", "not TOML: a line with more than 1000 dots"),
        (f"{'.'.join('a' * 60_000)} = 1", "not TOML: a line with more than 1000 dots"),
        (f"{'.'.join('a' * 900)} = 1", "not TOML: nested deeper than 20 levels"),
        (f"optimizer.lr = {'9' * 5000}", "not TOML: Exceeds the limit"),
        (f"optimizer.lr = 0x{'f' * 5000}", "optimizer.lr: expected a finite number, got"),
        (f"{'k' * 10**6} = 1", "kkkkk"),
        (f"# {'x' * 2**20}", "cannot read: more than 1,048,576 bytes, as no file of this kind has"),
        ('[anchors]\n"a.b" = 1', "anchors.a.b: unknown; there are "),
        ('[anchors]\n"a.b".c = 1', "anchors.a.b: unknown; there are "),
        ("[anchors.a]\nb = 1", "anchors.a: unknown; there are "),
        ('"" = 1', ": unknown; there are "),
        ("[[optimizer]]", "optimizer: expected a table, got [{}]"),
        ("run.seed = 1979-05-27", "run.seed: expected a whole number, got datetime.date("),
    ],
)
def test_a_file_that_no_run_has_is_one_line(tmp_path: Path, content: str, reason: str):
    path = tmp_path / "odd.toml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: {reason}")
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize("text", ["[" * 5000, ".".join("a" * 60_000), "7" * 5000, "1\n[a]", "{"])
def test_what_is_no_toml_is_a_string(text: str):
    assert tables.read_value(text, int) == text


def test_a_key_of_many_parts_is_unknown():
    with pytest.raises(InputError, match=r"^settings: a: unknown; there are data, "):
        load_config(None, {".".join("a" * 5000): 1})


def test_settings_that_are_no_table_are_one_line():
    with pytest.raises(InputError, match=r"^a\.npz: expected a table, got 5$"):
        tables.from_table(TrainConfig, 5, "a.npz")


def test_names_of_files_may_be_any_bytes(tmp_path: Path):
    config = load_config(None, {"data.voc": b"/data/\xff\xc3\xa9".decode(errors="surrogateescape")})
    save_config(tmp_path / "config.toml", config)
    assert b"/data/\xff\xc3\xa9" in (tmp_path / "config.toml").read_bytes()
    assert load_config(tmp_path / "config.toml") == config
