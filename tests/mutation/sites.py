"""The places in the library where a mutation can be, and the mutations at each of them.

The mutations are those of Cosmic Ray: another operator, another comparison, a number one larger or
smaller, `not` before a condition, a loop that never runs, and so on.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MUTATED = ("minirpn/boxes.py", "minirpn/rpn", "minirpn/nn", "minirpn/accel")
# Code for a GPU alone, and the table, whose numbers are tolerances of the tests themselves.
LEFT_OUT = ("minirpn/accel/cuda", "minirpn/accel/table.py")
# Names whose value changes how fast a result is there, and not the result. The tests for pieces
# and blocks set them to small numbers.
TUNING = {
    "PIECE", "KEPT_BLOCK", "ANCHOR_BLOCK", "LANES", "BUFFER_BYTES", "LEAST_COLUMNS", "CHUNK_ROWS",
    "LEAST_PIECES", "CACHE_LINE", "STRIP_BYTES", "LEAST_TILES", "BLOCK_BYTES", "COLUMN_BYTES",
    "DEVICE_COLUMN_BYTES", "_KEPT_ANCHORS", "_is_faster", "_announce", "on_cuda",
    "on_cuda_float32", "say_once", "say_not_kept",
}  # fmt: skip


class Mutation(NamedTuple):
    """One change of one file: the n-th place where an operator of Cosmic Ray applies."""

    module: str
    line: int
    operator: str
    occurrence: int


def files(root: Path) -> list[str]:
    """Return the mutated files below `root`, as POSIX paths, sorted."""
    found = []
    for place in MUTATED:
        path = root / place
        found += [path] if path.is_file() else path.rglob("*.py")
    names = (path.relative_to(root).as_posix() for path in found)
    return sorted(name for name in names if not name.startswith(LEFT_OUT))


def sites(root: Path) -> list[list[Mutation]]:
    """Return the mutations of each site, sorted by file and position."""
    found: list[list[Mutation]] = []
    for module in files(root):
        source = (root / module).read_text(encoding="utf-8")
        skipped = list(_not_mutated(ast.parse(source)))
        by_place = defaultdict(list)
        for operator, occurrence, start, end in _positions(source):
            if not any(first <= start and end <= last for first, last in skipped):
                by_place[start, end].append(Mutation(module, start[0], operator, occurrence))
        found += [by_place[place] for place in sorted(by_place)]
    return found


def _positions(source: str) -> Iterator[tuple[str, int, tuple[int, int], tuple[int, int]]]:
    """Yield operator, occurrence, start and end of each mutation that Cosmic Ray has for a file."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    tree = get_ast(source)
    nodes = list(ast_nodes(tree))
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments():  # of these there would be one for each pair of variables
            continue
        operator = operator_class()
        places = ((node, place) for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (node, (start, end)) in enumerate(places):
            if not ("Binary" in name and _is_star(node)):
                yield name, occurrence, start, end


def _is_star(node: Any) -> bool:
    """Tell whether an operator is the star of an argument or a signature: no product."""
    return node.value in ("*", "**") and node.parent.type not in ("term", "power", "factor")


def _not_mutated(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield start and end of annotations, errors' texts and what changes speed alone."""
    for node in ast.walk(tree):
        skipped: list[ast.AST | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            skipped = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            skipped = [node] if node.name in TUNING else [getattr(node, "returns", None)]
        elif isinstance(node, ast.Raise | ast.Import | ast.ImportFrom):
            skipped = [node]
        elif isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            skipped = [node] if names & TUNING else []
        for part in skipped:
            if part is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def mutated_source(source: str, mutation: Mutation) -> str:
    """Return the source of a file with the mutation."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    changed = mutate_code(source, get_operator(mutation.operator)(), mutation.occurrence)
    if changed is None:
        raise ValueError(f"{mutation}: no such place")
    return changed
