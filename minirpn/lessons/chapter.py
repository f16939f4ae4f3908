"""A chapter at work: it checks exercises, says what is wrong, and counts what is done."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from minirpn.lessons.chapters import lesson
from minirpn.lessons.progress import keep, read_progress
from minirpn.lessons.roadmap import as_html
from minirpn.testing import CheckError, Verdict


class NotYet:
    """A wrong answer; false. A notebook shows its picture and its message, and goes on.

    Parameters
    ----------
    error
        What the check raised.
    """

    def __init__(self, error: CheckError) -> None:
        self.error = error

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for which the answer is wrong, whole, by name."""
        return self.error.arguments

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"✗ not yet: {self.error}"

    def _ipython_display_(self) -> None:
        self.error.show_picture()
        print(self)


class Chapter:
    """The chapter of a notebook, made in its first cell; a notebook shows it as a map.

    Parameters
    ----------
    name
        Such as ``draw_a_box``: the name of the notebook's file, without its number.

    Raises
    ------
    ValueError
        There is no such chapter.

    Examples
    --------
    >>> chapter = Chapter("draw_a_box")
    >>> chapter
    00 · See an image as numbers, draw a box
    """

    def __init__(self, name: str) -> None:
        self._lesson = lesson(name)
        self._states = dict.fromkeys(self._lesson.exercises, "open")

    def __repr__(self) -> str:
        return f"{self._lesson.number:02} · {self._lesson.title}"

    def _repr_html_(self) -> str:
        return as_html(read_progress(), self._lesson)

    def check(self, *functions: Callable[..., Any], **options: Any) -> Verdict | NotYet:
        """Check an exercise of this chapter, and write down whether it is right.

        Parameters
        ----------
        functions
            The function that was to be written, under the name that the exercise gave it. Some
            checks take a second one, which it belongs to.
        options
            What else the check of this exercise wants.

        Returns
        -------
        Verdict or NotYet
            The first is true if the function is right, and false while it is open. The second is
            false, and says for which arguments the function is wrong.

        Raises
        ------
        ValueError
            The function is none of this chapter's exercises.
        """
        name = str(getattr(functions[0], "__name__", functions[0]))
        if name not in self._states:
            names = ", ".join(self._states)
            raise ValueError(f"{name} is no exercise of chapter {self!r}; there are: {names}")
        checks = import_module(f"minirpn.lessons.{self._lesson.name}").CHECKS
        verdict: Verdict | NotYet
        try:
            verdict = checks[name](*functions, **options)
            state = "right" if verdict else "open"
        except CheckError as error:
            verdict, state = NotYet(error), "wrong"
        self._states[name] = state
        keep(self._lesson.name, name, state)
        return verdict

    def summary(self) -> None:
        """Print what is right, wrong and open of this chapter, as checked in this session."""
        names = {
            state: [name for name, now in self._states.items() if now == state]
            for state in ("right", "wrong", "open")
        }
        right = f"{len(names['right'])} of {len(self._states)} exercises are right."
        parts = [f"Not yet right: {', '.join(names['wrong'])}."] if names["wrong"] else []
        parts += [f"Open: {', '.join(names['open'])}."] if names["open"] else []
        print(f"Chapter {self._lesson.number:02}: {right}", *parts)
