"""Ask a function many questions, and find the smallest one that it answers wrongly.

From top to bottom: what comes out, the stages in which questions are asked, what an exercise is,
`examine` and how it asks.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from minirpn.testing.storage import copy_of, is_plain, on_host, plain_copy, storage
from minirpn.testing.words import arguments, difference
from minirpn.text import elided

_MOST_CHARACTERS = 200  # of a message, in front of an option
_MOST_OF_A_FAILURE = 120
_LEAST_ROOM = 30  # for the question, after a long hint

Question = dict[str, Any]
"""The arguments of one call, by name, in the order in which they are passed."""
Mistakes = dict[str, Callable[..., Any]]
"""Wrong implementations by the hint for their author: equal answers mean the same mistake."""
Answers = dict[str, np.ndarray]
"""What a function or a pair of them returns, by name."""


class CheckError(AssertionError):
    """A function gave a wrong answer. The message says to which question, and perhaps why.

    Attributes
    ----------
    arguments
        The counterexample: the arguments under the names that the check's page has, in their
        order; empty if there is none. For a function with these names the call can be made again
        by ``f(**error.arguments)``. Of a pair they are those of the forward, and ``dy``.
    hint
        Why, where the mistake is a known one; else an empty string.
    option
        The option of the check under which the function is right, ``name=value``; else empty.
    """

    def __init__(
        self,
        message: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        hint: str = "",
        option: str = "",
        draw: Callable[[Question], Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.arguments: Question = dict(arguments or {})
        self.hint = hint
        self.option = option
        self._draw = draw

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the message, without the stack, below a picture."""
        self.show_picture()
        return [f"not yet: {self}"]

    def show_picture(self) -> None:
        """Show the counterexample in a notebook, once, if it can be drawn."""
        if self._draw is not None and self.arguments:
            from IPython.display import display

            display(self._draw(self.arguments).figure)
            self._draw = None  # notebooks ask twice


class FormError(Exception):
    """What a function returns has another form than the one that the check reads."""


@dataclass(frozen=True)
class Verdict:
    """The result of a check that found nothing wrong; true if everything was answered.

    Parameters
    ----------
    function
        What was checked.
    questions
        How many answers were compared; 0 for a function that still returns ``...``.
    refused
        How arrays were held that the function does not take, though it is right on plain copies.
    """

    function: str
    questions: int
    refused: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.questions > 0

    def __and__(self, other: Verdict) -> Verdict:
        """Return the verdict on both functions, open if one of them is."""
        questions = self.questions + other.questions if self and other else 0
        refused = tuple(dict.fromkeys(self.refused + other.refused))
        return Verdict(f"{self.function} and {other.function}", questions, refused)

    def __repr__(self) -> str:
        if not self:
            return f"○ {self.function} is open: put your code where it says `...`, and run it again"
        but = f"; raises for arrays that are {' or '.join(self.refused)}" if self.refused else ""
        return f"✓ {self.function}: right in {self.questions} of {self.questions} questions{but}"


class _CounterexampleError(Exception):
    """A question that got a wrong answer, and what is wrong with it."""

    def __init__(self, question: Question, failure: _Failure) -> None:
        super().__init__(str(failure))
        self.question, self.failure = question, failure


Trial = Callable[[Question], None]
"""Asks one question; raises `_CounterexampleError` if the answer is wrong."""


class Stage(Protocol):
    """Some of the questions of an exercise."""

    def ask(self, trial: Trial) -> None:
        """Ask them; raise the smallest question that got a wrong answer."""


_FOR_A_CONTRACT = ContextVar("for_a_contract", default=False)
"""Whether it only matters if the function passes: a wrong one is not made small nor explained."""


