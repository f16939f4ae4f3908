"""Ask a function many questions, and say in plain words where its answer is wrong.

From top to bottom: what an exercise is, `examine` and how it asks, `check_equal` (the simplest of
all checks), what checks of a forward and its backward share, numbers in words, a picture.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

Question = dict[str, Any]
"""The arguments of one call, by name, in the order in which they are passed."""
Mistakes = dict[str, Callable[..., Any]]
"""Wrong implementations by the hint for their author: equal answers mean the same mistake."""
Answers = dict[str, np.ndarray]
"""What a function or a pair of them returns, by name."""


class CheckError(AssertionError):
    """A function gave a wrong answer. The message says to which question, and perhaps why."""

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the message, without the stack."""
        return [f"not yet: {self}"]


@dataclass(frozen=True)
class Verdict:
    """The result of a check that found nothing wrong; true if everything was answered.

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

    def __and__(self, other: Verdict) -> Verdict:
        """Return the verdict on both functions, open if one of them is."""
        questions = self.questions + other.questions if self and other else 0
        return Verdict(f"{self.function} and {other.function}", questions)

    def __repr__(self) -> str:
        if self:
            return f"✓ {self.function}: right in {self.questions} of {self.questions} questions"
        return f"○ {self.function} is open: put your code where it says `...`, and run both again"


@dataclass(frozen=True)
class Exercise:
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
        Wrong implementations that people write, by the hint for each.
    keywords
        Names of arguments that are passed by keyword.
    read
        Takes what is compared out of what the function returns.
    describe
        Says how an answer differs from the right one; see `difference`.
    draw
        Draws a question on new axes.
    """

    answer: Callable[..., Any]
    drawn: tuple[SearchStrategy[Question], ...]
    probes: tuple[Question, ...]
    last: tuple[Question, ...] = ()
    mistakes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    keywords: frozenset[str] = frozenset()
    read: Callable[[Any], Any] = lambda result: result
    describe: Callable[[Question, Any, Any], str] = lambda question, got, right: difference(
        got, right
    )
    draw: Callable[[Question], Any] | None = None


class _Failure(str):
    """Takes the place of an answer: what went wrong when the function was called."""


class _CounterexampleError(Exception):
    """A question that got a wrong answer, and what is wrong with it."""

    def __init__(self, question: Question, words: str) -> None:
        super().__init__(words)
        self.question, self.words = question, words


def examine(function: Callable[..., Any], exercise: Exercise, name: str | None = None) -> Verdict:
    """Ask every question of the exercise and return the verdict.

    Parameters
    ----------
    function
        What to check. While it returns ``...`` it is open, neither right nor wrong.
    exercise
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
    if ask(function, exercise.probes[0], exercise) is ...:
        return Verdict(name, 0)
    asked = 0

    def trial(question: Question) -> None:
        nonlocal asked
        asked += 1
        got = ask(function, question, exercise)
        right = exercise.read(exercise.answer(**question))
        words = str(got) if isinstance(got, _Failure) else exercise.describe(question, got, right)
        if words:
            raise _CounterexampleError(question, words)

    try:
        for strategy in exercise.drawn:
            _search(strategy, trial)
        for question in exercise.probes + exercise.last:
            trial(question)
    except _CounterexampleError as wrong:
        _show(exercise, wrong.question)
        message = f"{name}: for {plain(wrong.question)}: {wrong.words}"
        raise CheckError(message + _hint(function, exercise, wrong.question)) from None
    except Flaky:
        raise CheckError(f"{name} gives different answers to the same question") from None
    return Verdict(name, asked)


def ask(function: Callable[..., Any], question: Question, exercise: Exercise) -> Any:
    """Return the function's answer to a question, or a `_Failure`; ``...`` if it is open."""
    copies = {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in question.items()
    }
    by_keyword = {name: copies[name] for name in question if name in exercise.keywords}
    by_place = [copies[name] for name in question if name not in exercise.keywords]
    try:
        with np.errstate(all="ignore"):
            result = function(*by_place, **by_keyword)
            if result is ... or (isinstance(result, tuple) and any(part is ... for part in result)):
                return ...
            answer = _as_arrays(exercise.read(result))
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
    """Let Hypothesis look for a question that gets a wrong answer, and make it small."""
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


