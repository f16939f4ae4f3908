"""The simplest check, against another function, and guesses: for lessons."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from minirpn.testing.examine import Asked, Exercise, Verdict, examine
from minirpn.testing.words import plain


def check_equal(
    f: Callable[..., Any],
    reference: Callable[..., Any],
    *calls: tuple[Any, ...],
    mistakes: Mapping[str, Callable[..., Any]] | None = None,
    draw: Callable[[dict[str, Any]], Any] | None = None,
) -> Verdict:
    """Check that `f` answers as `reference` does.

    Parameters
    ----------
    f
        While it returns ``...`` it is open, neither right nor wrong.
    reference
        The right answers.
    calls
        The arguments of each call, at least one tuple; the smallest call first, since the first
        one with a wrong answer is told.
    mistakes
        Wrong functions that people write, by the hint for each. An `f` that answers all calls as
        one of them does gets its hint; else that of the one that answers the first wrong call as
        `f` does, and more of the others than any other such one. None for none.
    draw
        Draws a call, given its arguments by the names that `reference` has for them, and returns
        the axes. None for no picture.

    Raises
    ------
    CheckError
        They differ; the message has the hint, if there is one, and the arguments.

    Examples
    --------
    >>> check_equal(lambda x: x * x, lambda x: x**2, (1.0,), (3.0,))
    ✓ <lambda>: right in 2 of 2 questions
    """
    names = list(inspect.signature(reference).parameters)
    questions = tuple(dict(zip(names, arguments, strict=False)) for arguments in calls)
    exercise = Exercise(
        answer=reference,
        stages=(Asked(()),),
        probes=questions,
        mistakes=mistakes or {},
        draw=draw,
        plainly=False,
        telling=True,
    )
    return examine(f, exercise)


def reveal(guess: Any, truth: Any, unit: str = "") -> str:
    """Return a sentence that compares a guess with the truth; the guess may be ``...``.

    Of words, only the letters count, capital or not.
    """
    answer = f"{plain(truth)} {unit}".rstrip()
    if guess is ...:
        return f"It is {answer}. (No guess yet: a wrong one teaches more than none.)"
    if plain(guess).strip().casefold() == plain(truth).strip().casefold():
        return f"You guessed it: {answer}."
    return f"You guessed {plain(guess)}; it is {answer}."
