"""The page of a package index leads nowhere wrong, before and after an address is set."""

import email.parser
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from docs.extensions.pages import ROOT

pytest.importorskip("hatch_fancy_pypi_readme", reason="needs the extra 'test'")

ADDRESS = "https://example.org/minirpn"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)]*)\)")
_BUILD = "from hatchling.build import prepare_metadata_for_build_wheel as p; print(p('out'))"


def metadata(folder, pyproject):
    """Return the metadata that a build of the package has with this text of pyproject.toml."""
    folder.mkdir()
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "out").mkdir()
    (folder / "minirpn").mkdir()
    (folder / "minirpn/__init__.py").touch()
    (folder / "pyproject.toml").write_text(pyproject)
    command = [sys.executable, "-c", _BUILD]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    text = (folder / "out" / result.stdout.strip() / "METADATA").read_text()
    return email.parser.Parser().parsestr(text)


def with_address(text):
    """Return pyproject.toml as its comments tell one to change it when there is an address."""
    line_above = re.compile(r"^replacement = .*\n# (?=replacement = )", re.MULTILINE)
    text, replaced = line_above.subn("", text)
    text, named = re.subn(r'^# (?=Source = "ADDRESS")', "", text, flags=re.MULTILINE)
    assert (replaced, named) == (2, 1)
    return text.replace("ADDRESS", ADDRESS)


def links(page):
    return _LINK.findall(re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def pyproject():
    return (ROOT / "pyproject.toml").read_text()


def test_without_an_address_links_are_text_and_pictures_are_left_out(pyproject, tmp_path):
    found = metadata(tmp_path / "build", pyproject)
    assert found["Description-Content-Type"] == "text/markdown"
    page = found.get_payload()
    assert [target for _, _, target in links(page) if not target.startswith("https://")] == []
    assert not [mark for mark, _, _ in links(page) if mark]
    assert "docs/" not in page
    assert "<!--" not in page
    # What it says stays: the words of links, the commands, and no caption without its picture.
    assert "the tutorials" in page
    assert "pip install . && minirpn train" in page
    assert "three of 70" not in page


def test_with_an_address_links_and_pictures_lead_into_the_source(pyproject, tmp_path):
    found = metadata(tmp_path / "build", with_address(pyproject))
    assert f"Source, {ADDRESS}" in found.get_all("Project-URL")
    page = found.get_payload()
    into = {True: f"{ADDRESS}/raw/HEAD/", False: f"{ADDRESS}/blob/HEAD/"}
    there = [(bool(mark), target) for mark, _, target in links((ROOT / "README.md").read_text())]
    wanted = [
        (mark, target if target.startswith("https:") else into[mark] + target)
        for mark, target in there
    ]
    assert [(bool(mark), target) for mark, _, target in links(page)] == wanted
    assert sum(mark for mark, _ in wanted) == 5
    assert "three of 70" in page


def test_an_archive_of_the_source_has_what_its_tests_read(pyproject):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a checkout")
    tops = {line.partition("/")[0] for line in tracked.stdout.splitlines()}
    targets = tomllib.loads(pyproject)["tool"]["hatch"]["build"]["targets"]
    by_itself = {"pyproject.toml", ".gitignore"}  # hatchling adds these two
    needed = {top for top in tops if not top.endswith(".md")} - by_itself
    assert needed <= set(targets["sdist"]["include"])
