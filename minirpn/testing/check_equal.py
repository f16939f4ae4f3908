"""The simplest check, against another function, and guesses: for lessons."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from minirpn.testing.examine import Asked, Exercise, Verdict, examine
from minirpn.testing.words import plain


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
    exercise = Exercise(answer=reference, stages=(Asked(()),), probes=questions, plainly=False)
    return examine(f, exercise)


def reveal(guess: Any, truth: Any, unit: str = "") -> str:
    """Return a sentence that compares a guess with the truth; the guess may be ``...``."""
    answer = f"{plain(truth)} {unit}".rstrip()
    if guess is ...:
        return f"It is {answer}. (No guess yet: a wrong one teaches more than none.)"
    if plain(guess) == plain(truth):
        return f"You guessed it: {answer}."
    return f"You guessed {plain(guess)}; it is {answer}."
