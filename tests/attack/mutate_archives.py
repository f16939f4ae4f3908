"""Zip archives, arrays and pickles, broken by their grammar."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Sequence

import numpy as np

from tests.attack.grammars import NUMBERS, Random, fits
from tests.attack.mutate_text import change_json, encoded

# --- pickles -------------------------------------------------------------------------------------


def _operations(data: bytes) -> list[bytes]:
    """Return the operations of the first pickle in some bytes, each with its argument."""
    places = [place for _, _, place in pickletools.genops(data)]
    return [data[one:two] for one, two in zip(places, [*places[1:], places[-1] + 1], strict=True)]


def _long(value: int) -> bytes:
    raw = pickle.encode_long(value)
    return (
        b"\x8a" + bytes([len(raw)]) + raw
        if len(raw) < 256
        else b"\x8b" + struct.pack("<i", len(raw)) + raw
    )


def _name(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def tower(rng: Random) -> bytes:
    """Return operations that push something deep, or wide by references to itself."""
    count = rng.choice((20, 40, 100, 3000, 100_000))
    few = min(count, 100)
    doubled = b"q\x09" + b"h\x09h\x09\x86q\x09" * few
    return rng.choice(
        (
            b")" + b"\x85" * count,
            b")" + doubled,
            b"(K\x01" + b"l" * 0 + b"t" + doubled,
            b"]" + b"q\x09" + b"h\x09h\x09a" * few,  # a list in itself
            b"}" + b"q\x09" + (b"h\x09" + _name("k") + b"h\x09s") * few,
            b"(" * count,
            b"(" + b"K\x01" * count + b"t",
            b"(" + b"]" * count + b"l",
            b"]" + b"\x85" * count + b"q\x09h\x09\x86",
            _name("x" * count),
            _long(1 << min(8 * count, 2**21)),
            b"I" + b"9" * min(count, 6000) + b"\n",
            b"F1e400\n",
            b"\x8b\xff\xff\xff\x7f",
            b"X\xff\xff\xff\x7f",
            b"\x8d" + struct.pack("<Q", 2**40),
            b"\x97\x98",
        )
    )


PICKLED = (
    b"N", b"\x88", b"\x89", b"K\x05", b"M\x05\x05", b"J\xff\xff\xff\xff", b"]", b"}", b")", b"(",
    b"0", b"1", b"2", b"a", b"e", b"s", b"u", b"t", b"l", b"d", b"\x85", b"\x86", b"\x87", b"R",
    b"b", b"Q", b"o", b"\x81", b"\x92", b"\x93", b"\x94", b"\x8f", b"\x90", b"\x91", b"h\x00",
    b"q\x00", b"j\xff\xff\xff\xff", b"r\xff\xff\xff\xff", b"p999999999999999999999\n", b"g-1\n",
    b"p-1\n", b"P0\n", b"cos\nsystem\n", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nSize\n", b"c\n\n", b"c\x1b[2J\n\xc2\x9b31m\n", b"itorch\nx\n", b"\x80\xff",
    b"\x95" + b"\xff" * 8, b".", b"G\x7f\xf8\0\0\0\0\0\0", b"V\\ud800\n", b"S'a'\n", b"S'\n",
    b"Sx\n", b"B\x01\0\0\0x", b"C\x01x", b"T\x01\0\0\0\xff", b"\x8c\x01k",
    b"\x96" + struct.pack("<Q", 3) + b"abc", b"L1\n", b"I01\n", b"I" + b"1" * 5000 + b"\n",
    b"c" + b"x" * 3000 + b"\ny\n",
)  # fmt: skip


def change_pickle(rng: Random, data: bytes) -> bytes:
    """Return a pickle with some operations more, less, doubled or swapped."""
    operations = _operations(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(operations))
        way = rng.randrange(8)
        if way == 0:
            del operations[at]
            operations = operations or [b"."]
        elif way == 1:
            operations[at:at] = [operations[at]] * rng.choice((1, 2, 1000))
        elif way == 2:
            other = rng.randrange(len(operations))
            operations[at], operations[other] = operations[other], operations[at]
        elif way == 3:
            operations[at] = rng.choice(PICKLED)
        elif way == 4:
            operations[at:at] = [rng.choice(PICKLED) for _ in range(rng.choice((1, 2, 6)))]
        elif way == 5:
            operations[at] = tower(rng)
        elif way == 6:
            operations[at] = _long(rng.choice(NUMBERS) * rng.choice((1, 1, -1, 2**900)))
        else:
            one, two = tower(rng), tower(rng)
            named = one + _name("k") + b"\x93R"
            special = (one + two + b"\x93", one + b"Q", one + two + b"R", b"(" + one + b"d", named)
            operations.insert(at, rng.choice((*special, one + b"b")))
    return b"".join(operations)


@fits("legacy", "legacy", "legacy")
def legacy_pickles(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change one of the five pickles that follow one another in a file of the old PyTorch."""
    pieces, rest = [], data
    for _ in range(5):
        length = sum(map(len, _operations(rest)))
        pieces.append(rest[:length])
        rest = rest[length:]
    which = rng.choice((0, 1, 2, 3, 3, 3, 4, 4))
    if which == 4 and rng.random() < 0.5:
        towers = b"".join(tower(rng) for _ in range(rng.choice((1, 2, 3))))
        pieces[4] = b"\x80\x02(" + towers + rng.choice((b"l.", b"t.", b"d."))
    else:
        pieces[which] = change_pickle(rng, pieces[which])
    return b"".join(pieces) + rest


