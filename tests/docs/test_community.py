"""The forms, the hosted CI and the pages for contributors say what is so."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from docs.extensions.pages import ROOT
from minirpn.cli.main import COMMANDS

FORMS = sorted(
    path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"
)
PAGES = [
    *sorted((ROOT / ".github").rglob("*.yml")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "ROADMAP.md", "README.md")),
    ROOT / ".github/PULL_REQUEST_TEMPLATE.md",
]
TO_BE_MADE = {"docs/_build/html", "tutorials/NN_name.ipynb"}


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


def test_hosted_ci_runs_what_ci_runs():
    [job] = read(".github/workflows/ci.yml")["jobs"].values()
    uses = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
    assert uses == ["actions/checkout", "actions/setup-python", "actions/upload-artifact"]
    [step] = [step for step in job["steps"] if "run" in step]
    assert step["run"] == ".ci/run"
    assert os.access(ROOT / ".ci/run", os.X_OK)
    # It reads the one variable that the workflow sets, and builds the pages where that says.
    [variable] = step["env"]
    ci = (ROOT / ".ci/run").read_text()
    assert f'{variable}="${{{variable}:-' in ci
    assert f'docs "${variable}"' in ci
    [upload] = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert upload["with"]["path"] == step["env"][variable]


def test_hosted_ci_has_the_oldest_python_and_a_newer_one():
    [job] = read(".github/workflows/ci.yml")["jobs"].values()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c}
    oldest, newer = job["strategy"]["matrix"]["python"]
    assert f">={oldest}" == project["requires-python"]
    assert {oldest, newer} <= named


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_can_be_filled_in(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in ("textarea", "input")
        assert field["attributes"]["label"]


def test_the_form_of_a_bug_asks_for_what_contributing_names():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    required = {f["id"] for f in form["body"] if f.get("validations", {}).get("required")}
    assert required == {"command", "happened", "expected", "versions"}
    assert "`minirpn info`" in str(form)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_and_files_that_are_named_are_there(path):
    text = path.read_text()
    commands = {command.NAME for command in COMMANDS}
    named = re.findall(r"`minirpn ([a-z]+)", text)
    assert len(set(named)) > 5 or path.name != "README.md"
    for name in named:
        assert name in commands, name
    for name in re.findall(r"\b(?:docs|tests|minirpn|tutorials)/[\w./-]*\w(?!\*)\b", text):
        assert (ROOT / name).exists() or name in TO_BE_MADE, name


def test_security_says_first_that_weights_run_no_code_and_names_the_test():
    text = (ROOT / "SECURITY.md").read_text()
    first = text.split("\n\n")[1]
    assert first.startswith("**Weights run no code.**")
    [name], [file] = re.findall(r"`(test_\w+)`", first), re.findall(r"`(tests/\S+\.py)`", first)
    assert f"def {name}(" in (ROOT / file).read_text()


def test_the_roadmap_names_the_numbers_of_the_results():
    roadmap = (ROOT / "ROADMAP.md").read_text()
    results = (ROOT / "docs/explanation/results.md").read_text()
    subset = results[results.index("## A subset of PASCAL") :]
    for count in (100, 300):
        [recall] = re.findall(rf"^\| {count} \| ([\d.]+)", subset, re.MULTILINE)[:1]
        assert f"{float(recall):.2f}" in roadmap


def test_there_is_a_form_for_each_kind():
    assert {path.stem for path in FORMS} == {"bug", "question", "wrong-number"}
    assert isinstance(read(".github/ISSUE_TEMPLATE/config.yml")["blank_issues_enabled"], bool)
    assert Path(ROOT / ".github/PULL_REQUEST_TEMPLATE.md").stat().st_size > 100
