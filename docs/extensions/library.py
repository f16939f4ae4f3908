"""What is public in minirpn, for the pages that ``sphinx.ext.autosummary`` makes of it.

A unit is a module or package right below `minirpn`; its public names are those in ``__all__``. The
topics of a package are the modules that define these names. A module without ``__all__`` makes
public what it defines, and the constants it documents. So a new name is on a page as soon as it is
public. The template ``docs/_templates/page.rst`` makes pages of these lists.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import TYPE_CHECKING, Any

import minirpn
from docs.extensions import DOCS

# Tests of links read these lists where there is no Sphinx.
if TYPE_CHECKING:
    from sphinx.pycode import ModuleAnalyzer

FOLDER = DOCS / "reference" / "library"
_WITHOUT_PAGE = {"__main__", "cli"}  # not for import, or on a page of its own
_BEFORE_NAPOLEON, _AFTER_NAPOLEON = 400, 600  # napoleon has 500, the default
_LONGEST_VALUE = 60  # characters of a constant's value that are shown
_LONG_PAGE, _LONG_CLASS = 140, 25  # lines of docstrings; a class of a long page gets its own page


def modules(package: ModuleType) -> list[str]:
    """Return the full names of the modules of a package that are for import."""
    names = [part.name for part in pkgutil.iter_modules(package.__path__) if part.name[0] != "_"]
    return [f"{package.__name__}.{name}" for name in names if name not in _WITHOUT_PAGE]


def code_of(module: str) -> ModuleAnalyzer:
    """Return what Sphinx reads in the source of a module: names in order, comments."""
    from sphinx.pycode import ModuleAnalyzer

    code = ModuleAnalyzer.for_module(module)
    code.analyze()
    return code


def names(module: str) -> list[str]:
    """Return the names that a module makes public, in the order of its code."""
    code = code_of(module)
    documented = {name for owner, name in code.attr_docs if not owner} | set(code.tags)
    public = getattr(importlib.import_module(module), "__all__", documented)
    shown = (name for name in public if name[0] != "_" and "." not in name)
    return sorted(shown, key=lambda name: (code.tagorder.get(name, 0), name))


def pages(unit: str) -> dict[str, list[str]]:
    """Return the public names of a unit, such as ``minirpn.rpn.propose``, page by page.

    A page is a module, such as ``minirpn.rpn.proposals``. The first one is the unit itself.
    """
    package = importlib.import_module(unit)
    topics = modules(package) if hasattr(package, "__path__") else []
    says_what = not topics or hasattr(package, "__all__")
    left, found = names(unit) if says_what else [], {}
    for topic in topics:
        name = topic.rpartition(".")[2]
        is_whole = name in left and inspect.ismodule(getattr(package, name))
        if is_whole or not says_what:
            left = [other for other in left if other != name]
            found[topic] = [f"{topic}.{name}" for name in names(topic)]
        elif here := [name for name in names(topic) if name in left]:
            left = [name for name in left if name not in here]
            found[topic] = [f"{unit}.{name}" for name in here]
    return {unit: [f"{unit}.{name}" for name in left]} | found


def value_of(address: str) -> Any:
    """Return what has an address."""
    module, _, name = address.rpartition(".")
    return getattr(importlib.import_module(module), name)


def directive(address: str) -> str:
    """Return the directive of autodoc that documents a name."""
    value = value_of(address)
    if inspect.isclass(value):
        return f".. autoclass:: {address}"
    if inspect.isroutine(inspect.unwrap(value)):
        return f".. autofunction:: {address}"
    shown = repr(value)
    is_short = len(shown) <= _LONGEST_VALUE and "0x" not in shown
    return f".. autodata:: {address}" + ("" if is_short else "\n   :no-value:")


def length(value: Any) -> int:
    """Return the lines of a docstring, with those of a class's methods and properties."""
    found = len((inspect.getdoc(value) or "").splitlines())
    members = vars(value).items() if inspect.isclass(value) else ()
    return found + sum(2 + length(member) for name, member in members if name[0] != "_")


