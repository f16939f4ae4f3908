"""minirpn works in the browser's Python: real tests, by real pytest, in Pyodide."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wasm.node import LackingError, run
from tests.wasm.selection import DESELECTED, DOCTESTS, FOLDERS, ROOT, chosen, reason_against


@pytest.mark.slow
def test_the_layers_work_in_the_python_of_a_browser():
    try:
        done = run()
    except LackingError as reason:
        pytest.skip(str(reason))
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


def test_every_folder_has_files_that_run_there_and_each_other_file_has_a_reason():
    files = chosen()
    assert {file.split("/")[1] for file in files} == set(FOLDERS)
    assert "tests/unit/test_boxes.py" in files
    left_out = {"unit/test_nn_threads.py": "subprocess", "unit/test_viz.py": "evaluation"}
    for name, reason in left_out.items():
        assert reason in str(reason_against(ROOT / "tests" / name))
    assert all(Path(ROOT, place).exists() for place in DOCTESTS)


def test_what_is_deselected_is_there():
    for name in DESELECTED:
        file, _, function = name.partition("::")
        assert file in chosen()
        assert f"def {function}(" in (ROOT / file).read_text()
