"""Damaged files: what a mutation is, and how many are tried.

``MINIRPN_FUZZ=100 pytest tests/fuzz`` tries a hundred times as many: minutes, not seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest

from minirpn.errors import InputError

_TIMES = float(os.environ.get("MINIRPN_FUZZ", "1"))
_TOKENS = (
    b"", b"\0", b"\xff", b"\n", b"-", b"nan", b"9" * 30, b"[", b"]", b'"', b"=", b"{}", b"\xff\xfe",
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1",
)  # fmt: skip


@pytest.fixture
def times() -> Callable[[int], int]:
    """Multiply a number of trials by what the environment asks for."""
    return lambda count: max(1, round(count * _TIMES))


@pytest.fixture
def mutate(rng: np.random.Generator) -> Callable[[bytes], bytes]:
    """Return bytes with one to three changes: flipped, cut, doubled, or overwritten."""

    def change(content: bytes) -> bytes:
        at = int(rng.integers(len(content) + 1))
        length = int(rng.integers(1, 2 ** rng.integers(1, 8)))
        middle = content[at : at + length]
        kind = rng.integers(6)
        if kind == 0 and middle:  # one bit
            middle = bytes([middle[0] ^ (1 << int(rng.integers(8)))]) + middle[1:]
        elif kind == 1:  # random bytes
            middle = rng.bytes(length)
        elif kind == 2:  # gone
            middle = b""
        elif kind == 3:  # twice
            middle = middle * 2
        elif kind == 4:  # something special, over as many bytes or between
            token = _TOKENS[int(rng.integers(len(_TOKENS)))]
            return content[:at] + token + content[at + len(token) * int(rng.integers(2)) :]
        elif rng.random() < 0.1:  # the rest is missing
            return content[:at]
        return content[:at] + middle + content[at + length :]

    def several(content: bytes) -> bytes:
        for _ in range(int(rng.integers(1, 4))):
            content = change(content)
        return content

    return several


@pytest.fixture
def one_line() -> Callable[[Callable[[], object], str], bool]:
    """Tell whether a call succeeds; its only way to fail is one line that begins as it must."""

    def succeeds(call: Callable[[], object], beginning: str) -> bool:
        said = None
        try:
            call()
        except InputError as error:
            said = str(error)
        if said is not None:
            assert said.startswith(beginning)
            assert "\n" not in said
        return said is None

    return succeeds
