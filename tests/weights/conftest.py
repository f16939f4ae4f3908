"""Weights files of every kind, written by other libraries than minirpn or byte by byte."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping

import h5py
import numpy as np
import pytest
import safetensors.numpy
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from minirpn.budget import Budget
from minirpn.weights.damage import MOST_STEPS
from minirpn.weights.files import parse_weights

Arrays = Mapping[str, np.ndarray]


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def count(value: int) -> bytes:
    raw = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def counts(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(count, values)) + b"t"


KINDS = {"<f4": "Float", "<f8": "Double", "<f2": "Half", "<i8": "Long"}


def tensor(array: np.ndarray, key: str, **lies) -> bytes:
    """Return the words that rebuild a tensor, as ``torch.save`` writes them."""
    said = {
        "kind": KINDS[array.dtype.str] + "Storage",
        "size": array.size,
        "offset": 0,
        "shape": array.shape,
        "strides": tuple(step // array.itemsize for step in array.strides),
    } | lies
    reference = text("storage") + f"ctorch\n{said['kind']}\n".encode() + text(key) + text("cpu")
    reference = b"(" + reference + count(said["size"]) + b"tQ"
    window = count(said["offset"]) + counts(said["shape"]) + counts(said["strides"])
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + window + hooks + b"tR"


def state_dict(arrays: Arrays, **lies) -> bytes:
    body = b"".join(
        text(name) + tensor(array, str(key), **lies)
        for key, (name, array) in enumerate(arrays.items())
    )
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + body + b"u."


def torch_zip(arrays: Arrays, described: bytes | None = None, **lies) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/data.pkl", described or state_dict(arrays, **lies))
        archive.writestr("model/byteorder", "little")
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"model/data/{key}", array.tobytes())
        archive.writestr("model/version", "3\n")
    return buffer.getvalue()


def torch_legacy(arrays: Arrays, described: bytes | None = None, **lies) -> bytes:
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    head += pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
    head += described or state_dict(arrays, **lies)
    head += pickle.dumps([str(key) for key in range(len(arrays))], 2)
    return head + b"".join(
        struct.pack("<q", array.size) + array.tobytes() for array in arrays.values()
    )


def npz(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def caffe_messages():
    """Return Caffe's messages, built at run time from the numbers of their fields."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="c", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    layouts = {
        "Shape": [("dim", 1, field.TYPE_INT64, None)],
        "Blob": [
            *((name, k + 1, field.TYPE_INT32, None) for k, name in enumerate(("n", "c", "h", "w"))),
            ("data", 5, field.TYPE_FLOAT, None),
            ("shape", 7, field.TYPE_MESSAGE, "Shape"),
            ("double_data", 8, field.TYPE_DOUBLE, None),
        ],
        "V1": [
            ("name", 4, field.TYPE_STRING, None),
            ("type", 5, field.TYPE_INT32, None),
            ("blobs", 6, field.TYPE_MESSAGE, "Blob"),
        ],
        "V2": [
            ("name", 1, field.TYPE_STRING, None),
            ("type", 2, field.TYPE_STRING, None),
            ("blobs", 7, field.TYPE_MESSAGE, "Blob"),
            ("loss_weight", 5, field.TYPE_FLOAT, None),
        ],
        "Net": [
            ("name", 1, field.TYPE_STRING, None),
            ("layers", 2, field.TYPE_MESSAGE, "V1"),
            ("layer", 100, field.TYPE_MESSAGE, "V2"),
        ],
    }
    single = {"name", "type", "n", "c", "h", "w", "shape"}
    for name, fields in layouts.items():
        message = file.message_type.add(name=name)
        for label, number, kind, of in fields:
            entry = message.field.add(name=label, number=number, type=kind)
            entry.label = field.LABEL_OPTIONAL if label in single else field.LABEL_REPEATED
            if of:
                entry.type_name = f".c.{of}"
            elif label != "loss_weight" and entry.label == field.LABEL_REPEATED:
                entry.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("c.Net"))


