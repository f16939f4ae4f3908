"""Checks of a forward and its backward: the form of what they return, and their cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from minirpn.testing.examine import (
    Answers,
    Contracts,
    Exercise,
    FormError,
    Verdict,
    as_numbers,
    examine,
)
from minirpn.testing.storage import on_host
from minirpn.testing.words import difference

ANOTHER_FORWARD = "another forward changes it: is it the same memory for both?"
FORWARD_BETWEEN = "a forward for other numbers before the backward changes it: is the cache shared?"
SECOND_BACKWARD = "a second backward gives another one: does the first change the cache?"
RAISES_LATER = "in a backward that follows other calls: is the cache shared, or changed?"


def by_name(result: Any, names: Sequence[str]) -> Answers:
    """Return the parts of a dictionary, a tuple or a list, or the one array, by name.

    Raises
    ------
    FormError
        There are more or fewer parts, or a name is missing.
    """
    if isinstance(result, dict):
        missing = [name for name in names if name not in result]
        if missing:
            raise FormError(f"returns no {', '.join(missing)}")
        return {name: result[name] for name in names}
    is_several = isinstance(result, tuple) or (isinstance(result, list) and len(names) > 1)
    parts = result if is_several else (result,)
    if len(parts) != len(names):
        raise FormError(f"returns {_count(parts)}, expected {_listed(names)}")
    return dict(zip(names, parts, strict=True))


def one_number(result: Any) -> Any:
    """Return what stands for a number: it, or the one element of an array, a tuple or a list.

    Raises
    ------
    FormError
        A tuple or a list has another number of elements.
    """
    if isinstance(result, tuple | list):
        if len(result) != 1:
            raise FormError(f"returns {_count(result)}, expected one number")
        return one_number(result[0])
    shape = getattr(result, "shape", ())
    return result.reshape(()) if len(shape) and all(side == 1 for side in shape) else result


def _count(parts: Sequence[Any]) -> str:
    if len(parts) != 1:
        return f"{len(parts)} values"
    return "None" if parts[0] is None else "one value"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def answers_of(
    forward: Callable[[np.ndarray], Any],
    x: np.ndarray,
    backward: Callable[..., Any] | None,
    dy: Answers,
    gradients: Sequence[str],
    run_other: Callable[[], Any] | None = None,
) -> Any:
    """Return the outputs of a forward and the gradients of its backward by name, or ``...``.

    Besides, the forward is called for other inputs, and the backward once more with the same
    cache: neither may change what came before. The backward may refuse a cache that it has used.

    Parameters
    ----------
    forward
        Called with x: returns the outputs and a cache, or the outputs alone where no backward
        follows.
    x
        Its input.
    backward
        Called with the gradients by the outputs and the cache; None for no gradients.
    dy
        The gradient by each output. Outputs of other shapes get no gradients.
    gradients
        The names of what the backward returns.
    run_other
        Calls the forward for other numbers of other sizes; None does without.

    Raises
    ------
    FormError
        The outputs or gradients have another form, or depend on other calls.
    """
    result = forward(x)
    if result is ...:
        return ...
    outputs, cache = _outputs_and_cache(result, dy, needs_cache=backward is not None)
    if outputs is ...:
        return ...
    answers = by_name(outputs, list(dy))
    before = _copies(answers)
    shapes_fit = all(np.shape(before[name]) == dy[name].shape for name in dy)
    if backward is None or not shapes_fit:
        forward(-x)
        _same(before, answers, ANOTHER_FORWARD)
        return answers
    grads = backward(*dy.values(), cache)
    if grads is ... or (isinstance(grads, tuple) and any(grad is ... for grad in grads)):
        return ...
    named = _copies(by_name(grads, gradients))
    outputs, cache = _outputs_and_cache(forward(x), dy, needs_cache=True)
    forward(-x)
    if run_other:
        with suppress(Exception):  # what it raises is another question
            run_other()
    _same(before, by_name(outputs, list(dy)), ANOTHER_FORWARD)
    try:
        again = backward(*dy.values(), cache)
    except Exception as error:
        raise FormError(f"raises {type(error).__name__} {RAISES_LATER}") from error
    _same(named, by_name(again, gradients), FORWARD_BETWEEN)
    try:
        again = backward(*dy.values(), cache)
    except Exception:  # a backward may use its cache up, as PyTorch's does, if it says so
        return before | named
    _same(named, by_name(again, gradients), SECOND_BACKWARD)
    return before | named


def _outputs_and_cache(result: Any, dy: Answers, *, needs_cache: bool) -> tuple[Any, Any]:
    """Return the outputs and the cache of what a forward returned.

    Raises
    ------
    FormError
        There is no cache where one is needed.
    """
    parts = result if isinstance(result, tuple | list) else (result,)
    if len(parts) == 2 and _has_form_of(parts[0], list(dy.values())):
        return parts[0], parts[1]
    if needs_cache:
        count = "an array" if isinstance(result, np.ndarray) else _count(parts)
        raise FormError(f"returns {count} from the forward, expected ({_listed(list(dy))}, cache)")
    return result, None


def _has_form_of(outputs: Any, dys: Sequence[np.ndarray]) -> bool:
    """Return whether these may be the outputs: as many, and arrays of as many axes; or ``...``."""
    if outputs is ...:
        return True
    if len(dys) > 1:
        return isinstance(outputs, tuple | list | dict) and len(outputs) == len(dys)
    is_empty_list = isinstance(outputs, list) and not outputs and not dys[0].size
    return bool(is_empty_list or np.ndim(on_host(outputs)) >= dys[0].ndim)


def _copies(answers: Answers) -> Answers:
    """Return copies, so that what is written into the originals later does not change them.

    Raises
    ------
    FormError
        A part is no array of numbers.
    """
    copies = {}
    for name, part in answers.items():
        try:
            copies[name] = as_numbers(part).copy()
        except FormError as error:
            raise FormError(f"{error} as {name}") from None
    return copies


def _same(before: Answers, after: Answers, words: str) -> None:
    after = _copies(after)
    for name, part in before.items():
        if difference(after[name], part):
            raise FormError(f"does not keep {name}: {words}")


def examine_pair(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    both: Callable[..., Any],
    exercise: Exercise,
    *,
    outputs: Sequence[str] = ("y",),
    handed_back: Sequence[str] = ("dy",),
    contracts: Contracts | None = None,
) -> Verdict:
    """Ask `both`, which calls the two, and compare the outputs alone where there is no backward.

    `outputs` are the names of what the forward returns, `handed_back` those of the arguments that
    only the backward takes.
    """

    def outputs_of(whole: Callable[..., Answers]) -> Callable[..., Answers]:
        return lambda *question, **named: by_name(whole(*question, **named), outputs)

    names = [getattr(function, "__name__", "yours") for function in (forward, backward) if function]
    if backward is None:
        mistakes = {hint: outputs_of(wrong) for hint, wrong in exercise.mistakes.items()}
        exercise = replace(exercise, answer=outputs_of(exercise.answer), mistakes=mistakes)
        exercise = replace(exercise, unseen=frozenset(handed_back))
    return examine(both, exercise, " and ".join(names), contracts)
