"""Every link inside the repository and inside the built pages leads somewhere."""

import html.parser
import json
import os.path
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs.extensions import DOCS
from docs.extensions import tutorials as chapters
from docs.extensions.pages import ROOT, markdown, name_of

_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def generated():
    """Return the pages that the build makes, which a checkout has not."""
    return {DOCS / "reference/settings.rst", DOCS / "gallery/index.rst"} | {
        chapters.FOLDER / path.name for path in chapters.sources()
    }


def anchors(text):
    """Return the anchors of a Markdown text, as GitHub and MyST make them of headings."""
    headings = re.findall(r"^#+ (.*)$", _CODE.sub(lambda m: m[0].strip("`"), text), re.MULTILINE)
    found = set()
    for title in headings:
        slug = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-")
        while slug in found:
            slug += "-1"
        found.add(slug)
    return found | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


def broken(source, text, known):
    """Return the relative links of a text that lead nowhere."""
    found = []
    for link in _LINK.findall(_CODE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = Path(os.path.normpath(source.parent / unquote(path))) if path else source
        if target in known:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("path", markdown(), ids=name_of)
def test_links_of_a_page(path):
    assert not broken(path, path.read_text(), generated())


@pytest.mark.parametrize("path", chapters.sources(), ids=lambda path: path.stem)
def test_links_of_a_chapter(path):
    cells = json.loads(path.read_text())["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    assert not broken(path, text, set())


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](other.md) [b](#one) [c](#two) `[d](no.md)` [e](https://x.y)\n")
    assert broken(page, page.read_text(), set()) == ["other.md", "#two"]


class _Page(html.parser.HTMLParser):
    """Collects the links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(values["id"])
        if tag == "a" and values.get("name"):
            self.ids.add(values["name"])
        for name in ("href", "src"):
            if values.get(name):
                self.links.add(values[name])


def built_pages(site):
    """Return the pages themselves, without what the theme and JupyterLite bring along."""
    return [
        path
        for path in site.folder.rglob("*.html")
        if path.relative_to(site.folder).parts[0] not in {"_static", "lite"}
    ]


@pytest.mark.slow
def test_links_of_the_built_pages(site):
    pages = {path: _Page(path.read_text()) for path in built_pages(site)}
    assert len(pages) > 30
    lost = []
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            where, _, anchor = unquote(link).partition("#")
            where = where.partition("?")[0]
            target = Path(os.path.normpath(path.parent / where)) if where else path
            if target.is_dir():
                target /= "index.html"
            known = pages[target].ids if target in pages else set()
            if target.parent.name == "explain" and anchor.startswith("anchor="):
                anchor = ""  # not a place in the page: its script chooses an anchor
            if not target.exists() or (anchor and target in pages and anchor not in known):
                lost.append(f"{path.relative_to(site.folder)}: {link}")
    assert not lost


@pytest.mark.slow
def test_the_built_pages_need_no_network(site):
    """Scripts, styles, fonts and pictures come with the pages."""
    wanted = re.compile(r"<(?:script|link|img)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]+)\"")
    for path in built_pages(site):
        assert not wanted.findall(path.read_text()), path


def test_every_page_is_reached_from_readme_in_two_clicks():
    start = ROOT / "README.md"
    reached = {start}
    for _ in range(2):
        for path in list(reached):
            if path.suffix != ".md":
                continue
            links = _LINK.findall(_CODE.sub("", path.read_text()))
            paths = (link.partition("#")[0] for link in links if ":" not in link)
            reached |= {Path(os.path.normpath(path.parent / p)) for p in paths if p}
    missing = {name_of(path) for path in markdown()} - {
        name_of(path) for path in reached if path.is_relative_to(ROOT)
    }
    assert not {name for name in missing if not name.endswith("index.md")}
