"""The built documentation, as someone in front of it sees it: on a desk and on a phone."""

import tomllib
from urllib.parse import quote

import pytest

from tests.browser.conftest import resize
from tests.documentation import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS = (1280, 390)
# What others lay out: the theme, the sources of minirpn, JupyterLite.
_OTHERS = {"_static", "_modules", "lite"}
# What is wider than the page, and code that scrolls sideways.
_TOO_WIDE = """
const wide = [...document.querySelectorAll("pre")].filter(
    (block) => block.clientWidth > 0 && block.scrollWidth > block.clientWidth + 1);
const page = document.documentElement;
return [page.scrollWidth - page.clientWidth, wide.map((block) => block.textContent.slice(0, 80))]
"""


def pages(site):
    return [
        path
        for path in sorted(site.folder.rglob("*.html"))
        if path.relative_to(site.folder).parts[0] not in _OTHERS
    ]


def too_wide(browser):
    """Return by how many pixels the page is too wide, and the blocks of code that are."""
    return browser.execute_script(_TOO_WIDE)


def test_no_page_and_no_code_scrolls_sideways(site, show):
    wide = {}
    for path in pages(site):
        browser = show(path)
        for width in WIDTHS:
            resize(browser, width)
            found = too_wide(browser)
            if found != [0, []]:
                wide[str(path.relative_to(site.folder)), width] = found
    assert not wide


def test_a_page_that_is_too_wide_is_found(show, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(f"<body><p style='width: 2000px'>.</p><pre style='overflow: auto'>{'x' * 999}")
    beyond, [code] = too_wide(show(page, 1280))
    assert beyond > 700
    assert code.startswith("xxx")


def test_pages_have_what_readers_expect(site, show):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    browser = show(site.folder / "howto/train.html")
    find = lambda css: browser.find_elements("css selector", css)  # noqa: E731
    assert find(".navbar-header-items__start")[0].text == f"minirpn {version}"
    assert find("link[rel=icon]")
    assert find("a.left-prev") and find("a.right-next")  # noqa: PT018
    assert len(find("button.copybtn")) == len(find("div.highlight pre")) > 5
    assert [link.get_attribute("href") for link in find("a.nav-link.pst-navbar-icon")]


@pytest.mark.parametrize(
    ("words", "where"),
    [
        ("pretrained", "reference/models.html"),
        ("pretrained", "howto/propose.html"),
        ("smooth_l1_forward", "minirpn.nn.smooth_l1_forward"),
        ("--images-per-step", "reference/commands.html"),
        ("onnx", "howto/export.html"),
    ],
)
def test_search_finds(site, browser, words, where):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(f"{(site.folder / 'search.html').as_uri()}?q={quote(words)}")
    hits = lambda: [  # noqa: E731
        link.get_attribute("href")
        for link in browser.find_elements("css selector", "#search-results li a")
    ]
    WebDriverWait(browser, 20).until(lambda _: any(where in hit for hit in hits()))
