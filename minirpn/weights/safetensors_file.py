"""Read ``.safetensors``: eight bytes of length, a header in JSON, then the numbers."""

from __future__ import annotations

import json

import numpy as np

from minirpn.weights.damage import BFLOAT16, Damage, cut, shaped

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


def begins_as_safetensors(data: bytes) -> bool:
    """Tell whether the bytes begin as a ``.safetensors`` file does."""
    length = int.from_bytes(data[:8], "little")
    return 2 <= length <= len(data) - 8 and data[8:9] == b"{"


def parse_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Return every tensor by name, given the bytes of a ``.safetensors`` file."""
    length = int.from_bytes(cut(data, 0, 8), "little")
    header = json.loads(cut(data, 8, length).tobytes())
    body = memoryview(data)[8 + length :]
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _DTYPES:
            raise Damage(f"{name}: numbers of an unknown kind, {entry['dtype']}")
        start, end = entry["data_offsets"]
        if type(start) is not int or type(end) is not int:
            raise Damage(f"{name}: offsets that are no counts")
        arrays[name] = shaped(
            cut(body, start, end - start), _DTYPES[entry["dtype"]], entry["shape"]
        )
    return arrays
