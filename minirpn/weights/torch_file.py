"""Read PyTorch's ``.pth`` and ``.pt``: the zip container, and the legacy one from before 1.6.

Both hold a pickle, and a pickle is a program for a small stack machine that may call any function
by name. The second half of this file is that machine without the calls. It knows the words that
``torch.save`` uses, keeps a tensor as a description, and stops at anything else. (The unpickler of
the standard library, with a `find_class` of our own, would call nothing either, but a pickle of a
few bytes can make it take gigabytes of memory or end the process.)
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from minirpn.weights.damage import BFLOAT16, MOST_STEPS, Damage, cut, item_bytes, numbers, unwarned
from minirpn.weights.npz import check_members, read_member


class Named(NamedTuple):
    """A class or function that the pickle names. It is not looked up."""

    module: str
    name: str


class Storage(NamedTuple):
    """A run of numbers kept outside of the pickle."""

    key: str
    kind: str  # such as FloatStorage
    size: int  # in numbers


class Tensor(NamedTuple):
    """A window into a storage, counted in its items."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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


def parse_torch_zip(data: bytes) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the bytes of a file ``torch.save`` has written."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_members(archive, len(data))
        members = set(archive.namelist())
        (root,) = (name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl"))
        order = "little"
        if f"{root}byteorder" in members:
            order = read_member(archive, f"{root}byteorder").decode()
        described = read_pickle(io.BytesIO(read_member(archive, f"{root}data.pkl")))
        tensors = _tensors(described.content)
        storages: dict[str, np.ndarray] = {}
        for storage in described.storages.values():
            dtype = _dtype(storage, _ORDERS[order])
            raw = read_member(archive, f"{root}data/{storage.key}")
            storages[storage.key] = numbers(cut(raw, 0, storage.size * item_bytes(dtype)), dtype)
    return {name: _array(tensor, storages) for name, tensor in tensors.items()}


def parse_torch_legacy(data: bytes) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the bytes of a file PyTorch before 1.6 has written.

    Five pickles follow one another (magic number, protocol, system, content, the keys of
    the storages); then come the storages, each a count of eight bytes and its numbers.
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
    storages: dict[str, np.ndarray] = {}
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
    tensors: dict[str, Tensor] = {}
    open_items = [("", content, 0)]
    for _ in range(MOST_STEPS):
        if not open_items:
            return tensors
        name, item, depth = open_items.pop()
        if isinstance(item, Tensor):
            tensors[name] = item
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


def _array(tensor: Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    """Return a tensor as a view of its storage, after a check that it stays inside."""
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
        raise Damage(f"a tensor {shape} that reaches beyond the {base.size} numbers it has")
    return np.lib.stride_tricks.as_strided(
        base[offset:], shape, [step * base.itemsize for step in strides], writeable=False
    )


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Described(NamedTuple):
    """What a pickle describes."""

    content: Any  # dictionaries, lists, tuples, numbers, texts as they are; tensors as `Tensor`
    storages: dict[str, Storage]  # all that it refers to, by key


def read_pickle(file: BinaryIO) -> Described:
    """Return what the next pickle in `file` describes, and leave the file position after it.

    It raises `Damage` if the pickle would run something, or has words that ``torch.save`` has not.
    """
    machine = _Machine()
    with unwarned():
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MOST_STEPS:
                raise Damage("a pickle longer than that of any network")
            if opcode.name == "STOP":
                return Described(machine.pop(), machine.storages)
            machine.step(opcode.name, argument)
    raise Damage("a pickle without an end")


class _Machine:
    """The stack and the memo, and what each word does to them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}  # not a list: the file chooses the numbers
        self.storages: dict[str, Storage] = {}

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Damage("a pickle that takes more from the stack than there is")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def step(self, word: str, argument: Any) -> None:
        match word:
            case _ if word in _LITERALS:
                self.stack.append(argument)
            case _ if word in _CONSTANTS:
                self.stack.append(_CONSTANTS[word])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case _ if word in _TUPLES:
                self.stack.append(tuple([self.pop() for _ in range(_TUPLES[word])][::-1]))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[int(argument)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[int(argument)])
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.stack.append(_MARK)
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "APPEND":
                self.extend([self.pop()])
            case "APPENDS":
                self.extend(self.pop_to_mark())
            case "SETITEM":
                self.update([self.pop(), self.pop()][::-1])
            case "SETITEMS":
                self.update(self.pop_to_mark())
            case "GLOBAL":
                self.stack.append(Named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self.stack.append(Named(*[str(self.pop()), str(self.pop())][::-1]))
            case "BINPERSID":
                self.stack.append(self.storage(self.pop()))
            case "REDUCE":
                self.stack.append(_called(*[self.pop(), self.pop()][::-1]))
            case "BUILD":
                self.pop()  # attributes, such as a state dict's _metadata
            case _:
                raise Damage(f"a pickle with {word}, which weights do not need")

    def extend(self, items: list[Any]) -> None:
        if not self.stack or not isinstance(self.stack[-1], list):
            raise Damage("a pickle that appends to what is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if not self.stack or not isinstance(self.stack[-1], dict):
            raise Damage("a pickle that fills what is no dictionary")
        self.stack[-1].update(_dictionary(list(zip(items[::2], items[1::2], strict=True))))

    def storage(self, reference: Any) -> Storage:
        """Return the storage that a persistent id names."""
        # A sixth item is for a view of another storage, which PyTorch has not written since 0.4.
        if isinstance(reference, tuple) and reference[5:] == (None,):
            reference = reference[:5]
        match reference:
            case "storage", Named("torch", kind), str(key), str(), int(count):
                storage = Storage(key, kind, count)
                if self.storages.setdefault(key, storage) != storage:
                    raise Damage(f"storage {key}: described in two ways")
                return storage
        raise Damage("a pickle that refers to something other than a storage")


def _dictionary(pairs: list[Any]) -> dict[str | int, Any]:
    """Return the dictionary of pairs (key, value)."""
    # Names and numbers alone: hashing a tuple of tuples of tuples ... would end the process.
    if not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | int)
        for pair in pairs
    ):
        raise Damage("a pickle with a dictionary of other things than names")
    return dict(pairs)


def _called(function: Any, arguments: Any) -> Any:
    """Return what a call describes, for the few calls that describe weights."""
    match function, arguments:
        case Named("collections", "OrderedDict"), ():
            return {}
        case Named("collections", "OrderedDict"), (list(pairs),):  # Python 2's way
            return _dictionary(pairs)
        case Named("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"), (
            Storage() as storage,
            int(offset),
            tuple(shape),
            tuple(strides),
            *_,
        ):
            return Tensor(storage, offset, shape, strides)
        case Named("torch._utils", "_rebuild_parameter"), (Tensor() as tensor, *_):
            return tensor
        case Named("torch", "Size"), (tuple(sides),):
            return sides
        case Named(module, name), _:
            raise Damage(f"it would run {module}.{name}, and nothing in a weights file is run")
    raise Damage("a pickle that calls what is no function")
