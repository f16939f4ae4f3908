"""Foreign text made safe for the place where it is shown: names from files, reasons from libraries.

A name in a file may hold anything: an escape code that clears the terminal, a mark that turns the
reading direction, a formula for Matplotlib, a million letters. Each place has its own function:

================ =====================================================================
console and log  `printable`; a whole message, `message`
a figure         `for_figure`
a page           `minirpn.report.html.safe`, which escapes what `printable` returns
================ =====================================================================
"""

from __future__ import annotations

import re
import unicodedata

MOST_CHARACTERS = 1000
"""What a message has at most."""
MOST_WITH_COMMANDS, MOST_BEFORE_COMMANDS = 20_000, 600
"""What a message has at most that ends with commands to be typed, and what goes before them.

The commands must be whole, however long the paths in them are.
"""

_LONG_WORD = 100  # characters of a word in a message that is too long as a whole
_IN_FIGURE = 48  # characters of a name: half the width of a diagram
# Cc control codes, Cf marks without a glyph, Cs halves of characters, Zl and Zp ends of lines, Cn
# what is no character: XML and so SVG may not hold some of those.
_UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn"}
_JOINERS = "\u200c\u200d"  # marks that Persian, Hindi and emoji are written with
_ELLIPSIS = " ... "


def printable(text: str) -> str:
    r"""Return a text with every character that has no glyph written as an escape.

    Those are control codes (C0 and C1), line breaks, marks that turn the reading direction, and
    bytes of a file name that are no UTF-8, which Python keeps as lone surrogates.

    Examples
    --------
    >>> print(printable("cat\x1b[2J \u202eflip " + b"\xff".decode(errors="surrogateescape")))
    cat\x1b[2J \u202eflip \xff
    """
    # Most texts have nothing of it; asking the whole text is quick.
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _UNSHOWN or character in _JOINERS:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # what "surrogateescape" makes of a byte
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def for_figure(text: str) -> str:
    r"""Return a name as Matplotlib writes it letter by letter, without the middle of a long one.

    A dollar sign begins no formula. A blank goes before an underscore at the start: Matplotlib
    leaves such names out of legends.

    Examples
    --------
    >>> print(for_figure(r"$\frac{$"))
    \$\frac{\$
    """
    shown = printable(text)
    is_wide = any(unicodedata.east_asian_width(one) in "FW" for one in shown[:_IN_FIGURE])
    shown = elided(shown, _IN_FIGURE // 2 if is_wide else _IN_FIGURE).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def elided(text: str, most: int = _LONG_WORD) -> str:
    """Return a text of at most `most` characters: the middle of a longer one is left out.

    Examples
    --------
    >>> elided("conv1" + "x" * 90 + ".weight", 30)
    'conv1xxxxxxxx ... xxxxx.weight'
    """
    if len(text) <= most:
        return text
    kept = most - len(_ELLIPSIS)
    return text[: kept - kept // 2] + _ELLIPSIS + text[len(text) - kept // 2 :]


def message(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text as one printable line of at most `most` characters.

    Of a longer one, first the long words lose their middle, then the whole line does.
    """
    parts = re.split(r"[\r\n]+", elided(text, 10 * most))
    line = printable(" ".join(part.strip() for part in parts).strip())
    if len(line) > most:
        line = re.sub(rf"\S{{{_LONG_WORD},}}", lambda word: elided(word[0]), line)
    return elided(line, most)
