"""Files made to do harm, and files cut short, end in one line and touch nothing."""

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.weights.files import read_weights


@pytest.fixture
def refused(tmp_path):
    """Write bytes to a file, see it refused in one line, and return the reason."""

    def check(data: bytes) -> str:
        path = tmp_path / "hostile.pth"
        path.write_bytes(data)
        with pytest.raises(InputError) as error:
            read_weights(path)
        message = str(error.value)
        assert message.startswith(f"{path}: not a whole weights file: ")
        assert "\n" not in message
        assert len(message) < 400
        return message.partition("weights file: ")[2]

    return check


class Runs:
    """Unpickled, this creates a file."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("container", ["bare", "PyTorch", "PyTorch (legacy)"])
def test_no_pickle_is_run(container, protocol, writers, arrays, refused, tmp_path):
    bomb = pickle.dumps({"conv1.weight": Runs(tmp_path / "ran")}, protocol)
    data = bomb if container == "bare" else writers[container](arrays, described=bomb)
    assert "system, and nothing in a weights file is run" in refused(data)
    assert not (tmp_path / "ran").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.pth"]


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02cos\nsystem\n.",  # named, but not called: not a tensor either
        b"\x80\x02(S'ls'\nios\nsystem\n.",  # INST
        b"\x80\x02(cos\nsystem\nS'ls'\no.",  # OBJ
        b"\x80\x02cos\nPathLike\n)\x81.",  # NEWOBJ
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02}(((K\x01tttK\x02u.",  # a tuple of tuples as key
        b"\x80\x02" + b")" + b"\x85" * 200_000 + b"}\x94K\x01s.",
        b"\x80\x02" + b"K\x01" * 400_000 + b".",
        b"\x80\x04\x96" + struct.pack("<Q", 2**40) + b".",  # BYTEARRAY8
        b"\x80\x02}r\xff\xff\xff\x7f.",  # LONG_BINPUT: the unpickler of Python would take 16 GB
        b"\x80\x02h\x05.",
        b"\x80\x02a.",
        b"\x80\x02s.",
        b"\x80\x02t.",
        b"\x80\x02R.",
        b"\x80\x02",
    ],
    ids=lambda program: program[2:12].hex(),
)
def test_words_that_weights_do_not_need(program, writers, arrays, parse):
    data = writers["PyTorch"](arrays, described=program)
    with contextlib.suppress(ValueError):
        assert parse(data)[1] == {}


def test_dictionaries_that_double_and_double_end(writers, arrays, refused, parse):
    # Each of 60 dictionaries holds the one before it twice: 2^60 names, if all were visited.
    program = b"\x80\x02}q\x00" + b"".join(
        b"}q%c(X\x01\x00\x00\x00ah%cX\x01\x00\x00\x00bh%cu" % (k + 1, k, k) for k in range(60)
    )
    assert parse(writers["PyTorch"](arrays, described=program + b"."))[1] == {}
    wide = b"\x80\x02}q\x00" + b"".join(
        b"}q%c(" % (k + 1)
        + b"".join(b"X\x04\x00\x00\x00%04dh%c" % (n, k) for n in range(2000))
        + b"u"
        for k in range(3)
    )
    assert "more values than" in refused(writers["PyTorch"](arrays, described=wide + b"."))


@pytest.mark.parametrize("kind", ["PyTorch", "PyTorch (legacy)"])
@pytest.mark.parametrize(
    "lie",
    [
        {"size": 2**40},
        {"size": -1},
        {"offset": 1},
        {"offset": -1},
        {"shape": (4, 3, 3, 3)},
        {"shape": (2**40,), "strides": (0,)},
        {"shape": (2, 2), "strides": (1, -1)},
        {"strides": (2**40, 1, 1, 1)},
        {"shape": (1,) * 40, "strides": (1,) * 40},
        {"shape": (0, 2**60), "strides": (1, 1), "size": 2**50},
        {"kind": "QInt8Storage"},
    ],
    ids=str,
)
def test_tensors_that_look_beyond_their_numbers(kind, lie, writers, rng, refused):
    array = rng.normal(size=(4, 3, 3, 2)).astype(np.float32)
    assert refused(writers[kind]({"a": array}, **lie))


def packed(method, size, **names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(names.get("name", "a.npy"), b"\0" * size)
    return buffer.getvalue()


def test_archives_that_unpack_to_far_more_than_they_are(refused):
    assert "unpack to far more" in refused(packed(zipfile.ZIP_DEFLATED, 2**27))
    for name in ("m/data.pkl", "model.weights.h5"):
        assert "unpack to far more" in refused(packed(zipfile.ZIP_DEFLATED, 2**27, name=name))
    assert "packed in a way" in refused(packed(zipfile.ZIP_LZMA, 10))
    assert "packed in a way" in refused(packed(zipfile.ZIP_BZIP2, 10))


def npy(header):
    text = str(header).encode()
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", head + b"\0" * 64)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("descr", "shape"),
    [("<f8", (2**50,)), ("<f8", (-2, -4)), ("|O", (8,)), ("<f8", (9,)), ("<M8[s]", (8,))],
)
def test_lying_npy_headers(descr, shape, refused):
    assert refused(npy({"descr": descr, "fortran_order": False, "shape": shape}))


def safetensors(entry, body=b"\0" * 16):
    header = json.dumps({"a": entry}).encode()
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [-1, -4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [True, 4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]},
        {"dtype": "F8", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "F32"},
        [],
        7,
    ],
    ids=str,
)
def test_lying_safetensors_headers(entry, refused):
    assert refused(safetensors(entry))


def test_json_of_endless_depth(refused):
    header = b'{"a":' + b"[" * 100_000
    assert refused(struct.pack("<Q", len(header)) + header)


def field(number, body):
    size, length = len(body), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + body


@pytest.mark.parametrize(
    "blob",
    [
        field(5, b"\0" * 16) + field(7, field(1, b"\x05")),
        field(5, b"\0" * 16) + field(7, field(1, b"\xff" * 9 + b"\x01")),
        field(5, b"\0" * 16) + field(5, b"\0" * 16),
        b"\x2a\xff\xff\xff\xff\x0f",  # 4 GB of floats announced
        b"\x08\x04",
    ],
    ids=["five of four", "2^64", "two runs", "cut", "no numbers"],
)
def test_lying_blobs(blob, refused):
    layer = field(4, b"conv1") + field(6, blob)
    assert refused(field(1, b"net") + field(2, layer))


def test_a_message_of_endless_fields(refused):
    assert "more values" in refused(b"\x0a\x00" * 400_000)


def test_hdf5_that_leads_in_circles(writers, arrays, refused):
    data = bytearray(writers["Keras"](arrays))
    # The root's B-tree points, as its first child, to itself, on a level above the leaves.
    tree = data.index(b"TREE")
    data[tree + 5] = 1
    data[tree + 32 : tree + 40] = struct.pack("<Q", tree)
    assert "nested deeper" in refused(bytes(data))


def test_hdf5_that_keras_does_not_write(refused):
    h5py = pytest.importorskip("h5py")
    newer, squeezed = io.BytesIO(), io.BytesIO()
    with h5py.File(newer, "w", libver="latest") as file:
        file["conv1/kernel:0"] = np.zeros(3, np.float32)
    with h5py.File(squeezed, "w") as file:
        file.create_dataset("conv1/kernel:0", data=np.zeros(3, np.float32), compression="gzip")
    for buffer in (newer, squeezed):
        reason = refused(buffer.getvalue())
        assert "in a layout that Keras does not use" in reason
        assert reason.endswith(": copy it with h5py first, as the how-to about weights shows")


def test_every_cut_is_refused(kind, writers, arrays, rng, parse):
    data = writers[kind](arrays)
    whole = parse(data)[1]
    for length in {0, 1, 7, 8, 9, len(data) - 1, *rng.integers(0, len(data), 60).tolist()}:
        try:
            read = parse(data[:length])[1]
        except ValueError:
            continue
        # A caffemodel may end behind any layer; what is read is right.
        assert kind == "caffemodel"
        assert set(read) < set(whole)


@pytest.mark.parametrize("kind", ["npz", "PyTorch", "Keras archive"])
def test_wrong_checksums(kind, writers, arrays, refused):
    data = bytearray(writers[kind](arrays))
    place = data.index(arrays["conv1.bias"].tobytes())
    data[place + 5] ^= 1
    assert refused(bytes(data)).startswith("damaged at ")