def long_classes(addresses: list[str]) -> list[str]:
    """Return the classes that get pages of their own, because theirs would be long."""
    lengths = {address: length(value_of(address)) for address in addresses}
    if sum(lengths.values()) < _LONG_PAGE or len(addresses) < 2:
        return []
    is_class = {address: inspect.isclass(value_of(address)) for address in addresses}
    return [a for a in addresses if is_class[a] and lengths[a] >= _LONG_CLASS]


def _share_comments(topic: str, addresses: list[str]) -> None:
    """Let autodoc find the comment of a constant where a package hands it on."""
    for address in addresses:
        package, _, name = address.rpartition(".")
        comment = code_of(topic).attr_docs.get(("", name))
        if comment:
            code_of(package).attr_docs["", name] = comment


def prepare(app: Any, config: Any) -> None:
    """Give the lists to the template, and delete the pages of modules that are no more."""
    found = {unit: pages(unit) for unit in modules(minirpn)}
    shown: dict[str, list[str]] = {}
    classes: dict[str, list[str]] = {}
    for topics in found.values():
        for page, addresses in topics.items():
            _share_comments(page, addresses)
            classes[page] = long_classes(addresses)
            shown |= {address: [address] for address in classes[page]}
            shown[page] = [address for address in addresses if address not in classes[page]]
    config.autosummary_context = {
        "names": shown,
        "own_pages": classes,
        "directives": {a: directive(a) for addresses in shown.values() for a in addresses},
        "topics": {unit: list(topics)[1:] for unit, topics in found.items()},
    }
    for page in FOLDER.glob("*"):
        if page.name.removesuffix(".rst") not in shown:
            page.unlink()


def types_in_signature(
    app: Any, what: str, address: str, value: Any, options: Any, arguments: str, returned: str
) -> tuple[str, str] | None:
    """Show the types in the signature where the docstring has no list of parameters."""
    if what not in {"function", "method"} or "Parameters\n" in (value.__doc__ or ""):
        return None
    from sphinx.util.inspect import signature, stringify_signature

    app.env.current_document.autodoc_annotations.pop(address, None)
    typed = signature(value, type_aliases=app.config.autodoc_type_aliases)
    shown = [each for name, each in typed.parameters.items() if name not in {"self", "cls"}]
    text = stringify_signature(typed.replace(parameters=shown), unqualified_typehints=True)
    arguments, _, returned = text.partition(" -> ")
    return arguments, returned


_FIELD = re.compile(r"^    (\w+): .*?(?:  # (.*))?$", re.MULTILINE)


def describe_fields(
    app: Any, what: str, address: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Append the fields of a named tuple, each with its comment in the code."""
    if what == "class" and hasattr(value, "_fields"):
        comments = dict(_FIELD.findall(inspect.getsource(value)))
        lines += ["", *(f":param {field}: {comments[field]}" for field in value._fields)]


# Napoleon takes what stands before the first colon for the type of a constant. So it sees another.
_COLON, _SAFE_COLON = ":", "\N{MODIFIER LETTER COLON}"


def hide_colon(
    app: Any, what: str, address: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Keep the colons of a constant's first line from napoleon."""
    if what in {"attribute", "data", "property"}:
        lines[:1] = [line.replace(_COLON, _SAFE_COLON) for line in lines[:1]]


def show_colon(
    app: Any, what: str, address: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Put the colons back after napoleon."""
    lines[:1] = [line.replace(_SAFE_COLON, _COLON) for line in lines[:1]]


def skip_field(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out "Alias for field number 0": `describe_fields` has something to say."""
    return True if (getattr(value, "__doc__", None) or "").startswith("Alias for field") else None


def setup(app: Any) -> dict[str, bool]:
    """Make the lists before autosummary writes its pages."""
    from sphinx.util.inspect import TypeAliasForwardRef

    # Sphinx 9.0 writes "tuple[TypeAliasForwardRef('Array'), float]" for "tuple[Array, float]".
    TypeAliasForwardRef.__repr__ = lambda alias: alias.name
    app.connect("config-inited", prepare)
    app.connect("autodoc-process-docstring", describe_fields, priority=_BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", hide_colon, priority=_BEFORE_NAPOLEON)
    app.connect("autodoc-process-docstring", show_colon, priority=_AFTER_NAPOLEON)
    app.connect("autodoc-process-signature", types_in_signature)
    app.connect("autodoc-skip-member", skip_field)
    return {"parallel_read_safe": True}
