"""Every tutorial follows the format, and runs as a learner leaves it and with all solutions."""

import ast
import copy
import importlib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from docs.extensions import tutorials
from minirpn.lessons import CHAPTERS

TUTORIALS = Path(__file__).parents[2] / "tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))
TAGS = {"predict", "exercise", "check", "solution", "checkpoint", "summary"}
SECONDS = 90

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def tag(cell):
    """Return the cell's tag, or None."""
    found = TAGS & set(cell.metadata.get("tags", []))
    assert len(found) <= 1
    return next(iter(found), None)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def python_of(cell):
    """Return the syntax tree of a cell, its magic lines left out."""
    lines = cell.source.splitlines()
    return ast.parse("\n".join("" if line.startswith("%") else line for line in lines))


def exercises(notebook):
    """Return triples of exercise, check and solution, in order."""
    cells = [
        cell for cell in code_cells(notebook) if tag(cell) in {"exercise", "check", "solution"}
    ]
    tags = [tag(cell) for cell in cells]
    assert tags == ["exercise", "check", "solution"] * (len(cells) // 3)
    return list(zip(cells[0::3], cells[1::3], cells[2::3], strict=True))


def defined(cell):
    return [node.name for node in python_of(cell).body if isinstance(node, ast.FunctionDef)]


def test_there_are_tutorials_and_their_numbers_have_no_gap():
    numbers = [int(path.stem[:2]) for path in NOTEBOOKS]
    assert numbers == list(range(len(numbers)))
    assert numbers


@each_notebook
def test_cells_are_few_short_and_without_outputs(path):
    notebook = read(path)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert 30 <= len(notebook.cells) <= 60
    for cell in code_cells(notebook):
        assert not cell.outputs, cell.id
        assert cell.execution_count is None, cell.id
        assert len(cell.source.splitlines()) <= 12, f"{cell.id}: over 12 lines"


@each_notebook
def test_it_opens_and_closes_as_all_do(path):
    cells = read(path).cells
    assert cells[0].cell_type == cells[-1].cell_type == "markdown"
    assert cells[0].source.startswith(f"# {path.stem[:2]} · ")
    for words in ("**You will do:**", "**You will learn:**", "**You need:**"):
        assert words in cells[0].source
    for words in ("**On your own**", "**In practice**", "**Read next:**"):
        assert words in cells[-1].source


@each_notebook
def test_it_has_guesses_exercises_and_checkpoints(path):
    notebook = read(path)
    tags = [tag(cell) for cell in code_cells(notebook)]
    assert tags.count("predict") >= 2
    assert tags.count("exercise") >= 2
    checkpoints = [cell for cell in code_cells(notebook) if tag(cell) == "checkpoint"]
    assert checkpoints
    for cell in checkpoints:
        assert any(isinstance(node, ast.Assert) for node in ast.walk(python_of(cell))), cell.id
    for exercise, _, solution in exercises(notebook):
        assert "return ..." in exercise.source, exercise.id
        assert len(defined(exercise)) == 1, exercise.id
        assert [f"our_{defined(exercise)[0].removeprefix('my_')}"] == defined(solution), solution.id
        assert solution.metadata.jupyter.source_hidden, solution.id


@each_notebook
def test_functions_are_defined_once(path):
    names = [name for cell in code_cells(read(path)) for name in defined(cell)]
    assert len(names) == len(set(names)), sorted(names)


@each_notebook
def test_it_is_the_chapter_that_the_table_tells(path):
    notebook = read(path)
    chapter = CHAPTERS[int(path.stem[:2])]
    assert path.name == chapter.notebook
    assert notebook.cells[0].source.startswith(f"# {path.stem[:2]} · {chapter.title}\n")
    assert tuple(defined(exercise)[0] for exercise, _, _ in exercises(notebook)) == (
        chapter.exercises
    )


@each_notebook
def test_it_shows_the_map_first_and_the_count_last(path):
    first, *_, last = code_cells(read(path))
    lines = first.source.splitlines()
    assert lines[-2:] == [f'chapter = Chapter("{path.stem[3:]}")', "chapter"]
    assert tag(last) == "summary"
    assert last.source == "chapter.summary()"


@each_notebook
def test_checks_are_bound_to_their_exercises(path):
    for exercise, check, _ in exercises(read(path)):
        assert check.source.splitlines()[-1].startswith(f"chapter.check({defined(exercise)[0]}")


@each_notebook
def test_it_links_to_its_neighbours(path):
    cells = read(path).cells
    number = int(path.stem[:2])
    if number + 1 < len(CHAPTERS):
        assert f"]({CHAPTERS[number + 1].notebook})" in cells[-1].source
    assert "??`" in cells[-1].source


def exported(module_name):
    """Return the public names of a module of minirpn."""
    module = importlib.import_module(module_name)
    return set(getattr(module, "__all__", [name for name in dir(module) if name[0] != "_"]))


@each_notebook
def test_only_exported_names_of_minirpn_are_used(path):
    modules = {}  # name in the notebook -> module
    for cell in code_cells(read(path)):
        for node in ast.walk(python_of(cell)):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("minirpn.") for alias in node.names), cell.id
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "minirpn":
                names = {alias.name for alias in node.names}
                assert names <= exported(node.module), f"{cell.id}: {names} of {node.module}"
                if node.module == "minirpn":
                    modules |= {name: f"minirpn.{name}" for name in names}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = modules.get(node.value.id)
                assert module is None or node.attr in exported(module), f"{cell.id}: {node.attr}"


