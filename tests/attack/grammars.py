"""The mutators by the kind of files that they break, and the blind ones, which break every kind.

A mutator takes a generator, the bytes of a sound file and those of all sound files of its kind; it
returns other bytes. Nothing else has an influence, so that an input can be made again by number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Random = random.Random
Mutator = Callable[[Random, bytes, Sequence[bytes]], bytes]

GRAMMARS: dict[str, list[Mutator]] = {}


def fits(*grammars: str) -> Callable[[Mutator], Mutator]:
    """Enter a mutator under the kinds of files that it breaks."""

    def enter(mutator: Mutator) -> Mutator:
        for grammar in grammars:
            GRAMMARS.setdefault(grammar, []).append(mutator)
        return mutator

    return enter


def _place(rng: Random, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def size_of(rng: Random) -> int:
    """Return a length, mostly small."""
    return rng.randint(1, 2 ** rng.randint(1, 9))


# --- blind ---------------------------------------------------------------------------------------

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32)
NUMBERS += (2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
STRINGS = (
    b"\0", b"\xff" * 8, b"\x80", b"\r\n", b"\n", b"\x1b[2J", b"\xc2\x9b31m", b"\xe2\x80\xae",
    b"\xed\xa0\x80", b"$\\frac{$", b"<script>", b"../../etc/passwd", b"%s%n", b"nan", b"inf",
    b"1e400", b"-0", b"9" * 5000, b"[" * 3000, b"{" * 3000, b"\xef\xbb\xbf", b"\xff\xfe",
    b"A" * 4096,
)  # fmt: skip


@fits("bytes")
def flip(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


@fits("bytes")
def cut_off(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Drop the end."""
    return data[: _place(rng, data)]


@fits("bytes")
def drop(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Drop a piece of the middle."""
    at = _place(rng, data)
    return data[:at] + data[at + size_of(rng) :]


@fits("bytes")
def insert(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Insert random bytes, or something special."""
    at = _place(rng, data)
    piece = rng.choice(STRINGS) if rng.random() < 0.6 else rng.randbytes(size_of(rng))
    over = rng.choice((0, len(piece)))
    return data[:at] + piece + data[at + over :]


@fits("bytes")
def repeat(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Repeat a piece, now and then a thousand times."""
    at = _place(rng, data)
    piece = data[at : at + size_of(rng)]
    return data[:at] + piece * rng.choice((2, 3, 50, 1000)) + data[at:]


@fits("bytes")
def splice(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Join the beginning of one file and the end of another."""
    other = rng.choice(seeds)
    return data[: _place(rng, data)] + other[_place(rng, other) :]


@fits("bytes")
def swap(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Swap two pieces that follow one another."""
    at, first, second = _place(rng, data), size_of(rng), size_of(rng)
    one, two = data[at : at + first], data[at + first : at + first + second]
    return data[:at] + two + one + data[at + first + second :]


@fits("bytes", "binary", "binary")
def number(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Write an extreme number over two, four or eight bytes, in either order of bytes."""
    width = rng.choice((2, 4, 8))
    value = rng.choice(NUMBERS) + rng.choice((0, 0, 1, -1))
    raw = (value % 2 ** (8 * width)).to_bytes(width, rng.choice(("little", "big")))
    at = _place(rng, data)
    if rng.random() < 0.7:
        at -= at % width
    return data[:at] + raw + data[at + width :]


@fits("bytes", "binary")
def near_number(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Replace a number of four or eight bytes that may be a length or an address."""
    width = rng.choice((4, 8))
    places = [
        at
        for at in range(0, min(len(data), 4096) - width, 4 if width == 4 else 8)
        if 0 < int.from_bytes(data[at : at + width], "little") <= 2 * len(data)
    ]
    if not places:
        return number(rng, data, seeds)
    at = rng.choice(places)
    was = int.from_bytes(data[at : at + width], "little")
    value = rng.choice((was - 1, was + 1, 2 * was, was // 2, at, len(data), len(data) - was, 0))
    return data[:at] + (value % 2 ** (8 * width)).to_bytes(width, "little") + data[at + width :]


@fits("bytes")
def foreign(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Return what is no file of any kind, or nearly nothing of one."""
    return rng.choice(
        (
            b"",
            b"\0",
            b"\n",
            data[:1],
            data[:8],
            b"\0" * 4096,
            rng.randbytes(300),
            data * 3,
            b" " + data,
        )
    )


@fits("binary")
def varints(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Insert many numbers of seven bits a byte."""
    at = _place(rng, data)
    one = rng.choice((b"\x00", b"\x01", b"\x80" * 9 + b"\x01", b"\xff" * 10, b"\x80" * 40))
    return data[:at] + one * rng.choice((1, 100, 400_000 // len(one))) + data[at:]
