"""Read Keras' ``.h5`` and ``.keras``: HDF5 with a group for each layer, kernels with outputs last.

HDF5 is a file system in a file. This reads the part of it that h5py writes by default: groups as
symbol tables, data sets in one run of bytes. It does not use the HDF5 library, which does not
return from some broken files.

::

    superblock -> root group
    group      -> B-tree of symbol nodes -> entries (name in a heap, address of an object header)
    data set   -> object header -> shape, kind of number, address of the numbers
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minirpn.budget import Budget
from minirpn.weights.archive import Archive
from minirpn.weights.damage import Damage, checked_name, cut, shaped

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Kinds of messages in an object header.
_DATASPACE, _DATATYPE, _LAYOUT, _CONTINUATION, _SYMBOL_TABLE = 0x01, 0x03, 0x08, 0x10, 0x11
_CONTIGUOUS = 1
_FLOAT = 1
# Where the layers are: in an ``.h5`` of a whole model, and in ``.weights.h5`` of Keras 3 and of
# Keras 2.13 to 2.15.
_ROOTS = ("model_weights/", "layers/", "_layer_checkpoint_dependencies/")
_OPTIMIZERS = ("optimizer_weights/", "optimizer/")
KERAS_MEMBER = "model.weights.h5"  # of a ``.keras`` archive


def parse_keras_archive(archive: Archive, budget: Budget) -> dict[str, np.ndarray]:
    """Return the weights of every layer, as `parse_keras`, given a ``.keras`` file."""
    return parse_keras(archive.read(KERAS_MEMBER), budget)


def parse_keras(data: bytes | memoryview, budget: Budget) -> dict[str, np.ndarray]:
    """Return the weights of every layer, given the bytes of a Keras ``.h5`` file.

    Returns
    -------
    dict
        ``LAYER.weight`` and ``LAYER.bias``, with the outputs first: convolutions HWIO -> OIHW,
        fully connected layers IO -> OI. What is neither keeps its path. In the order of the names,
        ``conv2d_10`` behind ``conv2d_9``.
    """
    # Keras 2.13 to 2.15 on Windows writes a backslash into names.
    arrays_by_path = _File(data, budget).read()
    read = {path.replace("\\", "/"): array for path, array in arrays_by_path.items()}
    arrays: dict[str, np.ndarray] = {}
    for path in sorted(read, key=_in_counting_order):
        array = read[path]
        if path.startswith(_OPTIMIZERS):
            continue
        name = _numbered_name(path, read) or _name(_below_root(path))
        if name in arrays:
            raise Damage(f"two arrays are called {name!r}")
        if name.endswith(".weight"):
            # (H, W, I, O) -> (O, I, H, W), or (I, O) -> (O, I)
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.transpose()
        arrays[name] = array
    if not arrays:
        raise Damage("no weights in it")
    return arrays


def _in_counting_order(path: str) -> list[tuple[int, str]]:
    return [(len(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", path)]


def _below_root(path: str) -> str:
    root = next((root for root in _ROOTS if path.startswith(root)), "")
    return path.removeprefix(root)


def _numbered_name(path: str, read: Mapping[str, np.ndarray]) -> str | None:
    """Return ``LAYER.weight`` of ``layers/LAYER/vars/0``, ``LAYER.bias`` of ``.../vars/1``.

    A layer in a model in a model is ``MODEL/layers/LAYER``. Return None if the layer is none that
    multiplies: it has no array 0 of two sides or more.
    """
    layer, separator, number = path.rpartition("/vars/")
    kernel = read.get(f"{layer}{separator}0")
    if not separator or kernel is None or kernel.ndim < 2:
        return None
    kind = {"0": "weight", "1": "bias"}.get(number)
    return kind and f"{_below_root(layer)}.{kind}"


def _name(path: str) -> str:
    """Return ``LAYER.weight`` of ``LAYER/LAYER/kernel:0`` or Keras 1's ``LAYER/LAYER_W_1:0``."""
    layer, _, rest = path.partition("/")
    leaf = rest.rpartition("/")[2].partition(":")[0]
    if leaf == "kernel" or leaf.startswith(f"{layer}_W"):
        return f"{layer}.weight"
    if leaf == "bias" or leaf.startswith(f"{layer}_b"):
        return f"{layer}.bias"
    return path


def _other_layout(what: str) -> Damage:
    return Damage(
        f"HDF5 in a layout that Keras does not use ({what}): "
        "copy it with h5py first, as the how-to about weights shows"
    )