def _hint(function: Callable[..., Any], exercise: Exercise, counterexample: Question) -> str:
    """Return the hint of the mistake with the same answers as the function; "" if there is none."""
    questions = (counterexample, *exercise.probes)
    given_answers = [ask(function, question, exercise) for question in questions]
    for hint, mistake in exercise.mistakes.items():
        answers = [ask(mistake, question, exercise) for question in questions]
        if all(map(_alike, answers, given_answers)):
            return f". {hint}"
    return ""


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, _Failure) or isinstance(other, _Failure):
        return str(one) == str(other)
    return not difference(one, other)


def _show(exercise: Exercise, question: Question) -> None:
    """Draw the question if this runs in a notebook."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    if exercise.draw is None or not hasattr(shell, "kernel"):
        return
    from IPython.display import display

    display(exercise.draw(question).figure)


def check_equal(
    f: Callable[..., Any], reference: Callable[..., Any], *calls: tuple[Any, ...]
) -> Verdict:
    """Check that `f` answers as `reference` does.

    Parameters
    ----------
    f
        While it returns ``...`` it is open, neither right nor wrong.
    reference
        The right answers.
    calls
        The arguments of each call, at least one tuple.

    Raises
    ------
    CheckError
        They differ; the message says for which arguments.

    Examples
    --------
    >>> check_equal(lambda x: x * x, lambda x: x**2, (1.0,), (3.0,))
    ✓ <lambda>: right in 2 of 2 questions
    """
    names = list(inspect.signature(reference).parameters)
    questions = tuple(dict(zip(names, arguments, strict=False)) for arguments in calls)
    return examine(f, Exercise(answer=reference, drawn=(), probes=questions))


def reveal(guess: Any, truth: Any, unit: str = "") -> str:
    """Return a sentence that compares a guess with the truth; the guess may be ``...``."""
    answer = f"{plain(truth)} {unit}".rstrip()
    if guess is ...:
        return f"It is {answer}. (No guess yet: a wrong one teaches more than none.)"
    if plain(guess) == plain(truth):
        return f"You guessed it: {answer}."
    return f"You guessed {plain(guess)}; it is {answer}."


def spoiled(right: Callable[..., Any], /, **options: dict[Any, str]) -> Mistakes:
    """Return the mistakes that a right implementation makes with other options.

    For each option a dictionary: its value -> the hint.
    """
    return {
        hint: partial(right, **{option: value})
        for option, hints in options.items()
        for value, hint in hints.items()
    }


def by_name(result: Any, names: Sequence[str]) -> Answers:
    """Return the parts of a dictionary, of a tuple, or the one array that `result` is, by name."""
    if isinstance(result, dict):
        return {name: result[name] for name in names}
    parts = result if isinstance(result, tuple) else (result,)
    return dict(zip(names, parts, strict=True))


def answers_of(
    result: Any, backward: Callable[..., Any] | None, dy: Answers, gradients: Sequence[str]
) -> Any:
    """Return the outputs of a forward and the gradients of its backward by name, or ``...``.

    Parameters
    ----------
    result
        What the forward has returned: the outputs and a cache, or the outputs alone where no
        backward follows.
    backward
        Called with the gradients by the outputs and the cache; None for no gradients.
    dy
        The gradient by each output. Outputs of other shapes get no gradients.
    gradients
        The names of what the backward returns.
    """
    if result is ...:
        return ...
    first = result[0] if len(dy) > 1 else result
    without_cache = backward is None and not isinstance(first, tuple)
    outputs, cache = (result, None) if without_cache else result
    if outputs is ...:
        return ...
    answers = by_name(outputs, list(dy))
    shapes_fit = all(np.shape(answers[name]) == dy[name].shape for name in dy)
    if backward is None or not shapes_fit:
        return answers
    grads = backward(*dy.values(), cache)
    return ... if grads is ... else answers | by_name(grads, gradients)


def examine_pair(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    both: Callable[..., Any],
    exercise: Exercise,
    outputs: Sequence[str] = ("y",),
) -> Verdict:
    """Ask `both`, which calls the two, and compare the outputs alone where there is no backward."""

    def outputs_of(whole: Callable[..., Answers]) -> Callable[..., Answers]:
        return lambda *question, **named: by_name(whole(*question, **named), outputs)

    names = [getattr(function, "__name__", "yours") for function in (forward, backward) if function]
    if backward is None:
        mistakes = {hint: outputs_of(wrong) for hint, wrong in exercise.mistakes.items()}
        exercise = replace(exercise, answer=outputs_of(exercise.answer), mistakes=mistakes)
    return examine(both, exercise, " and ".join(names))


_MOST_ROWS = 8
_LARGEST_IN_FULL = 1e12


def plain(value: Any) -> str:
    """Return a number, an array or anything else as one short line.

    Examples
    --------
    >>> plain(np.array([[0.0, 0, 1, 0.3333333]]))
    '[[0, 0, 1, 0.3333]]'
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} = {plain(part)}" for name, part in value.items())
    if isinstance(value, bool | np.bool_ | str) or value is None:
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(plain(part) for part in value)})"
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "iuf":
        number = float(array[()])
        whole = number.is_integer() and abs(number) < _LARGEST_IN_FULL
        return f"{number:.0f}" if whole else f"{number:.4g}"
    if array.dtype.kind not in "biuf":
        return repr(value)
    rows = [plain(row[()] if row.ndim == 0 else row) for row in array[:_MOST_ROWS]]
    if len(array) > _MOST_ROWS:
        rows.append(f"... {len(array) - _MOST_ROWS} more")
    return f"[{', '.join(rows)}]"


