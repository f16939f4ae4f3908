"""Foreign text is made safe for the place where it is shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from minirpn.errors import InputError
from minirpn.text import MOST_CHARACTERS, elided, for_figure, message, printable

# What moves the cursor, turns the reading direction, ends a line, or is half a character.
HARMFUL = ["\x00", "\x1b", "\x07", "\r", "\x7f", "\x9b", "\u202e", "\u2066", "\u200f", "\u061c"]
HARMFUL += ["\u2028", "\ufeff", "\ud800", "\udcff"]


@pytest.mark.parametrize("character", HARMFUL, ids=ascii)
def test_what_has_no_glyph_is_an_escape(character: str):
    shown = printable(f"a{character}b")
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert shown.isascii()
    assert shown.isprintable()


@given(st.text())
def test_what_has_glyphs_stays(text: str):
    shown = printable(text)
    hidden = [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert set(hidden) <= {"\u200c", "\u200d"}
    if text.isprintable():
        assert shown == text


def test_bytes_that_are_no_utf8():
    assert printable(b"caf\xe9.jpg".decode(errors="surrogateescape")) == r"caf\xe9.jpg"


@given(st.text(), st.integers(5, 200))
def test_the_middle_is_left_out(text: str, most: int):
    short = elided(text, most)
    assert len(short) <= most
    if len(text) <= most:
        assert short == text
    else:
        head, _, tail = short.partition(" ... ")
        assert text.startswith(head)
        assert text.endswith(tail)


@given(st.text(max_size=3000))
def test_a_message_is_one_short_line(text: str):
    line = str(InputError(text))
    assert line == message(text)
    assert len(line) <= MOST_CHARACTERS
    assert printable(line) == line


def test_a_long_path_in_a_short_message_stays():
    path = "/data" + "/folder" * 80
    assert str(InputError(f"{path}: no such file")) == f"{path}: no such file"


def test_of_a_long_message_the_long_words_are_shortened_first():
    line = message(f"w.npz: {'x' * 5000}.weight: no such layer")
    assert line.startswith("w.npz: xxx")
    assert line.endswith("xxx.weight: no such layer")
    assert len(line) < 150


def test_a_million_lines_take_no_time():
    assert len(message(" \n" * 1_000_000 + "x")) <= MOST_CHARACTERS


@given(st.text("$\\{}_^%ab\x1b", max_size=12))
def test_a_figure_writes_any_name(text: str):
    figure = Figure(figsize=(1, 1))
    figure.text(0, 0, for_figure(text))
    figure.draw_without_rendering()


def test_without_it_a_name_stops_the_figure():
    figure = Figure(figsize=(1, 1))
    figure.text(0, 0, r"$\frac{$")
    with pytest.raises(ValueError, match="frac"):
        figure.draw_without_rendering()
