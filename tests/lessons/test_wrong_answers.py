"""Every chapter's checks: a wrong answer is told shortly, with the hint that its author needs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from minirpn.lessons import CHAPTERS, Chapter, NotYet

MOST = 240  # characters of what is said, the words around the message included
TABLES = {path.stem[9:]: path for path in Path(__file__).parent.glob("wrong_[0-9][0-9]_*.py")}


def wrong_of(name):
    number = f"{[chapter.name for chapter in CHAPTERS].index(name):02}"
    return import_module(f"tests.lessons.wrong_{number}_{name}").WRONG


CASES = [
    pytest.param(name, exercise, answer, words, id=f"{name}-{exercise}-{k}")
    for name in sorted(TABLES)
    for exercise, answers in wrong_of(name).items()
    for k, (answer, words) in enumerate(answers)
]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "exercise", "answer", "words"), CASES)
def test_a_wrong_answer_is_told_shortly_and_with_its_hint(name, exercise, answer, words):
    answer.__name__ = exercise
    verdict = Chapter(name).check(answer)
    assert isinstance(verdict, NotYet)
    assert not verdict
    assert words in repr(verdict)
    assert len(repr(verdict)) <= MOST, repr(verdict)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_every_exercise_has_a_check_and_wrong_answers(chapter):
    checks = import_module(f"minirpn.lessons.{chapter.name}").CHECKS
    assert tuple(checks) == chapter.exercises
    assert tuple(wrong_of(chapter.name)) == chapter.exercises
    assert all(wrong_of(chapter.name).values())


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_nothing_is_right_that_returns_nothing(chapter):
    for exercise in chapter.exercises:

        def nothing(*arguments, **options):
            return None

        nothing.__name__ = exercise
        assert isinstance(Chapter(chapter.name).check(nothing), NotYet)
