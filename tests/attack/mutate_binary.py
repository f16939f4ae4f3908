"""Safetensors, protocol buffers, images and tar archives, broken by their grammar."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from collections.abc import Sequence
from functools import cache

from tests.attack.grammars import NUMBERS, Random, fits, flip, number, size_of
from tests.attack.mutate_text import change_json

# --- safetensors ---------------------------------------------------------------------------------


@fits("safetensors", "safetensors", "safetensors")
def safetensors_head(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change the head of a ``.safetensors``, or let its entries share bytes."""
    length = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = rng.randrange(6)
    if way == 0:
        count, size = rng.choice(((1200, 2**22), (300, 2**20), (20_000, 64)))
        one = {
            "dtype": rng.choice(("BF16", "F32", "I64")),
            "shape": [size],
            "data_offsets": [0, size],
        }
        one["shape"] = [size // {"BF16": 2, "F32": 4, "I64": 8}[one["dtype"]]]
        text, body = json.dumps({f"t{i}": one for i in range(count)}), b"\0" * size
    elif way == 1:
        entry = rng.choice([value for value in head.values() if "dtype" in value])
        start, end = entry["data_offsets"]
        pairs = (
            [end, start], [start, end + 1], [-1, end], [True, end], [start, float(end)], [start],
            [0, 0], [start, end, end], [2**63, 2**63 + end], {"0": 1}, "ab", [str(start), end],
            [[start], end],
        )  # fmt: skip
        entry["data_offsets"] = rng.choice(pairs)
        text = json.dumps(head)
    elif way == 2:
        entry = rng.choice([value for value in head.values() if "dtype" in value])
        entry["shape"] = rng.choice((
            [-1], [2**62, 4], [0, 2**62], [True], [1.0], "ab", {}, [[1]], [1] * 40, [None], 5,
            [1] * 5000, [10**400], [],
        ))  # fmt: skip
        text = json.dumps(head)
    else:
        text = change_json(rng, head)
    raw = text.encode(errors="surrogatepass")
    said = rng.choice((len(raw),) * 9 + (0, len(raw) - 1, len(raw) + 1, 2**63, 2**64 - 1))
    return struct.pack("<Q", said) + raw + body


# --- protocol buffers ----------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """Return a number of seven bits a byte, lowest first."""
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number_: int, value: bytes | int) -> bytes:
    """Return a field of a message."""
    if isinstance(value, int):
        return varint(number_ << 3) + varint(value)
    return varint(number_ << 3 | 2) + varint(len(value)) + value


def _fields(message: bytes) -> list[tuple[int, int, bytes]]:
    """Return number, kind and raw value of each field of a sound message."""
    found, at = [], 0

    def take() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = take()
        number_, kind = key >> 3, key & 7
        begin = at
        if kind == 0:
            take()
            found.append((number_, kind, message[begin:at]))
            continue
        count = take() if kind == 2 else {5: 4, 1: 8}[kind]
        found.append((number_, kind, message[at : at + count]))
        at += count
    return found


def _whole(fields: Sequence[tuple[int, int, bytes]]) -> bytes:
    parts = []
    for number_, kind, raw in fields:
        parts.append(varint(number_ << 3 | kind))
        parts.append(varint(len(raw)) + raw if kind == 2 else raw)
    return b"".join(parts)