@fits("pickle", "pickle")
def one_pickle(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change a file that is one pickle."""
    return change_pickle(rng, data)


# --- zip archives --------------------------------------------------------------------------------


def members_of(data: bytes) -> dict[str, bytes]:
    """Return the contents of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Sequence[tuple[str, bytes]], packing: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive of members, whose names may be equal."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", packing) as archive:
        warnings.simplefilter("ignore")  # of equal names
        for name, content in members:
            # A fixed date, so that the same input has the same bytes every time.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = packing
            archive.writestr(entry, content)
    return buffer.getvalue()


@fits("torch", "torch", "torch")
def torch_pickle(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change the pickle in a PyTorch archive."""
    members = members_of(data)
    name = next(name for name in members if name.endswith("data.pkl"))
    members[name] = change_pickle(rng, members[name])
    return zipped([*members.items()])


@fits("zip", "torch", "npz")
def zip_members(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Rename, double, drop, empty or blow up members."""
    members = [*members_of(data).items()]
    at = rng.randrange(len(members))
    name, content = members[at]
    names = (
        "", "/", "..", "../" + name, "/" + name, name + "/", "\x1b[2J", "\u202e", "$\\frac{$.npy",
        "a" * 5000, name.upper(), "metadata.npy", "model.weights.h5", "x/data.pkl", "é.npy",
        "a\\b.npy", "parameters/" + name,
    )  # fmt: skip
    way = rng.randrange(8)
    if way == 0:
        members[at] = rng.choice(names), content
    elif way == 1:
        members.append((name, rng.choice((b"", content, rng.choice(members)[1]))))
    elif way == 2:
        del members[at]
    elif way == 3:
        members[at] = (
            name,
            rng.choice((b"", content[:-1], content + b"\0", content * 2, rng.choice(members)[1])),
        )
    elif way == 4:
        members[at] = name, content + b"\0" * rng.choice((2**20, 2**25))
        return zipped(members, zipfile.ZIP_DEFLATED)
    elif way == 5:
        members += [(f"n{i}.npy", b"") for i in range(rng.choice((10, 2000)))]
    elif way == 6:
        return zipped(
            members, rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED))
        )
    else:
        members.insert(0, (name, content))
        rng.shuffle(members)
    return zipped(members)


@fits("zip", "zip", "torch", "npz")
def zip_directory(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Let the directory of an archive, or the heads of its members, lie."""
    changed = bytearray(data)
    # Signature, and the fields after it as (place, width): of the directory, its end, and a member.
    entry = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4))
    tables = (
        (b"PK\x01\x02", entry),
        (b"PK\x05\x06", ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))),
        (b"PK\x03\x04", ((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))),
    )  # fmt: skip
    for _ in range(rng.choice((1, 2, 4))):
        signature, fields = rng.choice(tables)
        places = [found.start() for found in re.finditer(re.escape(signature), data)]
        if not places:
            continue
        at, (offset, width) = rng.choice(places), rng.choice(fields)
        values = (
            0,
            1,
            8,
            9,
            12,
            14,
            99,
            0x2041,
            2**16 - 1,
            2**31 - 1,
            2**32 - 1,
            len(data),
            10**6,
            3 * 10**7,
        )
        near = int.from_bytes(changed[at + offset : at + offset + width], "little")
        value = rng.choice((*values, near + 1, near - 1, rng.choice(places)))
        changed[at + offset : at + offset + width] = (value % 2 ** (8 * width)).to_bytes(
            width, "little"
        )
    return bytes(changed)


@fits("zip", "npz")
def zip_shares(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Let many entries of the directory name the bytes of one member."""
    count = rng.choice((50, 1000, 5000))
    content = rng.choice(
        (np_file(np.zeros(2**19, "<f4")), np_file(np.zeros(2**22, "u1")), b"\0" * 2**22)
    )
    whole = zipped([("a.npy", content)], zipfile.ZIP_DEFLATED)
    start = whole.index(b"PK\x01\x02")
    end = whole.index(b"PK\x05\x06")
    entry = bytearray(whole[start:end])
    if rng.random() < 0.5:  # and a size that is not true
        entry[24:28] = struct.pack("<I", 100)
    entries = b""
    for number_ in range(count):
        name = f"{number_:05d}"
        one = entry.copy()
        one[28:30] = struct.pack("<H", len(name))
        entries += bytes(one[:46]) + name.encode()
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(entries), start, 0)
    return whole[:start] + entries + tail


