"""What the pages claim about the code is so."""

import ast
import importlib
import json
import re
import shlex
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import yaml

import minirpn
from docs.extensions.pages import ROOT
from minirpn.data.box_format import CONVENTIONS, half_open
from minirpn.training.config import default_config
from minirpn.training.run_folder import create_run
from minirpn.training.train import train

_ROW = re.compile(r"^\| (.+?) \| (.+?) \| `(.+?)` \| `(.+?)` \| (?:\[(\d\d)\]\((.+?)\))? *\|$")


def rows_of_the_paper():
    lines = (ROOT / "docs/reference/paper.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")][1:]
    found = [(line, _ROW.match(line)) for line in table]
    assert all(match for _, match in found), [line for line, match in found if not match]
    return [match.groups() for _, match in found]


@pytest.mark.parametrize("row", rows_of_the_paper(), ids=lambda row: f"{row[0]}: {row[1]}")
def test_an_entry_of_the_paper(row):
    _, _, function, test, number, chapter = row
    module, _, name = function.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    assert value.__doc__
    file, _, test_name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text())
    assert test_name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if chapter is not None:
        source = ROOT / "tutorials" / chapter.rpartition("/")[2]
        assert source.name.startswith(number)
        assert name.removesuffix("_forward").removesuffix("_backward") in source.read_text()


def test_all_equations_and_sections_are_there():
    said = " ".join(row[0] for row in rows_of_the_paper())
    for part in ("eq. 1", "eq. 2", "3.1.1", "3.1.2", "3.1.3", "3.3", "footnote 3"):
        assert part in said


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("kind", ["rpn-only", "4-step", "joint"])
def test_the_files_of_a_run_are_described(kind, tmp_path):
    config = default_config(voc=False)
    config = replace(
        config,
        synthetic=replace(config.synthetic, images=10),
        sharing=replace(config.sharing, kind=kind),
        optimizer=replace(config.optimizer, steps=6),
        run=replace(config.run, validation_images=1),
    )
    folder = create_run(tmp_path / "run", config)
    train(config, folder, progress=False)
    text = (ROOT / "docs/reference/files.md").read_text()
    words = set(re.findall(r"`([^`]+)`", text))
    for path in folder.path.rglob("*"):
        name = path.relative_to(folder.path)
        if path.is_file() and name.parts[0] not in ("plots", "shapes"):
            assert str(name) in words, name
    assert {"plots/", "shapes/"} <= words
    for line in folder.metrics.read_text().splitlines():
        record = json.loads(line)
        assert {record["kind"], record.get("phase", "rpn"), *record} <= words | {"kind", "step"}
    for path in folder.path.glob("*.json"):
        assert path.name == "env.json" or set(json.loads(path.read_text())) <= words
    for path in folder.path.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as archive:
            assert {name.partition("/")[0] for name in archive.files} <= {
                *words, "parameters", "velocity"
            }  # fmt: skip
            assert set(json.loads(archive["metadata"].tobytes())) <= words


def test_citation_and_package_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"] == minirpn.__version__
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_every_version_in_the_changelog_says_what_changes_in_numbers():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert versions[0].startswith(minirpn.__version__)
    for version in versions:
        assert "### Numerical behaviour" in version, version.splitlines()[0]


def test_before_a_commit_runs_what_ci_runs():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    ci = [
        shlex.split(line)
        for line in (ROOT / ".ci/run").read_text().splitlines()
        if line[:1].isalpha()
    ]
    for hook in hooks:
        command = shlex.split(hook["entry"])
        if command[0] == "pytest":
            assert "pre-push" in hook["stages"]
        else:
            assert command in ci, hook["entry"]
    assert {"ruff-check", "ruff-format", "mypy", "fast-tests"} == {hook["id"] for hook in hooks}


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 155
    assert (ROOT / "docs/images/front.png").stat().st_size < 200_000


def test_the_box_formats_of_the_guide():
    row = re.compile(r"^\| `([\w-]+)` \| `([\d, ]+)` \| ", re.MULTILINE)
    rows = dict(row.findall((ROOT / "docs/howto/own-data.md").read_text()))
    assert set(rows) == set(CONVENTIONS)
    for name, text in rows.items():
        corners = np.array([float(number) for number in text.split(",")])
        assert half_open(corners, name, (480, 640)).tolist() == [0, 0, 640, 480], name