@fits("protobuf", "protobuf", "protobuf")
def protobuf_fields(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change fields of a message, or of a message in it."""
    fields = _fields(data)
    at = rng.randrange(len(fields))
    number_, kind, raw = fields[at]
    if kind == 2 and raw and rng.random() < 0.8:
        try:
            fields[at] = number_, kind, protobuf_fields(rng, raw, seeds)
            return _whole(fields)
        except (IndexError, KeyError, ValueError):  # it holds numbers or text, not a message
            pass
    way = rng.randrange(9)
    if way == 0:
        del fields[at]
    elif way == 1:
        fields[at:at] = [fields[at]] * rng.choice((1, 2, 3000))
    elif way == 2:
        fields[at] = rng.choice((0, 1, 2, 5, 7, 8, 100, 2**29)), kind, raw
    elif way == 3:
        fields[at] = (
            number_,
            2,
            rng.choice((b"", b"\x01" * 300_000, b"\x80" * 50, b"\xff" * 9 + b"\x01", b"\x1b[2J")),
        )
    elif way == 4:
        fields[at] = number_, 0, varint(rng.choice(NUMBERS))
    elif way == 5:
        deep = b""
        for _ in range(rng.choice((50, 2000))):
            deep = field(number_, deep)
        fields[at] = number_, 2, deep
    elif way == 6:
        return _whole(fields) + varint(number_ << 3 | rng.choice((3, 4, 6, 7))) * rng.choice(
            (1, 10_000)
        )
    elif way == 7:
        dims = b"".join(
            map(
                varint,
                rng.choice(((0,), (2**63,), (1,) * 100_000, (2**32, 2**32), (1,) * 40, (-1, -1))),
            )
        )
        fields.append((7, 2, field(1, dims)))
    else:
        fields.append((rng.choice((1, 5, 7, 8)), 2, rng.randbytes(size_of(rng))))
    return _whole(fields)


# --- images --------------------------------------------------------------------------------------


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return name and content of each chunk."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG of chunks, with the right check sums."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content in chunks:
        parts.append(struct.pack(">I", len(content)) + name + content)
        parts.append(struct.pack(">I", zlib.crc32(name + content)))
    return b"".join(parts)


@cache
def flat_png(width: int, height: int, bits: int, colour: int) -> bytes:
    """Return a black PNG of any size, which packs to almost nothing; of a huge one the beginning.

    No reader takes images that are cut here.
    """
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    count = min(height * (1 + (width * channels * bits + 7) // 8), 2**30)
    packer, zeros = zlib.compressobj(1), bytes(2**20)
    parts = [packer.compress(zeros) for _ in range(count // len(zeros))]
    packed = b"".join([*parts, packer.compress(zeros[: count % len(zeros)]), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    palette = [(b"PLTE", b"\0\0\0" * 2)] if colour == 3 else []
    return png_of([(b"IHDR", head), *palette, (b"IDAT", packed), (b"IEND", b"")])


@fits("image")
def image_heads(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Change what an image says about itself: a PNG's chunks, sizes, a text head, EXIF."""
    if data[:4] == b"\x89PNG":
        chunks = png_chunks(data)
        at = rng.randrange(len(chunks))
        name, content = chunks[at]
        way = rng.randrange(6)
        if way == 0 and name == b"IHDR":
            sides = (0, 1, 2**31 - 1, 2**32 - 1, 5000, 65535)
            depth = bytes(
                [
                    rng.choice((1, 2, 4, 8, 16, 3, 0)),
                    rng.choice((0, 2, 3, 4, 6, 1)),
                    0,
                    0,
                    rng.choice((0, 1)),
                ]
            )
            chunks[at] = name, struct.pack(">II", rng.choice(sides), rng.choice(sides)) + depth
        elif way == 1:
            chunks[at] = name, content[: rng.randrange(len(content) + 1)]
        elif way == 2:
            chunks[at:at] = [chunks[at]] * rng.choice((1, 300))
        elif way == 3:
            odd = (
                b"eXIf",
                b"tEXt",
                b"zTXt",
                b"iTXt",
                b"iCCP",
                b"acTL",
                b"fcTL",
                b"tRNS",
                b"gAMA",
                b"sBIT",
                b"PLTE",
                b"pHYs",
            )
            body = rng.choice(
                (
                    b"",
                    rng.randbytes(40),
                    b"a\0\0" + zlib.compress(b"\0" * 2**22),
                    b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03",
                )
            )
            chunks.insert(rng.randrange(1, len(chunks)), (rng.choice(odd), body))
        elif way == 4:
            del chunks[at]
        else:
            chunks[at] = name, flip(rng, content, seeds)
        return png_of(chunks)
    if data[:1] == b"P":
        heads = (
            b"P5 1000000 1000000 255\n", b"P5 9000 9000 65535\n", b"P5 -1 5 255\n", b"P5 5 5 0\n",
            b"P5 5 5 99999999\n", b"P2 3 3 9 ", b"P6 3 3 65535\n", b"P4 99999 8\n", b"P7\n",
            b"Pf 3 3 -1\n", b"P5 " + b"9" * 60 + b" 1 1\n", b"P5 #" + b"c" * 9000,
        )  # fmt: skip
        return rng.choice(heads) + data[rng.choice((3, 9, 14)) :]
    return number(rng, data[: rng.randint(8, 400)], seeds) + data[400:]


@fits("image-rare")
def image_bombs(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Return a small file of many pixels."""
    bits, colour = rng.choice(((16, 0), (1, 0), (8, 3), (8, 6), (16, 6), (16, 2), (8, 4), (16, 4)))
    return flat_png(
        rng.choice((9400, 5000, 89_000_000, 20_000)), rng.choice((9400, 1, 5000)), bits, colour
    )


# --- tar archives --------------------------------------------------------------------------------


@fits("tar", "tar", "tar")
def tar_members(rng: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    """Write members that lead outside, are of odd kinds, or lie about their size."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer,
        mode="w",
        format=rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
    ) as archive:
        for _ in range(rng.choice((1, 3, 8))):
            names = (
                "a",
                "a/b",
                "../a",
                "/tmp/minirpn-attack-escape",
                "a/../../b",
                ".",
                "",
                "a\x1b[2J",
                "x" * 90,
                "a/" * 40 + "b",
                "\udcff",
                "a/../b",
            )
            one = tarfile.TarInfo(rng.choice(names))
            one.type = rng.choice((
                tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
                tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE,
                tarfile.GNUTYPE_SPARSE, b"Z",
            ))  # fmt: skip
            one.linkname = (
                rng.choice(names) if one.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            )
            one.mode = rng.choice((0o644, 0o4777, 0, 0o777))
            content = b"x" * rng.choice((0, 5, 600))
            one.size = len(content) if one.isreg() else 0
            archive.addfile(one, io.BytesIO(content))
    whole = bytearray(buffer.getvalue())
    if rng.random() < 0.4:  # a size that is not true, with the right check sum
        whole[124:136] = rng.choice(
            (
                b"77777777777\0",
                b"00000000000\0",
                b"-1000000000\0",
                b"\x80" + b"\xff" * 11,
                b"\x80\0\0\0" + b"\x7f" * 8,
            )
        )
        whole[148:156] = b"        "
        whole[148:156] = b"%06o\0 " % sum(whole[:512])
    return bytes(whole)