def execute(notebook, folder):
    """Run all cells; the first error ends the test with its traceback."""
    tutorials.copy_companions(folder)
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute()
    return notebook


def said(cell):
    """Return all text that a cell has put out."""
    texts = [output.get("text", "") for output in cell.outputs]
    texts += [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(texts)


@pytest.mark.slow
@each_notebook
def test_a_learner_is_told_kindly_what_is_open_and_clearly_what_is_wrong(path, tmp_path):
    """Run all cells as they are given, and further ones between them.

    After a check comes a wrong answer and the check again; after a solution its check again, which
    must not take the solution for the learner's function.
    """
    notebook = read(path)
    opens, wrongs, cells = [], [], []

    def repeated(cell, what, source=None):
        again = copy.deepcopy(cell)
        again.id = f"{cell.id}-{what}"
        again.source = source or cell.source
        cells.append(again)
        return again

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            continue
        cells.append(cell)
        if tag(cell) == "exercise":
            stub = cell
        if tag(cell) == "check":
            check = cell
            opens.append(cell)
            repeated(stub, "wrong", stub.source.replace("return ...", "return None"))
            wrongs.append(repeated(check, "wrong"))
            repeated(stub, "again")
        if tag(cell) == "solution":
            opens.append(repeated(check, "again"))
        if tag(cell) == "summary":
            summary = cell
    notebook.cells = cells
    execute(notebook, tmp_path)
    for cell in opens:
        assert "○" in said(cell), cell.id
        assert "✓" not in said(cell), cell.id
    for cell in wrongs:
        assert "✗ not yet: " in said(cell), cell.id
    assert f"0 of {len(wrongs)} exercises are right" in said(summary)


@pytest.mark.slow
@each_notebook
def test_with_solutions_every_check_passes(path):
    notebook = tutorials.executed(path)
    checks = [cell for cell in code_cells(notebook) if tag(cell) == "check"]
    assert len(checks) == len(exercises(read(path)))
    for check in checks:
        assert "✓" in said(check), check.id
        assert "○" not in said(check), check.id
    pictures = [
        output
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) <= 8


@pytest.mark.slow
def test_an_execution_is_kept_until_the_notebook_changes(tmp_path):
    source = tmp_path / "00_chapter.ipynb"
    kept = tmp_path / "kept"

    def write(code):
        cells = [nbformat.v4.new_code_cell(f"import time\n{code}\nprint(time.time_ns())")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), source)

    write("1 + 1")
    first = tutorials.executed(source, kept)
    assert said(tutorials.executed(source, kept).cells[0]) == said(first.cells[0])
    write("1 + 2")
    assert said(tutorials.executed(source, kept).cells[0]) != said(first.cells[0])
    write("1 / 0")
    for _ in range(2):  # a failure is not kept
        with pytest.raises(CellExecutionError):
            tutorials.executed(source, kept)
