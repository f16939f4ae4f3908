"""Small files that ask for much end in one line, soon, in little memory: nothing is believed."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from minirpn.budget import Budget
from minirpn.errors import InputError
from minirpn.training.checkpoint import format_of, load_checkpoint
from minirpn.weights import read_npz, read_weights
from minirpn.weights.damage import bytes_on_disk

MOST_MEMORY = 2**27 + 2**24  # bytes: twice what is always allowed, and some
SLOWEST = 30  # seconds, against what would take hours
MAGIC, SYSTEM = 0x1950A86A20F9469CFC6C, {"protocol_version": 1001, "little_endian": True}
TOWER = b")" + b"q\x00h\x00\x86" * 60  # each tuple holds the one before it twice: 2^60 of them


@contextmanager
def soon() -> Iterator[None]:
    """Check that the block does not take for ever."""
    began = time.perf_counter()
    yield
    assert time.perf_counter() - began < SLOWEST


@contextmanager
def little(most: int = MOST_MEMORY) -> Iterator[None]:
    """Check that the block takes little memory, and soon ends."""
    with soon():
        tracemalloc.start()
        try:
            yield
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < most


@pytest.fixture
def refused(tmp_path) -> Callable[..., str]:
    """See the bytes of a weights file refused, and return the reason.

    To trace memory makes what takes many steps ten times as slow.
    """

    def check(data: bytes, *, traced: bool = True, most: int = MOST_MEMORY) -> str:
        path = tmp_path / "weights"
        path.write_bytes(data)
        with little(most) if traced else soon(), pytest.raises(InputError) as caught:
            read_weights(path)
        assert str(caught.value).startswith(f"{path}: not a whole weights file: ")
        return str(caught.value).partition("weights file: ")[2]

    return check


def archive_of(method: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), content)
    return buffer.getvalue()


def legacy(described: bytes, keys: bytes = b"\x80\x02].") -> bytes:
    return b"".join(pickle.dumps(one, 2) for one in (MAGIC, 1001, SYSTEM)) + described + keys


# --- pickles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [
        TOWER + b"\x8c\x01a\x93",  # as a module's name, which was made a text
        b"\x8c\x01a" + TOWER + b"\x93",
        b"}" + TOWER + b"K\x01s",  # as a key, which is hashed
        b"}(K\x01" + TOWER + b"u" + TOWER + b"Q",  # as a storage
        b"}" + TOWER + b"R",
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + TOWER + b"K\x00))tR",
    ],
    ids=["module", "name", "key", "storage", "function", "tensor"],
)
def test_towers_of_tuples(program, refused):
    data = archive_of(m__data_pkl=b"\x80\x04" + program + b".")
    assert len(data) < 1000
    assert refused(data)


@pytest.mark.parametrize("place", ["keys", "magic"])
def test_towers_in_a_legacy_file(place, refused):
    towers = TOWER + b"q\x01" + TOWER + b"q\x02"
    two = b"\x80\x02" + towers + b"](h\x01h\x02e."
    if place == "keys":
        assert refused(legacy(b"\x80\x02}.", two)) == "other storages than those announced"
    else:
        assert refused(b"\x80\x02" + TOWER + b"." + pickle.dumps(1001, 2)) == (
            "a pickle, but not one of torch.save"
        )


def test_a_list_made_a_dictionary_again_and_again(refused):
    pairs = b"".join(b"X\x04\x00\x00\x00%04dK\x01\x86" % number for number in range(9000))
    again = b"ccollections\nOrderedDict\nh\x00\x85R" * 2000
    data = archive_of(m__data_pkl=b"\x80\x02](" + pairs + b"eq\x00" + again + b".")
    assert "more values" in refused(data, traced=False)


def test_names_that_grow_from_dictionary_to_dictionary(refused):
    name = b"X" + struct.pack("<I", 10**6) + b"n" * 10**6
    inner = b"".join(b"X\x04\x00\x00\x00%04d}" % number for number in range(9000))
    data = archive_of(m__data_pkl=b"\x80\x02}" + name + b"}(" + inner + b"us.")
    assert "a name" in refused(data)


def test_sides_of_millions_of_digits(refused):
    side = b"\x8b" + struct.pack("<I", 2**20) + b"\x7f" * 2**20
    sides = b"(" + side + b"q\x05" + b"h\x05" * 30 + b"t"
    storage = b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x01tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + sides + sides + b"tR"
    data = archive_of(
        m__data_pkl=b"\x80\x02}X\x01\x00\x00\x00a" + tensor + b"s.", m__data__0=b"\0" * 4
    )
    assert "no counts" in refused(data)


def test_a_description_of_a_hundred_megabytes(refused):
    text = b"X" + struct.pack("<I", 10**8) + b"n" * 10**8
    assert "description is longer" in refused(b"\x80\x02" + text + b".")


def test_strides_that_no_processor_has(writers, parse, refused):
    array = np.arange(4, dtype=np.float32)
    # Of one row alone, it does not matter how far the next would be.
    far = writers["PyTorch"]({"a": array}, shape=(1, 4), strides=(2**61, 1))
    np.testing.assert_array_equal(parse(far)[1]["a"], array[None])
    assert "no counts" in refused(
        writers["PyTorch"]({"a": array}, shape=(1, 4), strides=(2**62, 1))
    )


# --- bytes that are used many times --------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["BF16", "F32", "U8"])
def test_entries_that_share_their_bytes(dtype, refused):
    side = 4 * 2**20 // {"BF16": 2, "F32": 4, "U8": 1}[dtype]
    entry = {"dtype": dtype, "shape": [side], "data_offsets": [0, 4 * 2**20]}
    header = json.dumps({f"a{number}": entry for number in range(1200)}).encode()
    data = struct.pack("<Q", len(header)) + header + b"\0" * (4 * 2**20)
    assert "far more bytes" in refused(data)


@pytest.mark.parametrize("kind", ["PyTorch", "PyTorch (legacy)"])
def test_tensors_that_share_their_numbers(kind, writers, refused):
    array = np.zeros(2**20, np.float32)
    one = writers[kind]({"a": array})
    start = one.index(b"ctorch._utils")
    tensor = one[start : one.index(b"tR", one.index(b"OrderedDict", start)) + 2]
    names = [b"X\x04\x00\x00\x00%04d" % number for number in range(100)]
    described = b"\x80\x02}(" + b"".join(name + tensor for name in names) + b"u."
    assert "far more bytes" in refused(writers[kind]({"a": array}, described=described))


def test_data_sets_that_share_their_bytes(refused):
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["conv/kernel:0"] = np.zeros(2**20, np.float32)
        for number in range(300):
            file[f"conv{number}/kernel:0"] = file["conv/kernel:0"]  # a hard link
    assert "far more bytes" in refused(buffer.getvalue())


# --- archives ------------------------------------------------------------------------------------


def as_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def lying(name: str, said: int, true: int) -> bytes:
    """Return an archive of one member of zeros whose table of contents says another size."""
    data = bytearray(archive_of(zipfile.ZIP_DEFLATED, **{name: b"\0" * true}))
    entry = data.index(b"PK\1\2")
    data[entry + 16 : entry + 20] = struct.pack("<I", zlib.crc32(b"\0" * said))
    data[entry + 24 : entry + 28] = struct.pack("<I", said)
    return bytes(data)


@pytest.mark.parametrize("name", ["metadata", "m__data_pkl", "model.weights.h5"])
def test_a_table_of_contents_that_lies_about_sizes(name, refused, tmp_path):
    data = lying(name, 100, 2**26)
    assert refused(data, most=2**24)
    path = tmp_path / "lying.npz"
    path.write_bytes(data)
    with little(2**24):
        assert format_of(path) is None
    with little(2**24), pytest.raises(InputError, match="not a whole checkpoint"):
        load_checkpoint(path)
    assert refused(lying(name, 2**28, 100)).endswith("far more bytes than it has")
    assert "damaged at" in refused(lying(name, 1000, 100))


def test_a_hundred_thousand_members(refused):
    one = archive_of(**{"000000": b""})
    entry = one.index(b"PK\1\2")
    for count, reason in (
        (100_000, "its description is longer than that of any network"),
        (20_000, "20,000 members, more than any network has arrays"),
    ):
        table = b"".join(one[entry:-28] + b"%06d" % number for number in range(count))
        end = one[-22:-10] + struct.pack("<I", len(table)) + one[-6:]
        assert refused(one[:entry] + table + end) == reason


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_odd_members(refused, parse):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", as_npy(np.zeros(3)))
    assert refused(buffer.getvalue()) == "two members have the same name"
    good = archive_of(**{"a.npy": as_npy(np.zeros(3))})
    for place, content, reason in (
        (6, b"\x01", "encrypted"),  # in the local header and, two bytes on, in the table
        (30, b"b", "damaged at a: "),  # another name
    ):
        data = bytearray(good)
        data[place : place + 1] = content
        if reason == "encrypted":
            entry = data.index(b"PK\1\2")
            data[entry + 8] |= 1
        assert reason in refused(bytes(data))
    long = archive_of(**{"n" * 301 + ".npy": as_npy(np.zeros(3))})
    assert "a name that is no name" in refused(long)
    # A name is a name, and no path.
    for name in ("/etc/passwd", "../../a"):
        assert list(parse(archive_of(**{name: as_npy(np.zeros(3))}))[1]) == [name]


@pytest.mark.parametrize(
    "header",
    [
        "(" * 9000,
        "[" * 200 + "]" * 200,
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4611686018427387904, 9)}",
        "{'descr': 'S4000000000', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '(1000000000,)f8', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'f4,f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'V9', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': 'U2', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}" + " " * 60_000,
        "\\N{" * 3000,
    ],
    ids=lambda header: header[:30] + header[-15:],
)
def test_headers_that_numpy_should_not_evaluate(header, refused):
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n"
    assert refused(archive_of(**{"a.npy": head + b"\0" * 8}))


def test_a_header_of_many_megabytes(refused):
    head = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**25) + b"(" * 2**25
    assert refused(archive_of(**{"a.npy": head}))


# --- protocol buffers, HDF5, JSON ----------------------------------------------------------------


def field(number: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + body


def test_sides_by_the_million(refused):
    shape = field(7, field(1, b"\x01" * 2_000_000))
    assert "more values" in refused(field(2, field(4, b"a") + field(6, shape)), traced=False)


def test_layers_by_the_ten_thousand(refused):
    blob = field(5, b"\0" * 4) + field(7, field(1, b"\x01"))
    layers = (field(2, field(4, b"%05d" % number) + field(6, blob)) for number in range(40_000))
    data = field(1, b"n") + b"".join(layers)
    assert "arrays, more than any" in refused(data, traced=False)


def test_messages_in_messages_in_messages(refused):
    message = b"\x08\x01"
    for _ in range(3000):
        message = field(6, message)
    assert refused(field(2, message))


def test_json_of_a_million_values(refused):
    header = b'{"a":[' + b"[]," * 3_000_000 + b"[]]}"
    assert "more values" in refused(struct.pack("<Q", len(header)) + header)


# --- files that are none, and files of holes -----------------------------------------------------

READERS = (read_weights, read_npz, load_checkpoint)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with pipes in its folders")
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    paths = (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "gone", Path("a\0b"))
    for path in paths:
        with little(), pytest.raises(InputError, match=r"\A[^\n]*: no [^\n]*\Z"):
            read(path)
        with little():
            assert format_of(path) is None


HEADS = {
    "none": b"",
    "PyTorch (legacy)": pickle.dumps(MAGIC, 2),
    "Keras": b"\x89HDF\r\n\x1a\n",
    "safetensors": struct.pack("<Q", 2**31) + b"{",
    "caffemodel": b"\x0a\x01n",
    "npz": b"PK\x03\x04",
}


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="needs a system that tells of holes")
@pytest.mark.parametrize("kind", HEADS)
def test_four_gigabytes_of_nothing(kind, tmp_path):
    path = tmp_path / "sparse"
    path.write_bytes(HEADS[kind])
    os.truncate(path, 2**32 - 1)
    if path.stat().st_blocks * 512 > 2**20:
        pytest.skip("the file system has no sparse files")
    for read in READERS:
        with little(), pytest.raises(InputError, match="not a whole"):
            read(path)
    os.truncate(path, 2**32 + 1)
    with pytest.raises(InputError, match="larger than any"):
        read_weights(path)


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="needs a system that tells of holes")
def test_a_whole_archive_of_nothing(tmp_path):
    """Three gigabytes of zeros are stored in it, as the table of contents says."""
    path, size = tmp_path / "sparse.npz", 3 * 2**30
    whole = archive_of(**{"a.npy": b""})
    entry = whole.index(b"PK\1\2")
    table, end = bytearray(whole[entry:-22]), bytearray(whole[-22:])
    table[20:28] = struct.pack("<II", size, size)
    end[16:20] = struct.pack("<I", entry + size)
    with path.open("wb") as file:
        file.write(whole[:entry])
        file.seek(entry + size)
        file.write(table + end)
    for read in READERS:
        with little(), pytest.raises(InputError, match="far more bytes than it has"):
            read(path)


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="needs a system that tells of holes")
def test_only_what_is_on_the_disk_counts(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for start in range(0, 2**20, 2**17):
            file.seek(start)
            file.write(b"x" * 4096)
        file.truncate(2**30)
    if path.stat().st_blocks * 512 > 2**20:
        pytest.skip("the file system has no sparse files")
    with path.open("rb") as file:
        assert 8 * 4096 <= bytes_on_disk(file.fileno(), 2**30) <= 2**19
        assert file.tell() == 0


@pytest.mark.parametrize(
    ("number", "counted"), [(errno.EINVAL, 100), (errno.ENXIO, 0)], ids=["cannot tell", "a hole"]
)
def test_a_file_system_that_does_not_tell(number, counted, tmp_path, monkeypatch):
    def lseek(handle: int, position: int, how: int) -> int:
        if how != os.SEEK_SET:
            raise OSError(number, os.strerror(number))
        return position

    monkeypatch.setattr("os.lseek", lseek)
    monkeypatch.setattr("os.SEEK_DATA", 3, raising=False)
    monkeypatch.setattr("os.SEEK_HOLE", 4, raising=False)
    assert bytes_on_disk(7, 100) == counted
    monkeypatch.delattr("os.SEEK_DATA")
    assert bytes_on_disk(7, 100) == 100


def test_a_file_with_holes_may_be_read(writers, tmp_path):
    """A copy may have holes where the numbers are zero."""
    arrays = {"a": np.zeros(2**18, np.float32), "b": np.ones(2**18, np.float32)}
    path = tmp_path / "holes"
    data = writers["npz"](arrays)
    with path.open("wb") as file:
        for start in range(0, len(data), 4096):
            block = data[start : start + 4096]
            if any(block):
                file.seek(start)
                file.write(block)
        file.truncate(len(data))
    for name, array in read_weights(path).arrays.items():
        np.testing.assert_array_equal(array, arrays[name])


# --- any budget ----------------------------------------------------------------------------------


def test_no_reader_makes_more_than_its_budget(kind, writers, parse):
    """Whatever the budget, it is held; and what is read within it is the whole file."""
    rng, chance = np.random.default_rng(3), random.Random(kind)
    arrays = {
        f"layer{number}.weight": rng.normal(size=(64, 64, 3, 3)).astype(np.float32)
        for number in range(16)
    }
    data, reasons = writers[kind](arrays), []
    for _ in range(25):
        made, values = chance.randrange(1, 4 * len(data)), chance.randrange(1, 4000)
        tracemalloc.start()
        try:
            parse(data, Budget(made=made, values=values, depth=8))
        except ValueError as error:
            reasons.append(str(error))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= made + 2**20
    assert 0 < len(reasons) < 25
    assert {reason[:3] for reason in reasons} == {"it "}
