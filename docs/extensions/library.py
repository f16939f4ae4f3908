"""The reference of the library: a page for each unit of minirpn, one section a module.

What is public is what a package's ``__all__`` lists, so that a new name is documented as soon as it
is public. A module without ``__all__`` shows what it defines.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import minirpn
from docs.extensions import DOCS, heading, storeys, write

FOLDER = DOCS / "reference" / "library"
# Not for import, or on a page of its own (the command line) or of another unit (in accel).
_WITHOUT_PAGE = {"_typing", "_checks", "_positions", "__main__", "cli", "dispatch"}


class Name(NamedTuple):
    """A public name."""

    address: str  # where users import it from, such as minirpn.rpn.propose
    home: str  # the module that defines it, such as minirpn.rpn.proposals
    value: Any

    @property
    def short(self) -> str:
        """The last part of the address."""
        return self.address.rpartition(".")[2]


def units() -> list[list[str]]:
    """Return the units that have a page, storey by storey, without empty storeys."""
    shown = [[unit for unit in units if unit not in _WITHOUT_PAGE] for units in storeys()]
    return [units for units in shown if units]


def public_names(module: ModuleType) -> list[Name]:
    """Return what users may import from a module, in the order of the modules that define it."""
    names = getattr(module, "__all__", None)
    if names is None and hasattr(module, "__path__"):
        parts = (importlib.import_module(f"{module.__name__}.{name}") for name in _parts(module))
        return [name for part in parts for name in public_names(part)]
    if names is None:
        names = [name for name in _defined(module) if not name.startswith("_")]
    found = [
        # Without what is around a function, such as a cache.
        Name(f"{module.__name__}.{name}", _home(module, name), inspect.unwrap(vars(module)[name]))
        for name in names
    ]
    order = list(dict.fromkeys(_imported_modules(module)))
    return sorted(found, key=lambda name: order.index(name.home) if name.home in order else -1)


def _parts(package: ModuleType) -> list[str]:
    """Return the names of the public modules of a package."""
    return [part.name for part in pkgutil.iter_modules(package.__path__) if part.name[0] != "_"]


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _defined(module: ModuleType) -> list[str]:
    """Return the names of a module's own functions and classes, and of constants it explains."""
    found = []
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            found += [name for name in names if constant_doc(module.__name__, name)]
    return found