def difference(got: Any, expected: Any) -> str:
    """Return how an answer differs from the right one; an empty string if it does not.

    Numbers are equal up to the rounding of the dtype they came in, NaN to NaN.

    Parameters
    ----------
    got, expected
        Numbers, arrays, or dictionaries of them, of which the right one lists the names.
    """
    if isinstance(expected, dict):
        # A forward of the wrong shape has no gradients: what is there is compared.
        parts = (
            (name, difference(got[name], right)) for name, right in expected.items() if name in got
        )
        return next((f"{name}: {words}" for name, words in parts if words), "")
    mine, right = np.asarray(got), np.asarray(expected)
    if mine.shape != right.shape:
        return f"yours has the shape {mine.shape}, expected {right.shape}"
    rounding = 1e-9 if mine.dtype.kind != "f" or mine.dtype.itemsize == 8 else 1e-4
    wrong = ~np.isclose(mine, right, rtol=rounding, atol=rounding, equal_nan=True)
    if not wrong.any():
        return ""
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    where = f"at {plain(list(place))} " if mine.size > 1 else ""
    return f"{where}yours gives {plain(mine[place])}, expected {plain(right[place])}"


_NAMES = {"a": "a", "b": "b", "anchors": "anchor", "boxes": "box", "gt_boxes": "object"}
_MARGIN = 1  # pixel


def draw_boxes_of(question: Question) -> Any:
    """Return axes with all boxes of a question, named in the legend and numbered.

    Each list is drawn thinner than the one before, so that equal boxes are both seen.
    """
    from minirpn.viz.images import draw_boxes, pixel_axes
    from minirpn.viz.style import CYCLE, GREY, new_axes

    ax = new_axes((4.5, 4.5))
    lists = {name: np.atleast_2d(question[name]) for name in _NAMES if name in question}
    everything = np.concatenate(list(lists.values()))
    if "image_size" in question:
        height, width = question["image_size"]
        image = np.array([[0.0, 0, width, height]])
        draw_boxes(image, ax, colors=GREY, linestyle="--", label="image")
        everything = np.concatenate([everything, image])
    for k, (name, boxes) in enumerate(lists.items()):
        numbers = [str(n) for n in range(len(boxes))] if len(boxes) > 1 else None
        draw_boxes(
            boxes, ax, names=numbers, colors=CYCLE[k], linewidth=5 - 2 * k, label=_NAMES[name]
        )
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    low, high = everything[:, :2].min(axis=0), everything[:, 2:].max(axis=0)
    return pixel_axes(ax, low - _MARGIN, high + _MARGIN)