@dataclass(frozen=True)
class Drawn:
    """Questions that Hypothesis draws, and makes smaller when one of them gets a wrong answer."""

    strategy: SearchStrategy[Question]
    examples: int = 100

    def ask(self, trial: Trial) -> None:
        """Ask as many as there are examples, the same ones in every run."""
        careful = settings(
            database=None,
            deadline=None,
            derandomize=True,
            max_examples=self.examples,
            phases=(Phase.generate,) if _FOR_A_CONTRACT.get() else (Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        careful(given(self.strategy)(lambda question: trial(question)))()


@dataclass(frozen=True)
class Asked:
    """Questions written down."""

    questions: Sequence[Question]

    def ask(self, trial: Trial) -> None:
        """Ask them in order."""
        for question in self.questions:
            trial(question)


@dataclass(frozen=True)
class Grown:
    """Questions of many sizes, for what only shows in large ones.

    Parameters
    ----------
    make
        Returns the question of a size; a smaller one should be the beginning of a larger one.
    sizes
        Sizes to ask for, rising.
    """

    make: Callable[[int], Question]
    sizes: Sequence[int]

    def ask(self, trial: Trial) -> None:
        """Ask for every size; halve the step below a wrong one down to the smallest."""
        right = self.sizes[0] - 1
        for size in self.sizes:
            wrong = self._wrong_at(size, trial)
            if wrong is None:
                right = size
                continue
            while size - right > 1:
                middle = (right + size) // 2
                smaller = self._wrong_at(middle, trial)
                if smaller is None:
                    right = middle
                else:
                    size, wrong = middle, smaller
            raise wrong

    def _wrong_at(self, size: int, trial: Trial) -> _CounterexampleError | None:
        try:
            trial(self.make(size))
        except _CounterexampleError as wrong:
            return wrong
        return None


@dataclass(frozen=True)
class Exercise:
    """What a function is asked, and what it should answer.

    Parameters
    ----------
    answer
        The right implementation.
    plainly
        Whether it gets plain copies of the arrays; see `storage.plain_copy`. Else it gets them as
        they are held, as the function does.
    stages
        All questions, in the order in which they are asked: ordinary ones before odd ones, so that
        the counterexample is an ordinary one where it can be, and those where authors may differ
        in good faith (ties) last.
    probes
        Questions that tell mistakes apart; a mistake is recognised if it gives the function's
        answers to all of them and to the counterexample. They are asked after the first stage.
    mistakes
        Wrong implementations that people write, by the hint for each.
    keywords
        Names of arguments that are passed by keyword.
    unseen
        Names of arguments that the function does not get, and messages do not show.
    read
        Takes what is compared out of what the function returns.
    describe
        Says how an answer differs from the right one; see `difference`.
    draw
        Draws a question on new axes.
    telling
        Whether the questions tell mistakes apart one by one: then a function with several mistakes
        gets the hint of the one that explains the counterexample, and more of the probes than any
        other that does.
    """

    answer: Callable[..., Any]
    stages: tuple[Stage, ...]
    probes: tuple[Question, ...]
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    keywords: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()
    read: Callable[[Any], Any] = lambda result: result
    describe: Callable[[Question, Any, Any], str] = lambda question, got, right: difference(
        got, right, single=_in_single(question)
    )
    draw: Callable[[Question], Any] | None = None
    plainly: bool = True
    telling: bool = False

    def right_for(self, question: Question) -> Any:
        """Return the right answer to a question."""
        copy = plain_copy if self.plainly else copy_of
        return self.read(self.answer(**{name: copy(part) for name, part in question.items()}))


def _in_single(question: Question) -> bool:
    """Return whether a question has numbers in float32 or less."""
    arrays = (value for value in question.values() if isinstance(value, np.ndarray))
    return any(array.dtype.kind == "f" and array.dtype.itemsize < 8 for array in arrays)


@dataclass(frozen=True)
class _Failure:
    """Takes the place of an answer: what went wrong when the function was called."""

    words: str
    error: BaseException | None = None

    def __str__(self) -> str:
        return self.words


Contracts = Mapping[str, Callable[[], Verdict]]
"""Options of a check under which a function may be right, each with the check under that option."""


def examine(
    function: Callable[..., Any],
    exercise: Exercise,
    name: str | None = None,
    contracts: Contracts | None = None,
) -> Verdict:
    """Ask every question of the exercise and return the verdict.

    Parameters
    ----------
    function
        What to check. While it returns ``...`` it is open, neither right nor wrong.
    exercise
        The questions and answers.
    name
        What to call the function; None for its own name.
    contracts
        Asked for a function that is wrong: an option under which it is right is named.

    Raises
    ------
    CheckError
        An answer is wrong, the function raises, or it modifies its inputs. The counterexample is
        the smallest one found; it is always the same one.
    """
    name = name or str(getattr(function, "__name__", "your function"))
    if ask(function, exercise.probes[0], exercise) is ...:
        return Verdict(name, 0)
    asked = 0
    refused: dict[str, None] = {}

    def trial(question: Question) -> None:
        nonlocal asked
        asked += 1
        right = exercise.right_for(question)
        got = ask(function, question, exercise, right)
        odd = exercise.plainly and not all(map(is_plain, question.values()))
        if isinstance(got, _Failure) and got.error and odd:
            # An author's library may not take such arrays; what counts is the answer.
            refused.update(dict.fromkeys(filter(None, map(_held, question.values()))))
            question = {name: plain_copy(value) for name, value in question.items()}
            got = ask(function, question, exercise, right)
        if not isinstance(got, _Failure):
            got = _Failure(exercise.describe(question, got, right))
        if got.words:
            raise _CounterexampleError(question, got)

    first, *others = exercise.stages
    try:
        for stage in (first, Asked(exercise.probes), *others):
            stage.ask(trial)
    except _CounterexampleError as wrong:
        if _FOR_A_CONTRACT.get():
            raise CheckError(str(wrong)) from None
        raise _error(name, function, exercise, wrong, contracts or {}) from wrong.failure.error
    except Flaky:
        raise CheckError(f"{name} gives different answers to the same question") from None
    return Verdict(name, asked, tuple(refused))


def _held(value: Any) -> str:
    """Return what is odd about an array: its dtype, or else its layout."""
    return "" if is_plain(value) else storage(value).partition(",")[0]


def _error(
    name: str,
    function: Callable[..., Any],
    exercise: Exercise,
    wrong: _CounterexampleError,
    contracts: Contracts,
) -> CheckError:
    """Return the error for a counterexample, with the hint and the option, if there are any.

    What a reader needs first comes first, and all of it fits on two lines: the hint, whole, and
    as much of the question as there is room for.
    """
    seen = {name: part for name, part in wrong.question.items() if name not in exercise.unseen}
    hint = _hint(function, exercise, wrong.question)
    option = next((option for option, check in contracts.items() if _passes(check)), "")
    failure = elided(str(wrong.failure), _MOST_OF_A_FAILURE)
    start = f"{name}: {hint} For" if hint else f"{name}: for"
    room = _MOST_CHARACTERS - len(f"{start} : {failure}")
    message = f"{start} {elided(arguments(seen, room), max(room, _LEAST_ROOM))}: {failure}"
    if option:
        message += f". With {option} it is right: pass that to the check if you mean it."
    copies = {name: copy_of(part) for name, part in seen.items()}
    return CheckError(message, arguments=copies, hint=hint, option=option, draw=exercise.draw)


def _passes(check: Callable[[], Verdict]) -> bool:
    """Return whether a check finds nothing wrong; it does not look for a small counterexample."""
    before = _FOR_A_CONTRACT.set(True)
    try:
        return bool(check())
    except CheckError:
        return False
    finally:
        _FOR_A_CONTRACT.reset(before)


def ask(
    function: Callable[..., Any], question: Question, exercise: Exercise, right: Any = None
) -> Any:
    """Return the function's answer to a question, or a `_Failure`; ``...`` if it is open.

    Parameters
    ----------
    function, question, exercise
        What is asked.
    right
        The right answer; an empty list in place of an empty array gets its shape.
    """
    copies = {name: copy_of(value) for name, value in question.items()}
    by_keyword = {name: copies[name] for name in question if name in exercise.keywords}
    by_place = [copies[name] for name in question if name not in exercise.keywords]
    try:
        with np.errstate(all="ignore"):
            result = function(*by_place, **by_keyword)
            if result is ... or (isinstance(result, tuple) and any(part is ... for part in result)):
                return ...
            answer = _as_arrays(exercise.read(result), right)
    except FormError as error:
        return _Failure(_change(question, copies) or f"yours {error}")
    except (Exception, SystemExit) as error:
        return _Failure(_words_of(error, function, question, exercise.keywords), error)
    change = _change(question, copies)
    return _Failure(change) if change else answer


def _change(question: Question, copies: Question) -> str:
    """Return in words which argument a function changed; an empty string if none."""
    for name, value in question.items():
        parts, after = (
            array if isinstance(array, dict) else {"": array} for array in (value, copies[name])
        )
        for key, part in parts.items():
            kept = key in after and np.array_equal(part, after[key])
            if isinstance(part, np.ndarray) and not kept:
                return f"yours changes its argument {name}" + (f"[{key!r}]" if key else "")
    return ""


def _words_of(
    error: BaseException,
    function: Callable[..., Any],
    question: Question,
    keywords: frozenset[str],
) -> str:
    """Return what a function raised, and where: a wrong call is not its author's line."""
    line = _line_of(error)
    if line or not isinstance(error, TypeError):
        said = f": {error}" if str(error) else ""
        return f"yours raises {type(error).__name__}{said}{line}"
    if getattr(function, "__module__", "").startswith("minirpn.testing"):
        return f"yours cannot be called: {error}"  # one of a pair
    names = ", ".join(f"{name}=..." if name in keywords else name for name in question)
    return f"yours cannot be called as f({names}): {error}"


def _line_of(error: BaseException) -> str:
    """Return the last line outside of this package and of installed ones, where it was raised."""
    kit = str(Path(__file__).parent)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(kit) and "site-packages" not in frame.filename
    ]
    if not frames:
        return ""
    last = frames[-1]
    code = linecache.getline(last.filename, last.lineno or 0).strip()
    return f" (line {last.lineno} of {Path(last.filename).name}: `{code}`)" if code else ""


def _as_arrays(value: Any, right: Any) -> Any:
    """Return what was answered as arrays of numbers, by name where the right answer has names.

    An empty list has no shape, and gets the right one.

    Raises
    ------
    FormError
        It is something else.
    """
    if isinstance(value, dict) != isinstance(right, dict) and right is not None:
        kind = "a dictionary" if isinstance(value, dict) else _kind(value)
        raise FormError(f"gives {kind}, expected {_kind(right)}")
    if isinstance(value, dict):
        rights = right if isinstance(right, dict) else {}
        return {name: _as_arrays(part, rights.get(name)) for name, part in value.items()}
    array = as_numbers(value)
    if isinstance(value, list | tuple) and array.size == 0 and np.size(right) == 0:
        return np.asarray(right)
    return array


def _kind(value: Any) -> str:
    return "a dictionary" if isinstance(value, dict) else "numbers"


def as_numbers(value: Any) -> np.ndarray:
    """Return numbers in any form (a list, a tensor) as an array.

    Raises
    ------
    FormError
        They are no numbers, or the rows of a list are not equally long.
    """
    try:
        array = np.asarray(on_host(value))
    except ValueError:
        if isinstance(value, tuple):
            raise FormError(f"returns a tuple of {len(value)}, expected one array") from None
        raise FormError(f"gives {value!r}: its rows are not equally long") from None
    if array.dtype.kind not in "biuf":
        raise FormError(f"gives {value!r}, where numbers are expected")
    return array


def _hint(function: Callable[..., Any], exercise: Exercise, counterexample: Question) -> str:
    """Return the hint of the mistake with the same answers as the function; "" if there is none."""
    questions = (counterexample, *exercise.probes)
    rights = [exercise.right_for(question) for question in questions]
    asked = list(zip(questions, rights, strict=True))
    given_answers = [ask(function, question, exercise, right) for question, right in asked]
    fails_always = all(isinstance(answer, _Failure) for answer in given_answers)
    explaining: dict[str, int] = {}  # hint -> how many questions the mistake answers alike
    for hint, mistake in exercise.mistakes.items():
        answers = [ask(mistake, question, exercise, right) for question, right in asked]
        alike = list(map(_alike, given_answers, answers, questions))
        if fails_always:
            is_same = list(map(str, answers)) == list(map(str, given_answers))
        else:
            is_same = all(alike)
        if is_same:
            return hint
        if not fails_always and alike[0]:
            explaining[hint] = sum(alike)
    best = [hint for hint, count in explaining.items() if count == max(explaining.values())]
    return best[0] if exercise.telling and len(best) == 1 else ""


def _alike(one: Any, other: Any, question: Question) -> bool:
    if isinstance(one, _Failure) and isinstance(other, _Failure):
        return bool(one.error and other.error) or one.words == other.words
    if isinstance(one, _Failure) or isinstance(other, _Failure):
        return False
    return not difference(one, other, single=_in_single(question))


def expect_one_of(name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raise ValueError, with the name and what there is, if an option has no such value."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, allowed))}, got {value!r}")


def spoiled(right: Callable[..., Any], /, **options: dict[Any, str]) -> Mistakes:
    """Return the mistakes that a right implementation makes with other options.

    For each option a dictionary: its value -> the hint.
    """
    return {
        hint: partial(right, **{option: value})
        for option, hints in options.items()
        for value, hint in hints.items()
    }
