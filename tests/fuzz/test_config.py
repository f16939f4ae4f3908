"""Damaged settings: a configuration comes back, or one clear line; never anything else."""

from __future__ import annotations

import copy
import datetime

import pytest

from minirpn.training.config import default_config, load_config, save_config
from minirpn.training.tables import flat, nested, read_toml, to_table, write_toml

TRIALS = 1500

ODD_VALUES = (
    True, 0, -1, 1, 10**30, -0.5, 1e308, float("nan"), float("inf"), "", "none", "x" * 5000, "\0",
    "tiny\n", [], [[]], [0.0], ["a"], [1, 2, 3], [True], {}, {"a": 1}, {"none": "none"},
    datetime.date(2015, 6, 4), datetime.time(1, 2),
)  # fmt: skip


@pytest.fixture
def check(tmp_path, one_line, monkeypatch):
    """Tell whether a settings file is taken; if so, it is written and read back unchanged."""
    monkeypatch.setattr("minirpn.files.os.fsync", lambda handle: None)

    def load(path) -> bool:
        again = tmp_path / "again.toml"

        def there_and_back() -> None:
            config = load_config(path)
            save_config(again, config)
            assert load_config(again) == config

        return one_line(there_and_back, f"{path}: ")

    return load


@pytest.mark.slow
@pytest.mark.parametrize("voc", [True, False])
def test_damaged_text(voc, tmp_path, mutate, times, check):
    path = tmp_path / "config.toml"
    save_config(path, default_config(voc=voc))
    content = path.read_bytes()
    taken = 0
    for _ in range(times(TRIALS)):
        path.write_bytes(mutate(content))
        taken += check(path)
    assert 0 < taken < times(TRIALS)


@pytest.mark.slow
def test_values_of_any_kind_in_any_place(tmp_path, rng, times, check):
    path = tmp_path / "config.toml"
    table = to_table(default_config(voc=False))
    keys = [*flat(table), *table, "unknown", "data.unknown"]
    taken = 0
    for _ in range(times(TRIALS)):
        changed = copy.deepcopy(table)
        for _ in range(int(rng.integers(1, 3))):
            *sections, name = keys[int(rng.integers(len(keys)))].split(".")
            inner = changed
            for section in sections:
                inner = inner[section] if isinstance(inner.get(section), dict) else {}
            inner[name] = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
        write_toml(path, changed)
        taken += check(path)
    assert 0 < taken < times(TRIALS)


def test_the_sound_file_is_taken(tmp_path, check):
    path = tmp_path / "config.toml"
    write_toml(path, nested(flat(to_table(default_config(voc=True)))))
    assert read_toml(path)
    assert check(path)
