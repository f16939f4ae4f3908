"""Read what a pickle describes without running it.

Unpickling is executing: a pickle is a program for a small stack machine that may call any function
by name. This is that machine without the calls. It knows the words that ``torch.save`` uses, keeps
a tensor as a description, and stops at anything else.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from minirpn.weights.damage import MOST_STEPS, Damage, unwarned


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


_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MAKERS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}


class Described(NamedTuple):
    """What a pickle describes."""

    content: Any  # dictionaries, lists, tuples, numbers, texts as they are; tensors as `Tensor`
    storages: dict[str, Storage]  # all that it refers to, by key


def read_pickle(file: BinaryIO) -> Described:
    """Return what the next pickle in `file` describes, and leave `file` behind it.

    Raises
    ------
    Damage
        It would run something, or uses words that ``torch.save`` does not. (Broken pickles raise
        other errors of `minirpn.weights.damage.DAMAGE`, too.)
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
            raise Damage("a pickle that takes what it has not put")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def step(self, word: str, argument: Any) -> None:
        if word in _LITERALS:
            self.stack.append(argument)
        elif word in _CONSTANTS:
            self.stack.append(_CONSTANTS[word])
        elif word in _MAKERS:
            self.stack.append(_MAKERS[word]())
        elif word in _TUPLES:
            self.stack.append(tuple([self.pop() for _ in range(_TUPLES[word])][::-1]))
        elif word in _PUTS:
            self.memo[int(argument)] = self.stack[-1]
        elif word in _GETS:
            self.stack.append(self.memo[int(argument)])
        elif word not in ("PROTO", "FRAME"):
            self.step_of_own(word, argument)

    def step_of_own(self, word: str, argument: Any) -> None:
        """Do what a word does that is like no other."""
        match word:
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
                self.stack.append(self.refer(_storage(self.pop())))
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

    def refer(self, storage: Storage) -> Storage:
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Damage(f"storage {storage.key}: described in two ways")
        return storage

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if not isinstance(target, dict):
            raise Damage("a pickle that fills what is no dictionary")
        target.update(_dictionary(list(zip(items[::2], items[1::2], strict=True))))


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


def _storage(reference: Any) -> Storage:
    """Return the storage a persistent id names."""
    match reference:
        # The sixth item is for a view of another storage, which PyTorch has not written since 0.4.
        case ("storage", Named("torch", kind), str(key), str(), int(count)) | (
            "storage",
            Named("torch", kind),
            str(key),
            str(),
            int(count),
            None,
        ):
            return Storage(key, kind, count)
    raise Damage("a pickle that refers to something other than a storage")
