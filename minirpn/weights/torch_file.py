"""Read PyTorch's ``.pth`` and ``.pt``: the zip container, and the legacy one from before 1.6.

Both hold a pickle, and a pickle is a program for a small stack machine that may call any function
by name. The second half of this file is that machine without the calls. It knows the words that
``torch.save`` uses, keeps a tensor as a description, and stops at anything else. (The unpickler of
the standard library, with a `find_class` of our own, would call nothing either, but a pickle of a
few bytes can make it take gigabytes of memory or end the process.)
"""

from __future__ import annotations

import contextlib
import io
import math
import pickletools
from collections.abc import Generator, Mapping
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from minirpn.budget import Budget
from minirpn.weights.archive import Archive
from minirpn.weights.damage import (
    BFLOAT16,
    Damage,
    Sips,
    checked_name,
    cut,
    foreign,
    item_bytes,
    numbers,
)


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


def parse_torch_zip(archive: Archive, budget: Budget) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the archive that ``torch.save`` has written."""
    roots = [name.removesuffix("data.pkl") for name in archive.names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Damage(f"{len(roots)} descriptions of its content, not one")
    (root,) = roots
    order = "little"
    if f"{root}byteorder" in archive.names:
        order = bytes(archive.read(f"{root}byteorder")[:9]).decode()
    if order not in _ORDERS:
        raise Damage(f"numbers in an unknown order, {order!r}")
    described = read_pickle(io.BytesIO(archive.read(f"{root}data.pkl")), budget)
    tensors = _tensors(described.content, budget)
    storages: dict[str, np.ndarray] = {}
    for storage in described.storages.values():
        dtype = _dtype(storage, _ORDERS[order])
        raw = archive.read(f"{root}data/{storage.key}")
        raw = cut(raw, 0, storage.size * item_bytes(dtype))
        storages[storage.key] = numbers(raw, dtype, budget)
    return {name: _array(tensor, storages, budget) for name, tensor in tensors.items()}


def parse_torch_legacy(data: bytes, budget: Budget) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the bytes of a file PyTorch before 1.6 has written.

    Five pickles follow one another (magic number, protocol, system, content, the keys of
    the storages); then come the storages, each a count of eight bytes and its numbers.
    """
    file = io.BytesIO(data)
    heads = [read_pickle(file, budget).content for _ in range(2)]
    if heads != [_LEGACY_MAGIC, _LEGACY_PROTOCOL]:
        raise Damage("a pickle, but not one of torch.save")
    system = read_pickle(file, budget).content
    if not isinstance(system, Mapping):
        raise Damage("no description of the system")
    order = "<" if system.get("little_endian", True) else ">"
    described = read_pickle(file, budget)
    tensors = _tensors(described.content, budget)
    keys = read_pickle(file, budget).content
    # Texts alone: to compare tuples of tuples of tuples ... would take forever.
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or sorted(keys) != sorted(described.storages)
    ):
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
        storages[key] = numbers(raw, dtype, budget)
        position += 8 + len(raw)
    return {name: _array(tensor, storages, budget) for name, tensor in tensors.items()}


def _tensors(content: Any, budget: Budget) -> dict[str, Tensor]:
    """Return the tensors in nested dictionaries, names joined by dots."""
    tensors: dict[str, Tensor] = {}
    open_items = [("", content, 0)]
    while open_items:
        name, item, depth = open_items.pop()
        if isinstance(item, Tensor):
            tensors[name] = item
        elif isinstance(item, dict) and depth < _DEEPEST:
            budget.step(len(item))  # it may be in many dictionaries, which are in many ...
            prefix = f"{name}." if name else ""
            inner = [
                (checked_name(f"{prefix}{key}"), value, depth + 1)
                for key, value in item.items()
                if isinstance(value, Tensor | dict)
            ]
            open_items += inner[::-1]
    return tensors


def _dtype(storage: Storage, order: str) -> str:
    if storage.kind not in _DTYPES:
        raise Damage(f"storage {storage.key}: numbers of an unknown kind, {storage.kind}")
    if storage.size < 0:
        raise Damage(f"storage {storage.key}: {storage.size} numbers")
    return order + _DTYPES[storage.kind]


