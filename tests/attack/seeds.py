"""Small sound files of every kind that minirpn reads, made in moments and always the same."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
from PIL import Image

from tests.attack.mutate_archives import np_file, zipped
from tests.attack.mutate_binary import field, varint

Arrays = dict[str, np.ndarray]


@cache
def few_arrays() -> Arrays:
    """Return the arrays of two layers."""
    shapes = {
        "conv1.weight": (4, 3, 3, 2),
        "conv1.bias": (4,),
        "fc.weight": (5, 6),
        "fc.bias": (5,),
    }
    rng = np.random.default_rng(4)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


# --- weights -------------------------------------------------------------------------------------


def npz(arrays: Arrays, metadata: Any = None) -> bytes:
    """Return an ``.npz``, with minirpn's metadata if there are any."""
    members = [(f"{name}.npy", np_file(array)) for name, array in arrays.items()]
    if metadata is not None:
        text = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
        members.insert(0, ("metadata.npy", np_file(text)))
    return zipped(members)


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def _state(arrays: Arrays) -> bytes:
    """Return the pickle of a state dict, as ``torch.save`` writes it."""
    kinds = {"<f4": "Float", "<f8": "Double", "<f2": "Half", "<i8": "Long"}
    parts = [b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("]
    for key, (name, array) in enumerate(arrays.items()):
        storage = b"(" + _text("storage") + f"ctorch\n{kinds[array.dtype.str]}Storage\n".encode()
        storage += _text(str(key)) + _text("cpu") + b"J" + struct.pack("<i", array.size) + b"tQ"
        strides = tuple(step // array.itemsize for step in array.strides)
        window = b"K\x00" + _numbers(array.shape) + _numbers(strides)
        hooks = b"\x89h\x00)R"
        parts.append(
            _text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + window + hooks + b"tR"
        )
    return b"".join(parts) + b"u}" + _text("_metadata") + b"h\x01sb."


def torch_zip(arrays: Arrays) -> bytes:
    """Return a ``.pth`` of PyTorch since 1.6."""
    members = [("model/data.pkl", _state(arrays)), ("model/byteorder", b"little")]
    members += [(f"model/data/{key}", array.tobytes()) for key, array in enumerate(arrays.values())]
    return zipped([*members, ("model/version", b"3\n")])


def torch_legacy(arrays: Arrays) -> bytes:
    """Return a ``.pth`` of PyTorch before 1.6."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    parts = [pickle.dumps(one, 2) for one in head] + [_state(arrays)]
    parts.append(pickle.dumps([str(key) for key in range(len(arrays))], 2))
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in arrays.values()]
    return b"".join(parts)


def caffe(arrays: Arrays, generation: int = 2) -> bytes:
    """Return a ``.caffemodel`` of one of the two generations."""
    layers: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        layers.setdefault(name.rpartition(".")[0], []).append(array)
    parts = [field(1, b"net")]
    for name, blobs in layers.items():
        of_layer = field(4 if generation == 1 else 1, name.encode())
        for array in blobs:
            if generation == 1:
                sides = (1,) * (4 - array.ndim) + array.shape
                blob = b"".join(field(place, side) for place, side in enumerate(sides, start=1))
            else:
                blob = field(7, field(1, b"".join(map(varint, array.shape))))
            of_layer += field(6 if generation == 1 else 7, blob + field(5, array.tobytes()))
        parts.append(field(2 if generation == 1 else 100, of_layer))
    return b"".join(parts)


def safetensors(arrays: Arrays) -> bytes:
    """Return a ``.safetensors``."""
    kinds = {"<f4": "F32", "<f8": "F64", "<f2": "F16", "<i8": "I64"}
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in arrays.items():
        end = at + array.nbytes
        head[name] = {
            "dtype": kinds[array.dtype.str],
            "shape": [*array.shape],
            "data_offsets": [at, end],
        }
        at = end
    raw = json.dumps(head).encode()
    return (
        struct.pack("<Q", len(raw)) + raw + b"".join(array.tobytes() for array in arrays.values())
    )


def keras(arrays: Arrays, new: bool = False) -> bytes:
    """Return an ``.h5`` of Keras, or a ``.weights.h5`` of Keras 3."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=False) as file:
        for name, array in arrays.items():
            layer, kind = name.rsplit(".", 1)
            last = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.transpose()
            if new:
                file.require_group(f"layers/{layer}/vars")["0" if kind == "weight" else "1"] = last
            else:
                path = f"{layer}/{'kernel' if kind == 'weight' else 'bias'}:0"
                group = file.require_group(layer)
                group[path] = last
                group.attrs["weight_names"] = [path.encode()]
    return buffer.getvalue()


def keras_archive(arrays: Arrays) -> bytes:
    """Return a ``.keras``."""
    members = [
        ("metadata.json", b"{}"),
        ("config.json", b"{}"),
        ("model.weights.h5", keras(arrays, new=True)),
    ]
    return zipped(members)


# --- images --------------------------------------------------------------------------------------


@cache
def images() -> tuple[bytes, ...]:
    """Return a picture in every format that data sets have."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
    colour, gray = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0])
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200)
    real = Image.fromarray(pixels[:, :, 0].astype(np.float32) / 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    written: list[bytes] = []

    def write(image: Image.Image, **how: Any) -> None:
        buffer = io.BytesIO()
        image.save(buffer, **how)
        written.append(buffer.getvalue())

    write(colour, format="JPEG", exif=exif)
    write(colour, format="JPEG", progressive=True)
    write(colour, format="PNG")
    write(colour.convert("RGBA"), format="PNG")
    write(colour.convert("P"), format="PNG", transparency=3)
    write(deep, format="PNG")
    write(deep, format="TIFF")
    write(real, format="TIFF")
    write(colour, format="TIFF", compression="tiff_lzw")
    write(colour.convert("P"), format="GIF", save_all=True, append_images=[gray.convert("P")])
    write(gray, format="PPM")
    write(deep, format="PPM")
    write(colour, format="BMP")
    write(colour.convert("CMYK"), format="TIFF")
    write(colour, format="WEBP")
    return tuple(written)


# --- annotations and lists -----------------------------------------------------------------------

XML = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
<folder>VOC</folder><filename>000001.jpg</filename>
<size><width>32</width><height>24</height><depth>3</depth></size>
<object><name>cat</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>18</ymax></bndbox></object>
<object><name>dog</name><truncated>1</truncated><difficult>1</difficult><bndbox><xmin>10.5</xmin><ymin>1</ymin><xmax>32</xmax><ymax>24</ymax></bndbox></object>
<ignored><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></ignored>
</annotation>
"""

LISTS = (
    b"000001\n000002\n000003\n",
    b"000001 1\n000002 -1\n000003 0\n",
    b"JPEGImages/000001.jpg\n./000002.png\n",
)


def data_set(folder: Path) -> None:
    """Write a small data set in VOC's layout."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    picture = images()[2]
    for number in range(1, 4):
        (folder / "JPEGImages" / f"{number:06d}.png").write_bytes(picture + b"\0" * number)
        text = XML.replace("000001.jpg", f"{number:06d}.png")
        (folder / "Annotations" / f"{number:06d}.xml").write_text(text)
    for name, ids in {
        "train": "000001\n000002\n",
        "val": "000003\n",
        "cat_train": "000001 1\n000002 -1\n",
    }.items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text(ids)


COCO = {
    "images": [{"id": 1, "file_name": "1.jpg", "height": 24, "width": 32}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}
    ],
    "categories": [{"id": 1, "name": "cat"}],
}
YOLO = b"0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.05 0.05\n"

# --- results -------------------------------------------------------------------------------------

RESULTS_VOC = b"000001 0.9 1.0 2.0 30.0 20.5\n000002 0.25 1 1 5 5\n000001 1e-05 3 3 9 9\n"
RESULTS_COCO = [
    {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.5},
    {"image_id": 2, "category_id": 2, "bbox": [0, 0, 1, 1], "score": 0.25},
]
PROPOSALS = {
    "image": "cat.jpg",
    "image_size": {"height": 24, "width": 32},
    "boxes": [[1.0, 2.0, 10.5, 20.0], [0.0, 0.0, 5.0, 5.0]],
    "scores": [0.9, 0.5],
}
DETECTIONS = {**PROPOSALS, "classes": ["cat", "dog"], "names": ["cat", "dog"]}


def archive() -> bytes:
    """Return a tar archive of a small data set."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in {"VOC/a.txt": b"one", "VOC/b/c.txt": b"two" * 300}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


# --- runs ----------------------------------------------------------------------------------------

_SETTINGS = {
    "synthetic": {"images": 6, "image_size": (64, 80), "max_objects": 2, "min_side": 14},
    "resize": {"short_side": 64, "max_side": 96},
    "anchors": {"base_size": 8, "scales": (2.0, 4.0)},
    "run": {
        "validate_every": 2,
        "checkpoint_every": 2,
        "diagnose_every": 2,
        "threads": 1,
        "device": "cpu",
        "pictures": False,
    },
}


def _as_always(run: Path) -> None:
    """Replace what differs from one training to the next: times, versions, the machine."""
    for file in (run / "metrics.jsonl",):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        for record in records:
            for name in ("step_seconds", "data_wait_seconds", "seconds"):
                if name in record:
                    record[name] = 0.25
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    environment = json.loads((run / "env.json").read_text())
    blas = [{"internal_api": "openblas", "version": "0.3", "num_threads": 1, "architecture": "x"}]
    versions = {name: "1.2.3" for name, value in environment.items() if isinstance(value, str)}
    environment |= versions | {
        "blas": blas,
        "command": ["minirpn", "train"],
        "cpu_count": 2,
        "cpus_usable": 2,
    }
    (run / "env.json").write_text(json.dumps(environment, indent=2))
    for name in ("labels.png", "samples/1-0000000.png", "samples/1-0000003.png"):
        (run / "plots" / name).parent.mkdir(exist_ok=True)
        (run / "plots" / name).write_bytes(images()[2])
    captions = {"labels.png": "Anchors with their labels", "objectness.png": "Scores"}
    (run / "plots" / "captions.json").write_text(json.dumps(captions, indent=2))
    (run / "log.txt").write_text("2026-01-01T00:00:00Z started on cpu\n")


class _Stop:
    """Stands in for what notices Ctrl-C: asks to stop after so many looks."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __call__(self) -> _Stop:
        return self

    def __enter__(self) -> _Stop:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


@cache
def run_folder(kind: str = "rpn-only") -> Path:
    """Return the folder of a run of three steps, trained once; nothing may change it.

    4-step training was stopped then, in its second step.
    """
    from minirpn import train

    folder = Path(tempfile.mkdtemp(prefix="minirpn-attack-run-"))
    _FOLDERS.append(folder)
    run = folder / "run"

    sharing = {"kind": kind, "pre_nms": 60, "post_nms": 20}
    steps, stop = (12, _Stop(5)) if kind == "4-step" else (3, _Stop(100))
    with patch("minirpn.training.train.InterruptRequest", stop):
        train(
            out=run,
            progress=False,
            optimizer={"steps": steps, "lr": 0.001},
            sharing=sharing,
            **_SETTINGS,
        )
    _as_always(run)
    return run


_FOLDERS: list[Path] = []


def remove_runs() -> None:
    """Remove the folders of the runs."""
    for folder in _FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)
    _FOLDERS.clear()