# --- arrays --------------------------------------------------------------------------------------


def np_file(array: np.ndarray) -> bytes:
    """Return an ``.npy`` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npy_head(rng: Random, data: bytes) -> bytes:
    """Return an ``.npy`` file with another head."""
    length = struct.unpack("<H", data[8:10])[0]
    head, body = data[10 : 10 + length].decode("latin1"), data[10 + length :]
    shapes = (
        "()", "(0,)", "(-1,)", "(1,)", f"({2**62},)", f"({2**40},)", "(" + "1," * 40 + ")",
        "(" + "1," * 5000 + ")", "(True,)", "(1.5,)", "[1]", "None", "(0, " + str(2**62) + ")",
        "(2, -2)", "(" + "9" * 400 + ",)", "4", "(1,1)", "(" * 300 + ")" * 300, "(1, (2,))",
        "('a',)", "(" + "9" * 5000 + ",)", "{}", "(1L,)",
    )  # fmt: skip
    kinds = (
        "'<f4'", "'>f4'", "'<f8'", "'<f2'", "'|b1'", "'|O'", "'<U3'", "'|S0'", "'<M8[s]'", "'<c8'",
        "'|V4'", "'<i8'", "[('a', '<f4')]", "'<f16'", "'x'", "''", "None", "1", "'<f4,<f4'",
        "'(2,)<f4'", "[('a', '<f4', (2,))]", "'>i2'", "'<f" + "9" * 30 + "'",
        "[" * 200 + "]" * 200, "'|S" + "9" * 9 + "'", "'float'", "'>u8'",
        "{'names': ['a'], 'formats': ['f4']}",
    )  # fmt: skip
    way = rng.randrange(5)
    if way == 0:
        head = re.sub(r"'shape': [^}]*\)", lambda _: f"'shape': {rng.choice(shapes)}", head)
    elif way == 1:
        head = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {rng.choice(kinds)}", head)
    elif way == 2:
        head = re.sub(
            r"'fortran_order': \w+",
            lambda _: f"'fortran_order': {rng.choice(('True', '1', 'None', '[]'))}",
            head,
        )
    elif way == 3:
        more = head.replace(",", ", 'x': 1,", 1)
        others = (
            "", "{}", "[]", "1", "{" * 500, "(" * 5000, head[:-9], head + "\0", "{'shape': ", more,
            "-" * 3000 + "1", "𝐚", "[" * 95 + "]" * 95, "f'{1}'", "'" * 4, '"""', "\\",
        )  # fmt: skip
        head = rng.choice(others)
    raw = head.encode("utf-8")
    version = rng.choice((1, 1, 1, 1, 2, 3, 0, 255)) if way == 4 else 1
    sized = struct.pack("<H" if version < 2 else "<I", len(raw) % 65536)
    return b"\x93NUMPY" + bytes([version, 0]) + sized + raw + body


def change_array(rng: Random, array: np.ndarray) -> np.ndarray:
    """Return an array with another type, shape or with odd numbers."""
    way = rng.randrange(8)
    if way < 3 and array.size and array.dtype.kind in "fiu":
        changed = array.copy()
        odd = (
            (np.nan, np.inf, -np.inf, 1e30, -1e30, 0, -1, 1e-40)
            if array.dtype.kind == "f"
            else (0, 1, 127)
        )
        where = rng.randrange(array.size)
        with np.errstate(over="ignore"):
            value = np.array(rng.choice(odd)).astype(array.dtype)
        if rng.random() < 0.5:
            changed[...] = value
        else:
            changed.reshape(-1)[where] = value
        return changed
    kinds = ("<f8", "<f2", ">f4", "<i8", "u1", "?", "<i4", "<c8", "<U1")
    with np.errstate(all="ignore"):
        if way < 6:
            return array.astype(rng.choice(kinds))
    shapes = (
        array[None],
        array[..., None],
        array.reshape(-1),
        array[:0],
        array.T,
        np.zeros(0, array.dtype),
    )
    return rng.choice(
        (
            *shapes,
            np.asfortranarray(array),
            np.array(array.sum()),
            array[:-1] if array.ndim else array,
        )
    )


@fits("npz", "npz")
def npz_arrays(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change an array of an ``.npz``, or the head of one."""
    members = members_of(data)
    name = rng.choice([*members])
    if rng.random() < 0.5:
        members[name] = npy_head(rng, members[name])
    else:
        array = np.load(io.BytesIO(members[name]), allow_pickle=False)
        members[name] = np_file(change_array(rng, array))
    return zipped([*members.items()])


@fits("npz-json", "npz-json", "npz-json")
def npz_metadata(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change the JSON text that minirpn keeps in an ``.npz``."""
    members = members_of(data)
    text = np.load(io.BytesIO(members["metadata.npy"])).tobytes()
    changed = encoded(rng, change_json(rng, json.loads(text)))
    members["metadata.npy"] = np_file(np.frombuffer(changed, np.uint8))
    return zipped([*members.items()])