def _array(tensor: Tensor, storages: dict[str, np.ndarray], budget: Budget) -> np.ndarray:
    """Return a tensor as a view of its storage, after a check that it stays inside."""
    base = storages[tensor.storage.key]
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    if len(shape) > 32 or len(shape) != len(strides):
        raise Damage(f"a tensor of {len(shape)} dimensions with {len(strides)} strides")
    if not all(type(step) is int and 0 <= step < 2**62 for step in (*shape, *strides, offset)):
        raise Damage("a tensor whose shape or strides are no counts")
    if 0 in shape:
        return np.empty(0, base.dtype)
    last = offset + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if last >= base.size or math.prod(shape) > base.size:
        raise Damage(f"a tensor {shape} that reaches beyond the {base.size} numbers it has")
    budget.make(math.prod(shape) * base.itemsize)  # many tensors may be views of one storage
    steps = [step if side > 1 else 1 for side, step in zip(shape, strides, strict=True)]
    return np.lib.stride_tricks.as_strided(
        base[offset:], shape, [step * base.itemsize for step in steps], writeable=False
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


def read_pickle(file: BinaryIO, budget: Budget) -> Described:
    """Return what the next pickle in `file` describes, and leave the file position after it.

    It raises `Damage` if the pickle would run something, or has words that ``torch.save`` has not.
    """
    machine = _Machine(budget)
    with contextlib.closing(_words(file)) as words:
        for word, argument in words:
            budget.step()
            if word == "STOP":
                return Described(machine.pop(), machine.storages)
            machine.step(word, argument)
    raise Damage("a pickle without an end")


def _words(file: BinaryIO) -> Generator[tuple[str, Any], None, None]:
    """Yield the words of the next pickle, each with its argument."""
    with foreign():  # errors of the loop that takes the words are not raised here
        for opcode, argument, _ in pickletools.genops(cast(BinaryIO, Sips(file))):
            yield opcode.name, argument


class _Machine:
    """The stack and the memo, and what each word does to them."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}  # not a list: the file chooses the numbers
        self.storages: dict[str, Storage] = {}

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Damage("a pickle that takes more from the stack than there is")
        return self.stack[-1]

    def pop(self) -> Any:
        item = self.top()
        self.stack.pop()
        return item

    def pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self.stack:
            item = self.stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise Damage("a pickle that takes more from the stack than there is")

    def step(self, word: str, argument: Any) -> None:
        match word:
            case _ if word in _LITERALS:
                # Four bytes a letter at most.
                self.budget.make(4 * len(argument) if isinstance(argument, str | bytes) else 0)
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
                self.memo[int(argument)] = self.top()
            case "GET" | "BINGET" | "LONG_BINGET":
                if int(argument) not in self.memo:
                    raise Damage("a pickle that recalls what it has not seen")
                self.stack.append(self.memo[int(argument)])
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.stack.append(_MARK)
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top()
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "APPEND":
                self.extend([self.pop()])
            case "APPENDS":
                self.extend(self.pop_to_mark())
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self.update([key, value])
            case "SETITEMS":
                self.update(self.pop_to_mark())
            case "GLOBAL":
                self.stack.append(Named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                # Text alone: of a tuple of tuples of tuples ... there is no end of text.
                name, module = checked_name(self.pop()), checked_name(self.pop())
                self.stack.append(Named(module, name))
            case "BINPERSID":
                self.stack.append(self.storage(self.pop()))
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(self.called(function, arguments))
            case "BUILD":
                self.pop()  # attributes, such as a state dict's _metadata
            case _:
                raise Damage(f"a pickle with {word}, which weights do not need")

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise Damage("a pickle that appends to what is no list")
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise Damage("a pickle that fills what is no dictionary")
        target.update(_dictionary(list(zip(items[::2], items[1::2], strict=True))))

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

    def called(self, function: Any, arguments: Any) -> Any:
        """Return what a call describes, for the few calls that describe weights."""
        match function, arguments:
            case Named("collections", "OrderedDict"), ():
                return {}
            case Named("collections", "OrderedDict"), (list(pairs),):  # Python 2's way
                self.budget.step(len(pairs))  # it may do that with the same list again and again
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


def _dictionary(pairs: list[Any]) -> dict[str | int, Any]:
    """Return the dictionary of pairs (key, value)."""
    # Names and numbers alone: hashing a tuple of tuples of tuples ... would end the process.
    if not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str | int)
        for pair in pairs
    ):
        raise Damage("a pickle with a dictionary of other things than names")
    return dict(pairs)