class _File:
    """The bytes, and a budget of steps in them: its addresses may lead in circles."""

    def __init__(self, data: bytes | memoryview, budget: Budget) -> None:
        self.data, self.budget = data, budget
        self.arrays: dict[str, np.ndarray] = {}

    def unpack(self, layout: str, position: int) -> tuple[Any, ...]:
        """Return the little-endian numbers at a position."""
        self.budget.step()
        return struct.unpack(f"<{layout}", cut(self.data, position, struct.calcsize(f"<{layout}")))

    def expect(self, signature: bytes, position: int) -> None:
        if cut(self.data, position, len(signature)) != signature:
            raise Damage(f"{signature.decode('latin1')!r} is not where it should be")

    def read(self) -> dict[str, np.ndarray]:
        """Return every data set of floating-point numbers by its path."""
        (version,) = self.unpack("B", 8)
        if version > 1:
            raise _other_layout(f"superblock {version}")
        if self.unpack("BB", 13) != (8, 8):
            raise _other_layout("addresses of other than 8 bytes")
        # Version 1 has one more field of 4 bytes in front. Then: base, free space, end of the file,
        # driver, and the root's entry: name, header, ...
        _, _, end, _, _, header = self.unpack("6Q", 24 + 4 * version)
        if end > len(self.data):
            raise Damage(f"cut short: {end} bytes announced, it has {len(self.data)}")
        self.visit(header, "", 0)
        return self.arrays

    def visit(self, header: int, path: str, depth: int) -> None:
        """Collect the data sets at and below an object."""
        messages = dict(self.messages(header))
        if _SYMBOL_TABLE in messages:
            self.budget.check_depth(depth)
            tree, heap = self.unpack("QQ", messages[_SYMBOL_TABLE])
            self.expect(b"HEAP", heap)
            (names,) = self.unpack("Q", heap + 24)
            for name, child in self.entries(tree, names, 0):
                self.visit(child, checked_name(f"{path}/{name}" if path else name), depth + 1)
        elif _LAYOUT in messages and _DATATYPE in messages and _DATASPACE in messages:
            kind = self.unpack("B", messages[_DATATYPE])[0] & 15
            if kind == _FLOAT:
                if path in self.arrays:
                    raise Damage(f"{path}: there twice")
                self.arrays[path] = self.data_set(messages, path)

    def messages(self, header: int) -> Iterator[tuple[int, int]]:
        """Yield kind and position of each message of an object header."""
        version, _, count, _, size = self.unpack("BBHII", header)
        if version != 1:
            raise _other_layout(f"object header {version}")
        blocks = [(header + 16, size)]  # 12 bytes and 4 to align
        for position, size in blocks:
            end = position + size
            while position + 8 <= end and count > 0:
                kind, length = self.unpack("HH", position)
                yield kind, position + 8
                if kind == _CONTINUATION:
                    blocks.append(self.unpack("QQ", position + 8))
                position += 8 + length
                count -= 1

    def entries(self, tree: int, names: int, depth: int) -> Iterator[tuple[str, int]]:
        """Yield name and object header of each member of a group."""
        self.budget.check_depth(depth)
        self.expect(b"TREE", tree)
        level, used = self.unpack("xBH", tree + 4)
        for index in range(used):
            # After 24 bytes, keys and children alternate: key, child, key, child, ..., key.
            (child,) = self.unpack("Q", tree + 24 + 16 * index + 8)
            if level > 0:
                yield from self.entries(child, names, depth + 1)
                continue
            self.expect(b"SNOD", child)
            (count,) = self.unpack("H", child + 6)
            for entry in range(child + 8, child + 8 + 40 * count, 40):
                name, header = self.unpack("QQ", entry)
                yield self.text(names + name), header

    def text(self, position: int) -> str:
        """Return the text that ends at the next zero byte."""
        raw = cut(self.data, position, min(256, max(0, len(self.data) - position))).tobytes()
        if b"\0" not in raw:
            raise Damage("a name without an end")
        return raw.split(b"\0", 1)[0].decode()

    def data_set(self, messages: dict[int, int], path: str) -> np.ndarray:
        """Return the numbers of a data set."""
        order, size = self.unpack("xBxxI", messages[_DATATYPE])
        if size not in (2, 4, 8) or order & 1:
            raise Damage(f"{path}: numbers of an unknown kind")
        version, form = self.unpack("BB", messages[_LAYOUT])
        if (version, form) != (3, _CONTIGUOUS):
            raise _other_layout(f"{path} is chunked or compressed")
        address, count = self.unpack("QQ", messages[_LAYOUT] + 2)
        raw = cut(self.data, address, count)
        return shaped(raw, f"<f{size}", self.shape(messages, path), self.budget)

    def shape(self, messages: dict[int, int], path: str) -> tuple[int, ...]:
        version, rank = self.unpack("BB", messages[_DATASPACE])
        if version not in (1, 2):
            raise _other_layout(f"{path} has data space {version}")
        return self.unpack(f"{rank}Q", messages[_DATASPACE] + (8 if version == 1 else 4))
