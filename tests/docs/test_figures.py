"""Every figure on the pages is drawn by ``python -m docs.figures``, and is what the code says."""

import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from docs.extensions import DOCS, storeys
from docs.extensions.pages import markdown
from docs.figures import draw, figures
from docs.figures.tools import ToolMissingError

DRAWN_FROM_THE_CODE = ("layers", "step", "coordinates", "many-machines")


def texts(path):
    """Return the texts of an SVG, which matplotlib writes as comments beside their outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


def test_every_picture_on_the_pages_is_one_of_them():
    shown = set()
    for page in markdown():
        for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            shown.add((page.parent / link).resolve())
    drawn = {(DOCS / file).resolve() for figure in figures().values() for file in figure.files}
    assert shown <= drawn
    assert {path for path in drawn if path.suffix != ".json"} <= shown


@pytest.mark.parametrize("name", DRAWN_FROM_THE_CODE)
def test_a_figure_says_what_the_code_says(name, tmp_path):
    for path in draw([name], tmp_path):
        kept = DOCS / path.relative_to(tmp_path)
        assert texts(path) == texts(kept), f"stale: python -m docs.figures {name}"


def test_a_figure_comes_out_the_same_to_the_byte(tmp_path):
    [first] = draw(["step"], tmp_path / "a")
    [second] = draw(["step"], tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_badges_say_what_the_package_says(tmp_path):
    for path in draw(["badges"], tmp_path):
        kept = DOCS / path.relative_to(tmp_path)
        assert path.read_text() == kept.read_text(), "stale: python -m docs.figures badges"
        ElementTree.parse(kept)


def test_the_layers_show_every_unit():
    shown = texts(DOCS / "images/layers.svg")
    assert {unit for units in storeys() for unit in units} <= set(shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(figures()) - set(DRAWN_FROM_THE_CODE)))
def test_a_measured_figure_is_drawn_again(name, tmp_path):
    try:
        paths = draw([name], tmp_path, quick=True)
    except ToolMissingError as error:
        pytest.skip(str(error))
    for path in paths:
        kept = DOCS / path.relative_to(tmp_path)
        assert path.stat().st_size < 200_000
        assert kept.stat().st_size < 200_000
        assert 0.3 < path.stat().st_size / kept.stat().st_size < 3
        if path.suffix == ".png":
            with Image.open(path) as new, Image.open(kept) as old:
                assert max(abs(a - b) for a, b in zip(new.size, old.size, strict=True)) <= 8


def test_the_command_names_what_there_is(capsys, monkeypatch):
    from docs.figures.__main__ import main

    monkeypatch.setattr("sys.argv", ["docs.figures", "nothing"])
    with pytest.raises(SystemExit):
        main()
    assert "layers" in capsys.readouterr().err


def test_the_command_says_which_program_is_missing_and_draws_the_others(
    capsys, monkeypatch, tmp_path
):
    from docs.figures.__main__ import main

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["docs.figures", "explain", "step", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^explain: left out, \w+ is missing: .*install"):
        main()
    assert "step.svg" in capsys.readouterr().out
