"""Broken files to every reader: each is read or refused, and nothing else happens.

`tests.attack.run` says what an attack is, and how to make one with a hundred thousand inputs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.inputs import Reader, input_of
from tests.attack.planted import PLANTED, SLOW
from tests.attack.readers import READERS
from tests.attack.run import attack as attack_here
from tests.attack.run import schedule

ROOT = Path(__file__).parents[2]
# Those that take milliseconds for a hundred inputs, and train nothing first.
QUICK = (
    "weights-",
    "annotation",
    "list",
    "settings",
    "results-",
    "from-json",
    "proposals",
    "unpack",
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the attack forks its workers")


def attack(*words: str) -> subprocess.CompletedProcess[str]:
    """Attack in a process of its own: forks of this one would have the threads of other tests."""
    command = [sys.executable, "-m", "tests.attack", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_few_hundred_inputs():
    done = attack("--only", *QUICK, "--inputs", "300", "--seed", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_thousands_of_inputs():
    done = attack("--inputs", "3000", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr


def planted(*names: str) -> str:
    """Return what an attack on planted readers prints, with one input for each."""
    words = ["--only", *names, "--inputs", str(len(names))]
    done = attack("--readers", "tests.attack.planted", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_what_is_planted_is_found():
    found = planted(*sorted(set(PLANTED) - SLOW))
    for name in set(PLANTED) - SLOW:
        assert f" x {PLANTED[name][1]} at " in found
        assert f"--again {name}:" in found


@pytest.mark.slow
def test_what_takes_too_long_is_found():
    found = planted(*sorted(SLOW))
    for name in SLOW:
        assert f" x {PLANTED[name][1]} at " in found
        assert f"--again {name}:" in found


def test_a_reader_that_refuses_is_not_accused():
    done = attack("--readers", "tests.attack.planted", "--only", "sound", "--inputs", "200")
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("sound "))
    assert int(row[1]) == int(row[2]) + int(row[3]) == 200
    assert int(row[2]) > 150


def test_a_sound_file_that_is_refused_stops_the_attack():
    """Broken files that come of it would be refused for the same reason, and find nothing."""

    def refuse(path):
        raise ValueError("never")

    reader = Reader("never", lambda: [b"sound"], ("bytes",), refuse)
    with pytest.raises(RuntimeError, match="never: sound file 0 is refused"):
        attack_here([reader], inputs=10, seed=0, seconds=10)


def test_inputs_are_made_of_name_and_number_alone():
    reader = next(one for one in READERS if one.name == "weights-torch")
    sound = reader.seeds()
    first, second = ([input_of(reader, sound, n, seed=5) for n in range(40)] for _ in range(2))
    assert [one.content for one in first] == [one.content for one in second]
    assert len({one.content for one in first}) > 30
    other = [input_of(reader, sound, n, seed=6) for n in range(40)]
    assert [one.content for one in first] != [one.content for one in other]


def test_every_reader_gets_inputs():
    inputs = schedule(READERS, 3000, seed=1)
    assert {position for position, _ in inputs} == set(range(len(READERS)))
    assert len(set(inputs)) == len(inputs)
