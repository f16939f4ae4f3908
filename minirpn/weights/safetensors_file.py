"""Read ``.safetensors``: eight bytes of length, a header in JSON, then the numbers."""

from __future__ import annotations

import numpy as np

from minirpn.budget import Budget, parse_json
from minirpn.weights.damage import BFLOAT16, Damage, checked_name, cut, shaped

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": f"<{BFLOAT16}",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "<b1",
}


def begins_as_safetensors(head: bytes, size: int) -> bool:
    """Tell whether a file of `size` bytes begins as a ``.safetensors`` file does."""
    length = int.from_bytes(head[:8], "little")
    return 2 <= length <= size - 8 and head[8:9] == b"{"


def parse_safetensors(data: bytes, budget: Budget) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the bytes of a ``.safetensors`` file."""
    length = int.from_bytes(cut(data, 0, 8), "little")
    budget.make(length)
    header = parse_json(cut(data, 8, length).tobytes(), budget)
    if not isinstance(header, dict):
        raise Damage("no table of tensors")
    body = memoryview(data)[8 + length :]
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        match entry:
            case {
                "dtype": str(dtype),
                "shape": list(shape),
                "data_offsets": [int(start), int(end)],
            } if dtype in _DTYPES:
                raw = cut(body, start, end - start)
                arrays[checked_name(name)] = shaped(raw, _DTYPES[dtype], shape, budget)
            case {"dtype": str(dtype)} if dtype not in _DTYPES:
                raise Damage(f"{name}: numbers of an unknown kind, {dtype}")
            case _:
                raise Damage(f"{name}: not described by kind, shape and offsets")
    return arrays
