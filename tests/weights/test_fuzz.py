"""Mutations of each kind of file, by the thousand: an answer or one error, soon, in little memory.

``--hypothesis-profile=thorough`` makes ten thousand of each.
"""

import io
import random
import time
import tracemalloc
import zipfile

import pytest
from hypothesis import settings

SLOWEST = 1.0  # seconds for a file of some kilobytes
MOST_MEMORY = 2**26
ARCHIVES = ("npz", "PyTorch", "Keras archive")
EDGES = (0, 1, 127, 128, 255)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with a few of them changed, taken out, doubled or exchanged."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        place = chance.randrange(len(changed)) if changed else 0
        size = chance.choice((1, 2, 4, 8, 64))
        match chance.randrange(6):
            case 0 | 1:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 2:
                changed[place : place + size] = bytes([chance.choice(EDGES)]) * size
            case 3:
                del changed[place : place + size]
            case 4:
                changed[place:place] = changed[place : place + size]
            case 5:
                other = chance.randrange(len(changed)) if changed else 0
                changed[place : place + size] = changed[other : other + size]
    return bytes(changed)


def mutate_inside(data: bytes, chance: random.Random) -> bytes:
    """Return an archive with one member mutated, and its checksum right.

    Otherwise nothing behind the checksums would ever be reached.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    # Descriptions come first.
    chosen = chance.choice(list(members))
    head = members[chosen][:400]
    members[chosen] = mutate(head, chance) + members[chosen][400:]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.slow
def test_mutations(kind, writers, arrays, parse):
    data, chance = writers[kind](arrays), random.Random(kind)
    mutations = max(1_000, settings().max_examples)
    slowest, read = 0.0, 0
    tracemalloc.start()
    try:
        for _ in range(mutations):
            inside = kind in ARCHIVES and chance.randrange(4) > 0
            broken = mutate_inside(data, chance) if inside else mutate(data, chance)
            began = time.perf_counter()
            try:
                parse(broken)
                read += 1
            except ValueError:
                pass
            slowest = max(slowest, time.perf_counter() - began)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert slowest < SLOWEST
    assert peak < MOST_MEMORY
    assert read < mutations
