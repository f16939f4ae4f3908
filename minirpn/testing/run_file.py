"""Run all checks that apply to a file, in a process of its own that may hang or end."""

from __future__ import annotations

import difflib
import inspect
import linecache
import multiprocessing
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

from minirpn.testing.examine import CheckError
from minirpn.testing.known import KNOWN, Known

Options = Mapping[str, Mapping[str, Any]]
"""Options of checks, by the name of the function they are for."""


class Line(NamedTuple):
    """What there is to say: of a function that was checked, or about the file."""

    kind: Literal["right", "open", "wrong", "note", "none"]
    words: str


class _File(NamedTuple):
    """A file as it was read: the checks that apply, and what is said about the rest."""

    applicable: list[tuple[Known, list[Callable[..., Any]]]]
    notes: list[str]


class FileError(Exception):
    """A file cannot be read or run; the message is one line with its name."""


def load(path: Path) -> tuple[ModuleType, list[str]]:
    """Run a file as a module of its name, its folder on the path.

    Returns
    -------
    tuple
        The module, and notes: a file that ends itself is known as far as it came.

    Raises
    ------
    FileError
        The file is not Python, or raises.
    """
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    # Last, so that a file named as a module of Python or of ours is not taken for it.
    sys.path.append(str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        exec(code, module.__dict__)
    except SystemExit as end:
        line = _line_in(path, end)
        return module, [f"{path}{line} ends the program: only what stands above it is checked"]
    except SyntaxError as error:
        raise FileError(f"{path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        raise FileError(
            f"{path}{_line_in(path, error)}: {type(error).__name__}: {error}"
        ) from error
    return module, []


def _line_in(path: Path, error: BaseException) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def find(module: ModuleType, path: Path) -> _File:
    """Return the checks that apply to a module, and why the rest of its functions is ignored."""
    contents = vars(module)
    applicable, used, notes = [], set(), []
    known_names = {name: known for known in KNOWN for name in known.names}
    for known in KNOWN:
        functions = []
        for name in known.names:
            chosen = next((n for n in (f"my_{name}", name) if callable(contents.get(n))), None)
            if chosen is None:
                break
            used.add(chosen)
            functions.append(contents[chosen])
        if functions:
            applicable.append((known, functions))
    for name, thing in contents.items():
        bare = name.removeprefix("my_")
        if name in used or name.startswith("_"):
            continue
        if bare in known_names and not callable(thing):
            notes.append(f"{name} is not checked: it is no function")
        elif bare in known_names and callable(contents.get(f"my_{name}")):
            notes.append(f"{name} is not checked: my_{name} is")
        elif bare in known_names:
            notes.append(f"{name} is not checked: it needs {known_names[bare].names[0]} beside it")
        elif inspect.isfunction(thing) and thing.__module__ == module.__name__:
            notes.append(f"{name} is not checked: no check goes by this name{_near(bare)}")
    return _File(applicable, notes)


def _near(name: str) -> str:
    names = [name for known in KNOWN for name in known.names]
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _serve(path: Path, start: int, options: Options, pipe: Connection) -> None:
    """Check the functions of a file from number `start` on, and send a line about each."""
    try:
        module, notes = load(path)
    except FileError as error:
        pipe.send(Line("none", str(error)))
        return
    linecache.checkcache(str(path))
    file = find(module, path)
    if start == 0:
        for note in notes + file.notes:
            pipe.send(Line("note", note))
    if not file.applicable:
        pipe.send(
            Line("none", f"{path}: no function to check; --list shows the names of known ones")
        )
        return
    for known, functions in file.applicable[start:]:
        pipe.send(known.names[0])  # now it begins
        chosen = options.get(known.names[0], {})
        try:
            inspect.signature(known.check).bind(*functions, **chosen)
            verdict = known.check(*functions, **chosen)
            pipe.send(Line("right" if verdict else "open", repr(verdict)))
        except CheckError as error:
            pipe.send(Line("wrong", f"✗ {error}{_on_the_command_line(known, error)}"))
        except (TypeError, ValueError) as error:  # an option that the check does not take
            pipe.send(Line("wrong", f"✗ {known.names[0]}: {error}"))


def _on_the_command_line(known: Known, error: CheckError) -> str:
    """Return how the option that an error names is passed here; "" if it names none."""
    pairs = error.option.split(", ") if error.option else []
    return "".join(f" (--option {known.names[0]}:{pair})" for pair in pairs)


def check_file(
    path: Path, *, timeout: float | None = 60.0, options: Options | None = None
) -> Iterator[Line]:
    """Yield a line for each function of a file, and notes about what is not checked.

    Parameters
    ----------
    path
        A Python file with functions of yours.
    timeout
        Seconds after which a function that does not answer is stopped; None waits for ever.
    options
        Options of the checks.
    """
    start = 0
    while True:
        last = yield from _lines_of_process(path, start, timeout, options or {})
        if last is None:
            return
        start = last + 1


def _lines_of_process(
    path: Path, start: int, timeout: float | None, options: Options
) -> Generator[Line, None, int | None]:
    """Yield the lines of one process; return the number of the check that ended it, or None."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(path, start, options, sender), daemon=True)
    process.start()
    sender.close()
    number, name = start - 1, ""
    try:
        while True:
            try:
                if not receiver.poll(timeout):
                    break
                message = receiver.recv()
            except (EOFError, BrokenPipeError):  # Windows says the second
                process.join()
                if name == "":
                    return None
                yield Line("wrong", f"✗ {name}: the process ended ({_how(process.exitcode)})")
                return number
            if isinstance(message, str):
                number, name = number + 1, message
            else:
                yield Line(*message)
                name = "" if message[0] != "note" else name
        if name == "":
            yield Line("none", f"{path}: still not read after {timeout:g} s")
            return None
        yield Line(
            "wrong", f"✗ {name}: no answer after {timeout:g} s: is there a loop without end?"
        )
        return number
    finally:
        process.kill()
        process.join()


def _how(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
