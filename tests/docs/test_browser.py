"""The site that runs the tutorials in a browser: its contents, and the links that lead there."""

import json
import re
import sys
from types import SimpleNamespace

import nbformat
import pytest

from docs import browser
from docs.extensions import DOCS, ROOT, tutorials
from docs.extensions import browser as extension


def app(*, site, kind="html"):
    config = SimpleNamespace(browser_site=site)
    return SimpleNamespace(config=config, builder=SimpleNamespace(format=kind))


def linked(docname, text, **options):
    source = [text]
    extension.link(app(**options), docname, source)
    return source[0]


def test_a_page_with_the_mark_links_to_the_site():
    for page, target in (("index", "lite/lab"), ("tutorials/index", "../lite/lab")):
        text = (DOCS / f"{page}.md").read_text()
        found = linked(page, text, site=True)
        first = tutorials.sources()[0].name
        assert f'href="{target}/index.html?path=tutorials/{first}"' in found
        assert extension.MARK not in found


def test_a_chapter_links_to_itself_below_its_title():
    path = tutorials.sources()[3]
    given = path.read_text()
    title, link, *rest = json.loads(linked(f"tutorials/{path.stem}", given, site=True))["cells"]
    assert [title, *rest] == json.loads(given)["cells"]
    assert f'href="../lite/lab/index.html?path=tutorials/{path.name}"' in link["source"]


@pytest.mark.parametrize("options", [{"site": False}, {"site": True, "kind": "latex"}])
def test_without_the_site_there_is_no_link(options):
    for name, path in (("index", DOCS / "index.md"), ("tutorials/x", tutorials.sources()[0])):
        text = path.read_text()
        assert linked(name.replace("x", path.stem), text, **options) == text


def test_what_is_not_installed_leaves_the_site_out_and_is_said(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(browser, "TOOLS", ("no-such-tool",))
    config = SimpleNamespace(browser_site=True)
    extension.prepare(SimpleNamespace(doctreedir=tmp_path), config)
    assert config.browser_site is False
    said = capfd.readouterr().err
    assert said.startswith("The tutorials in the browser are left out: no-such-tool is not inst")
    assert len(said.splitlines()) == 1


def test_a_wheel_that_cannot_be_had_leaves_the_site_out(monkeypatch, tmp_path):
    monkeypatch.setattr(browser, "TOOLS", ())
    monkeypatch.setattr(browser, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(browser, "WHEELS", ("no-such-wheel==1.0",))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(browser.LeftOut, match=r"pip download no-such-wheel==1\.0: .*No matching"):
        browser.prepare(tmp_path)


def test_a_switch_leaves_the_site_out():
    config = SimpleNamespace(browser_site="0")
    extension.prepare(None, config)
    assert config.browser_site is False


def test_every_page_that_a_chapter_links_to_is_there():
    there = browser.contents()
    for path in tutorials.sources():
        for link in re.findall(r"\]\((\.\./[^)#]+)", path.read_text()):
            assert (path.parent / link).resolve() in there, f"{path.name}: {link}"


def test_the_contents_stand_as_in_the_repository(tmp_path):
    browser.copy_contents(tmp_path)
    assert (tmp_path / "docs/reference/glossary.md").exists()
    assert (tmp_path / "tutorials/rpn.py").read_text() == (ROOT / "tutorials/rpn.py").read_text()
    for path in tutorials.sources():
        first, *rest = nbformat.read(tmp_path / "tutorials" / path.name, as_version=4).cells
        assert "%pip install" in first.source
        assert rest == nbformat.read(path, as_version=4).cells
    assert "progress.json" not in {path.name for path in browser.contents()}


def test_a_folder_without_pyodide_is_refused(monkeypatch, tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="Pyodide"):
        browser.pyodide_folder(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["browser", str(tmp_path)])
    with pytest.raises(SystemExit):
        browser.main()
    assert "is there already" in capsys.readouterr().err
