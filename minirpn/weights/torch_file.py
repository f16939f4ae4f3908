"""Read PyTorch's ``.pth`` and ``.pt``: the zip container, and the legacy one from before 1.6."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from minirpn.weights.damage import BFLOAT16, MOST_STEPS, Damage, cut, item_bytes, numbers
from minirpn.weights.npz import check_members, read_member
from minirpn.weights.torch_pickle import Storage, Tensor, read_pickle

_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ORDERS = {"little": "<", "big": ">"}
_DEEPEST = 4  # state dict inside of a checkpoint inside of ...

Storages = dict[str, np.ndarray]


def parse_torch_zip(data: bytes) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the bytes of a file ``torch.save`` has written.

    Raises
    ------
    Exception
        One of `minirpn.weights.damage.DAMAGE`.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_members(archive, len(data))
        members = set(archive.namelist())
        (root,) = (name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl"))
        order = "little"
        if f"{root}byteorder" in members:
            order = read_member(archive, f"{root}byteorder").decode()
        described = read_pickle(io.BytesIO(read_member(archive, f"{root}data.pkl")))
        tensors = _tensors(described.content)
        storages: Storages = {}
        for storage in described.storages.values():
            dtype = _dtype(storage, _ORDERS[order])
            raw = read_member(archive, f"{root}data/{storage.key}")
            storages[storage.key] = numbers(cut(raw, 0, storage.size * item_bytes(dtype)), dtype)
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def parse_torch_legacy(data: bytes) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the bytes of a file PyTorch before 1.6 has written.

    Five pickles stand one behind the other (magic number, protocol, system, content, the keys of
    the storages); then come the storages, each a count of eight bytes and its numbers.

    Raises
    ------
    Exception
        One of `minirpn.weights.damage.DAMAGE`.
    """
    file = io.BytesIO(data)
    if [read_pickle(file).content for _ in range(2)] != [_LEGACY_MAGIC, _LEGACY_PROTOCOL]:
        raise Damage("a pickle, but not one of torch.save")
    system = read_pickle(file).content
    if not isinstance(system, Mapping):
        raise Damage("no description of the system")
    order = "<" if system.get("little_endian", True) else ">"
    described = read_pickle(file)
    tensors = _tensors(described.content)
    keys = read_pickle(file).content
    if not isinstance(keys, list) or sorted(keys) != sorted(described.storages):
        raise Damage("other storages than those announced")
    storages: Storages = {}
    position = file.tell()
    for key in keys:
        storage = described.storages[key]
        count = int.from_bytes(cut(data, position, 8), "little", signed=True)
        if count != storage.size:
            raise Damage(f"storage {key}: {count} numbers, {storage.size} announced")
        dtype = _dtype(storage, order)
        raw = cut(data, position + 8, count * item_bytes(dtype))
        storages[key] = numbers(raw, dtype)
        position += 8 + len(raw)
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def _tensors(content: Any) -> dict[str, Tensor]:
    """Return the tensors in nested dictionaries, names joined by dots."""
    found: dict[str, Tensor] = {}
    open_items = [("", content, 0)]
    for _ in range(MOST_STEPS):
        if not open_items:
            return found
        name, item, depth = open_items.pop()
        if isinstance(item, Tensor):
            found[name] = item
        elif isinstance(item, dict) and depth < _DEEPEST:
            prefix = f"{name}." if name else ""
            inner = [(f"{prefix}{key}", value, depth + 1) for key, value in item.items()]
            open_items += inner[::-1]
            if len(open_items) > MOST_STEPS:
                break
    raise Damage("more names than any network has")


def _dtype(storage: Storage, order: str) -> str:
    if storage.kind not in _DTYPES:
        raise Damage(f"storage {storage.key}: numbers of an unknown kind, {storage.kind}")
    if storage.size < 0:
        raise Damage(f"storage {storage.key}: {storage.size} numbers")
    return order + _DTYPES[storage.kind]


def _array(tensor: Tensor, storages: Storages) -> np.ndarray:
    """Return a tensor as a view of its storage.

    Raises
    ------
    Damage
        It would look beyond the storage, or holds more numbers than the storage has.
    """
    base = storages[tensor.storage.key]
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    steps = (*shape, *strides, offset)
    if any(type(step) is not int or step < 0 for step in steps) or len(shape) != len(strides):
        raise Damage("a tensor whose shape or strides are no counts")
    if len(shape) > 32:
        raise Damage(f"a tensor of {len(shape)} dimensions")
    if 0 in shape:
        return np.empty(0, base.dtype)
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if last >= base.size or math.prod(shape) > base.size:
        raise Damage(f"a tensor {shape} that looks beyond the {base.size} numbers it has")
    return np.lib.stride_tricks.as_strided(
        base[offset:], shape, [step * base.itemsize for step in strides], writeable=False
    )