def _imports(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield name and module of what is imported with ``from module import name``."""
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, node.module or ""


def _imported_modules(module: ModuleType) -> list[str]:
    return [origin for _, origin in _imports(module)]


def _home(module: ModuleType, name: str) -> str:
    """Return the module that defines `name`."""
    value = inspect.unwrap(vars(module)[name])
    if inspect.ismodule(value):
        return value.__name__
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__module__
    return dict(_imports(module)).get(name, module.__name__)


def constant_doc(home: str, name: str) -> str:
    """Return what stands below a constant as a string, or above or beside it as a comment."""
    source = inspect.getsource(importlib.import_module(home))
    lines, body = source.splitlines(), ast.parse(source).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if name not in {ast.unparse(target) for target in targets}:
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            return inspect.cleandoc(str(following.value.value))
        above = []
        for line in reversed(lines[: node.lineno - 1]):
            if not line.startswith("#"):
                break
            above.insert(0, line.removeprefix("#").strip())
        beside = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")[2]
        return " ".join(above) or beside
    return ""


def summary(name: Name) -> str:
    """Return the first line of a docstring, or a constant's comment."""
    if _is_constant(name.value):
        return constant_doc(name.home, name.short).split("\n\n")[0].replace("\n", " ")
    return (inspect.getdoc(name.value) or "").split("\n")[0]


def _is_constant(value: Any) -> bool:
    return not (inspect.isfunction(value) or inspect.isclass(value) or inspect.ismodule(value))


def unit_page(unit: str) -> str:
    """Return the page of a unit: a table of all names, then each with its docstring."""
    module = importlib.import_module(f"minirpn.{unit}")
    names = public_names(module)
    lines = [f".. _library-{unit}:\n", heading(module.__name__, "=")]
    lines.append(f".. automodule:: {module.__name__}\n   :no-members:\n")
    lines += [".. list-table::\n   :widths: 35 65\n   :class: names\n"]
    lines += [
        f"   * - :py:obj:`{_relative(name, module)} <{name.address}>`\n     - {summary(name)}"
        for name in names
    ]
    home = module.__name__
    for name in names:
        if name.home != home:
            home = name.home
            lines.append(f"\n{heading(_title(home, module), '-')}")
            # A module may be called as what it defines, which alone goes into the index then.
            options = ":members:" if inspect.ismodule(name.value) else ":no-members:\n   :no-index:"
            lines.append(f".. automodule:: {home}\n   {options}\n")
        if not inspect.ismodule(name.value):
            lines.append(_entry(name))
    return "\n".join(lines) + "\n"


def _relative(name: Name, module: ModuleType) -> str:
    return name.address.removeprefix(f"{module.__name__}.")


def _title(home: str, module: ModuleType) -> str:
    return home.removeprefix(f"{module.__name__}.")


def _entry(name: Name) -> str:
    """Return the directive that documents one name."""
    if inspect.isclass(name.value):
        if issubclass(name.value, tuple) and hasattr(name.value, "_fields"):
            _name_classes(name.value)
        return f".. autoclass:: {name.address}\n   :members:\n"
    if inspect.isfunction(name.value):
        return f".. autofunction:: {name.address}\n"
    value = repr(name.value)
    shown = f"   :value: {value}\n" if len(value) <= 100 and "0x" not in value else ""
    doc = constant_doc(name.home, name.short).replace("\n", "\n   ")
    module = name.address.rpartition(".")[0]
    return f".. py:data:: {name.short}\n   :module: {module}\n{shown}\n   {doc}\n"


def table_of_units() -> str:
    """Return the table of all units, by storey, and their place in the navigation."""
    lines = [".. list-table::\n   :widths: 25 75\n"]
    for level in units():
        for unit in level:
            module = importlib.import_module(f"minirpn.{unit}")
            first = (module.__doc__ or "").strip().split("\n")[0]
            lines.append(f"   * - :ref:`minirpn.{unit} <library-{unit}>`\n     - {first}")
    lines.append("\n.. toctree::\n   :hidden:\n")
    lines += [f"   library/{unit}" for level in units() for unit in level]
    return "\n".join(lines) + "\n"


def _name_classes(kind: Any) -> None:
    """Replace the names of classes in a named tuple's type hints by the classes themselves.

    Python keeps the words without the module they were written in, and two modules may have a class
    of the same name.
    """
    known = vars(importlib.import_module(kind.__module__))
    hints = kind.__new__.__annotations__
    for field, hint in hints.items():
        named = known.get(getattr(hint, "__forward_arg__", ""))
        if inspect.isclass(named):
            hints[field] = named


def table_of_door() -> str:
    """Return the table of what ``import minirpn`` gives by itself, before the units."""
    lines = [".. list-table::\n   :widths: 25 75\n"]
    for name in minirpn.__all__:
        value = getattr(minirpn, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            home = f"{value.__module__}.{name}"
            first = (inspect.getdoc(value) or "").split("\n")[0]
            lines.append(f"   * - :py:obj:`minirpn.{name} <{home}>`\n     - {first}")
    return "\n".join(lines) + "\n"


def write_pages(folder: Path = FOLDER) -> None:
    """Write the tables and a page for each unit, and delete pages without a unit."""
    pages = {f"{unit}.rst": unit_page(unit) for level in units() for unit in level}
    pages["door.inc"] = table_of_door()
    pages["units.inc"] = table_of_units()
    for stale in set(folder.glob("*.*")) - {folder / name for name in pages}:
        stale.unlink()
    for name, text in pages.items():
        write(folder / name, text)


def _fields(app: Any, what: str, address: str, value: Any, options: Any, lines: list[str]) -> None:
    """Append the fields of a named tuple, each with its comment in the code."""
    if not (what == "class" and issubclass(value, tuple) and hasattr(value, "_fields")):
        return
    source = inspect.getsource(value).splitlines()
    lines += ["", "**Fields**", ""]
    for field in value._fields:
        line = next(line for line in source if line.strip().startswith(f"{field}:"))
        annotation, _, comment = line.partition("#")
        lines += [f"``{field}``", f"    {comment.strip() or annotation.partition(':')[2].strip()}"]
    lines.append("")


def _skip_fields(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool:
    """Leave out "Alias for field number 0": `_fields` describes the fields."""
    return skip or (getattr(value, "__doc__", None) or "").startswith("Alias for field number")


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx write these pages before it looks for pages."""
    app.connect("builder-inited", lambda app: write_pages())
    app.connect("autodoc-process-docstring", _fields, priority=900)
    app.connect("autodoc-skip-member", _skip_fields)
    return {"parallel_read_safe": True}
