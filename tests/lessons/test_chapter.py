"""A chapter checks what it is given, goes on, and counts; the map shows it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from minirpn.lessons import CHAPTERS, Chapter, NotYet
from minirpn.lessons.chapters import PIPELINE, lesson
from minirpn.lessons.progress import read_progress
from minirpn.lessons.roadmap import as_text


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def my_area(box):
    return np.prod(np.maximum(box[2:] - box[:2], 0))


def wrong(name):
    def answer(*arguments):
        return np.float64(-1)

    answer.__name__ = name
    return answer


def test_a_right_a_wrong_and_an_open_answer_are_told_and_counted(capsys):
    chapter = Chapter("draw_a_box")
    assert chapter.check(my_area)
    verdict = chapter.check(wrong("my_count"))
    assert isinstance(verdict, NotYet)
    assert repr(verdict).startswith("✗ not yet: my_count: for box = [1, 0, 4, 2]")
    np.testing.assert_array_equal(verdict.arguments["box"], [1, 0, 4, 2])
    chapter.summary()
    assert capsys.readouterr().out == (
        "Chapter 00: 1 of 5 exercises are right. Not yet right: my_count. "
        "Open: my_half_open, my_crop, my_flip.\n"
    )


def test_a_solution_is_no_exercise():
    def our_area(box):
        return my_area(box)

    with pytest.raises(ValueError, match=r"our_area is no exercise of chapter 00 .* my_area, my_c"):
        Chapter("draw_a_box").check(our_area)


def test_there_is_no_chapter_of_another_name():
    with pytest.raises(ValueError, match="there is no chapter 'draw'; there are draw_a_box, "):
        Chapter("draw")


def test_progress_is_kept_over_sessions_and_the_latest_state_counts():
    Chapter("draw_a_box").check(my_area)
    Chapter("draw_a_box").check(wrong("my_count"))
    assert read_progress() == {"draw_a_box": {"my_area": "right", "my_count": "wrong"}}
    Chapter("draw_a_box").check(wrong("my_area"))
    assert read_progress()["draw_a_box"]["my_area"] == "wrong"


def test_a_damaged_file_is_told_and_the_check_goes_on(tmp_path):
    (tmp_path / "progress.json").write_text('{"draw_a_box": {"my_area": "perhaps"}}')
    with pytest.warns(UserWarning, match=r"progress.json: .*delete the file to begin anew"):
        assert Chapter("draw_a_box").check(my_area)
    assert json.loads((tmp_path / "progress.json").read_text())["draw_a_box"] == {
        "my_area": "right"
    }


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("minirpn.lessons.progress.FILE", tmp_path / "no folder" / "progress.json")
    with pytest.warns(UserWarning, match=r"cannot write: .*your progress is not kept"):
        assert Chapter("draw_a_box").check(my_area)


def test_a_picture_is_shown_before_the_message(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    Chapter("draw_a_box").check(wrong("my_area"))._ipython_display_()
    assert len(shown) == 1
    assert capsys.readouterr().out.startswith("✗ not yet: my_area: ")


def test_the_map_shows_where_one_is_and_what_is_done():
    chapter = Chapter("draw_a_box")
    assert "of 5" not in chapter._repr_html_()
    chapter.check(my_area)
    assert "See an image as numbers, draw a box  1 of 5" in as_text(read_progress())
    html = chapter._repr_html_()
    assert "<b>00</b></a> 1 of 5" in html
    assert '<a href="01_measure_overlap.ipynb"' in html
    assert "../docs/reference/glossary.md" in html
    filled = [name for names in PIPELINE for name in names if f'white">{name}<' in html]
    assert filled == ["image"]


def test_the_command_shows_the_map_of_its_folder(tmp_path):
    Chapter("draw_a_box").check(my_area)
    command = [sys.executable, "-m", "minirpn.lessons"]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "draw a box  1 of 5" in said
    assert said.splitlines()[-1].startswith("1 of ")


def test_every_part_of_the_network_has_a_chapter():
    parts = {part for names in PIPELINE for part in names}
    assert parts == {part for chapter in CHAPTERS for part in chapter.parts}
    assert [lesson(chapter.name).number for chapter in CHAPTERS] == list(range(len(CHAPTERS)))