def caffe(arrays: Arrays, *, generation: int = 2) -> bytes:
    """Return a network whose layers hold these arrays, by ``LAYER.weight`` and ``LAYER.bias``."""
    net = caffe_messages()(name="some network")
    layers: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        layers.setdefault(name.rsplit(".", 1)[0], []).append(array)
    data = net.layer.add(name="data") if generation == 2 else net.layers.add(name="data")
    assert not data.blobs
    for name, blobs in layers.items():
        layer = net.layers.add(name=name, type=4) if generation == 1 else net.layer.add(name=name)
        if generation == 2:
            layer.type = "Convolution"
            layer.loss_weight.append(0.5)
        for array in blobs:
            blob = layer.blobs.add()
            if array.dtype == np.float64:
                blob.double_data.extend(array.ravel().tolist())
            else:
                blob.data.extend(array.ravel().tolist())
            if generation == 2:
                blob.shape.dim.extend(array.shape)
            else:
                blob.n, blob.c, blob.h, blob.w = (1,) * (4 - array.ndim) + array.shape
    return net.SerializeToString()


def keras(arrays: Arrays, *, root: str = "", old: bool = False) -> bytes:
    """Return a Keras file, outputs last, of arrays that have them first."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            layer, kind = name.rsplit(".", 1)
            new_path = f"{layer}/{'kernel' if kind == 'weight' else 'bias'}:0"
            path = f"{layer}_{'W' if kind == 'weight' else 'b'}_1:0" if old else new_path
            last = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.transpose()
            group = file.require_group(f"{root}{layer}")
            group[path] = last
            group.attrs["weight_names"] = [path.encode()]
        file.create_group(f"{root}activation")
    return buffer.getvalue()


def keras_3(arrays: Arrays, *, root: str = "layers/") -> bytes:
    """Return a ``.weights.h5`` of Keras 3, outputs last, of arrays that have them first.

    As its ``save_weights`` writes it: a group with numbered arrays for each layer, also for layers
    without any, whose attribute says how the user called the layer.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            layer, kind = name.rsplit(".", 1)
            group = file.require_group(f"{root}{layer}/vars")
            group.attrs["name"] = f"my_{layer}"
            last = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.transpose()
            group["0" if kind == "weight" else "1"] = last
        file.create_group(f"{root}max_pooling2d/vars").attrs["name"] = "pool"
        file.create_group("vars").attrs["name"] = "functional"
    return buffer.getvalue()


def keras_archive(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", keras_3(arrays))
    return buffer.getvalue()


WRITERS: dict[str, Callable[..., bytes]] = {
    "npz": npz,
    "PyTorch": torch_zip,
    "PyTorch (legacy)": torch_legacy,
    "caffemodel": caffe,
    "safetensors": lambda arrays: safetensors.numpy.save(dict(arrays)),
    "Keras": keras,
    "Keras archive": keras_archive,
}


@pytest.fixture(scope="session")
def writers() -> dict[str, Callable[..., bytes]]:
    """How to make the bytes of a file of each kind from arrays."""
    return WRITERS


@pytest.fixture(scope="session")
def keras_3_writer() -> Callable[..., bytes]:
    """How to make the bytes of a ``.weights.h5`` of Keras 3 from arrays."""
    return keras_3


@pytest.fixture(scope="session")
def parse() -> Callable[..., tuple[str, dict[str, np.ndarray]]]:
    """Read the bytes of a file of any kind, with the budget of a small file if none is given."""

    def read(data: bytes, budget: Budget | None = None) -> tuple[str, dict[str, np.ndarray]]:
        return parse_weights(io.BytesIO(data), budget or Budget(values=MOST_STEPS, depth=8))

    return read


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    """Two layers' arrays; every number is another one."""
    shapes = {
        "conv1.weight": (4, 3, 3, 2),
        "conv1.bias": (4,),
        "fc.weight": (5, 6),
        "fc.bias": (5,),
    }
    rng = np.random.default_rng(4)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="session", params=list(WRITERS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of file in turn."""
    return request.param
