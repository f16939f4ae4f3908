"""Ask a function many questions, and say in plain words where its answer is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from minirpn.testing.words import difference, plain

Question = dict[str, Any]
"""The arguments of one call, by name, in the order in which they are passed."""


class CheckError(AssertionError):
    """A function gave a wrong answer; the message says to which question, and perhaps why."""

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the message, without the way to it."""
        return [f"not yet: {self}"]


@dataclass(frozen=True)
class Verdict:
    """What a check found where nothing was wrong; true if everything was answered.

    Parameters
    ----------
    function
        What was checked.
    questions
        How many answers were compared; 0 for a function that still returns ``...``.
    """

    function: str
    questions: int

    def __bool__(self) -> bool:
        return self.questions > 0

    def __repr__(self) -> str:
        if self:
            return f"✓ {self.function}: right in {self.questions} of {self.questions} questions"
        return f"○ {self.function} is open: put your code where it says `...`, and run both again"


@dataclass(frozen=True)
class Task:
    """What a function is asked, and what it should answer.

    Parameters
    ----------
    answer
        The right implementation.
    drawn
        Strategies for questions, the ordinary ones before the odd ones.
    probes
        Questions asked after those. A mistake is recognised if it gives the function's answers to
        all of them and to the counterexample.
    last
        Questions asked last, too odd to recognise a mistake by.
    mistakes
        Wrong implementations that people write; the docstring of each is the hint it deserves.
    keywords
        Names of arguments that are passed by keyword.
    reads
        Takes what is compared out of what the function returns.
    tell
        Describes a difference; see `minirpn.testing.words.difference`.
    picture
        Draws a question on new axes.
    """

    answer: Callable[..., Any]
    drawn: tuple[SearchStrategy[Question], ...]
    probes: tuple[Question, ...]
    last: tuple[Question, ...] = ()
    mistakes: tuple[Callable[..., Any], ...] = ()
    keywords: frozenset[str] = frozenset()
    reads: Callable[[Any], Any] = lambda result: result
    tell: Callable[[Question, Any, Any], str] = lambda question, got, right: difference(got, right)
    picture: Callable[[Question], Any] | None = None


class _Failure(str):
    """Words in the place of an answer: what went wrong when the function was called."""


class _CounterexampleError(Exception):
    """A question that is answered wrong, and how."""

    def __init__(self, question: Question, words: str) -> None:
        super().__init__(words)
        self.question, self.words = question, words


def examine(function: Callable[..., Any], task: Task, name: str | None = None) -> Verdict:
    """Ask every question of the task and return the verdict.

    Parameters
    ----------
    function
        What to check. While it returns ``...`` it is open, neither right nor wrong.
    task
        The questions and answers.
    name
        What to call the function; None for its own name.

    Raises
    ------
    CheckError
        An answer is wrong, the function raises, or it modifies its inputs. The counterexample is
        the smallest one that Hypothesis finds; it is always the same one.
    """
    name = name or str(getattr(function, "__name__", "your function"))
    if ask(function, task.probes[0], task) is ...:
        return Verdict(name, 0)
    asked = 0

    def trial(question: Question) -> None:
        nonlocal asked
        asked += 1
        got = ask(function, question, task)
        right = task.reads(task.answer(**question))
        words = str(got) if isinstance(got, _Failure) else task.tell(question, got, right)
        if words:
            raise _CounterexampleError(question, words)

    try:
        for strategy in task.drawn:
            _search(strategy, trial)
        for question in task.probes + task.last:
            trial(question)
    except _CounterexampleError as wrong:
        _show(task, wrong.question)
        message = f"{name}: for {plain(wrong.question)}: {wrong.words}"
        raise CheckError(message + _hint(function, task, wrong.question)) from None
    except Flaky:
        raise CheckError(f"{name} gives different answers to the same question") from None
    return Verdict(name, asked)


def ask(function: Callable[..., Any], question: Question, task: Task) -> Any:
    """Return the function's answer to a question, or a `_Failure`; ``...`` if it is open."""
    copies = {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in question.items()
    }
    by_keyword = {name: copies[name] for name in question if name in task.keywords}
    by_place = [copies[name] for name in question if name not in task.keywords]
    try:
        with np.errstate(all="ignore"):
            result = function(*by_place, **by_keyword)
            if result is ... or (isinstance(result, tuple) and any(part is ... for part in result)):
                return ...
            answer = _as_arrays(task.reads(result))
    except Exception as error:
        return _Failure(f"yours raises {type(error).__name__}: {error}")
    arrays = answer.values() if isinstance(answer, dict) else (answer,)
    if any(array.dtype.kind not in "biuf" for array in arrays):
        return _Failure(f"yours gives {result!r}, where numbers are expected")
    for name, value in question.items():
        if isinstance(value, np.ndarray) and not np.array_equal(value, copies[name]):
            return _Failure(f"yours changes its argument {name}")
    return answer


def _as_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: np.asarray(part) for name, part in value.items()}
    return np.asarray(value)


def _search(strategy: SearchStrategy[Question], trial: Callable[[Question], None]) -> None:
    """Let Hypothesis look for a question that is answered wrong, and make it small."""
    careful = settings(
        database=None,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    careful(given(strategy)(lambda question: trial(question)))()


def _hint(function: Callable[..., Any], task: Task, counterexample: Question) -> str:
    """Return the hint of the mistake that answers as the function does; "" if there is none."""
    questions = (counterexample, *task.probes)
    given_answers = [ask(function, question, task) for question in questions]
    for mistake in task.mistakes:
        answers = [ask(mistake, question, task) for question in questions]
        if all(map(_alike, answers, given_answers)):
            return f". {mistake.__doc__}"
    return ""


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, _Failure) or isinstance(other, _Failure):
        return str(one) == str(other)
    return not difference(one, other)


def _show(task: Task, question: Question) -> None:
    """Draw the question, where this runs in a notebook."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    if task.picture is None or not hasattr(shell, "kernel"):
        return
    from IPython.display import display

    display(task.picture(question).figure)
