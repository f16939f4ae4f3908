"""Readers of what users bring: weights, data sets, settings, archives, results."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.attack import seeds
from tests.attack.judging import FindingError, trouble_with
from tests.attack.reading import enter, json_seeds, text_seeds
from tests.attack.seeds import few_arrays

# --- weights -------------------------------------------------------------------------------------


def _read_weights(path: Path) -> object:
    from minirpn.weights import read_weights

    found = read_weights(path)
    for name, array in found.arrays.items():
        _ = name.encode(errors="replace"), array.shape, array.dtype
        if array.size:
            _ = array.flat[0], array.flat[-1]
    return found.kind


def _convert(path: Path) -> object:
    """Do what ``minirpn convert`` does, without writing a file."""
    from minirpn.weights import convert, read_weights

    lines = list(convert(read_weights(path)).lines())
    for line in lines:
        if trouble := trouble_with(line):
            raise FindingError(trouble)
    return lines


_SHARES = ("bytes", "binary")
_WEIGHTS: dict[str, tuple[Callable[[], list[bytes]], tuple[str, ...]]] = {
    "npz": (
        lambda: [seeds.npz(few_arrays()), seeds.npz(few_arrays(), {"format": "minirpn weights"})],
        ("npz", "npz", "zip", *_SHARES),
    ),
    "torch": (lambda: [seeds.torch_zip(few_arrays())], ("torch", "torch", "zip", *_SHARES)),
    "legacy": (
        lambda: [seeds.torch_legacy(few_arrays())],
        ("legacy", "legacy", "legacy", *_SHARES),
    ),
    "caffe": (
        lambda: [seeds.caffe(few_arrays()), seeds.caffe(few_arrays(), 1)],
        ("protobuf", "protobuf", *_SHARES),
    ),
    "safetensors": (
        lambda: [seeds.safetensors(few_arrays())],
        ("safetensors", "safetensors", *_SHARES),
    ),
    "keras": (lambda: [seeds.keras(few_arrays()), seeds.keras(few_arrays(), new=True)], _SHARES),
    "keras-zip": (lambda: [seeds.keras_archive(few_arrays())], ("zip", "zip", *_SHARES)),
}
for _kind, (_made, _grammars) in _WEIGHTS.items():
    enter(f"weights-{_kind}", _made, _grammars, _read_weights, share=30)


# --- data sets -----------------------------------------------------------------------------------


def _annotation(path: Path) -> object:
    from minirpn.data.annotation import read_annotation

    read_annotation(path, image_size=(24, 32))
    return read_annotation(path, box_format="normalized", clip_boxes=True)


def _image(path: Path) -> object:
    from minirpn.data.images import examine_image, range_note, read_image, read_image_header
    from minirpn.errors import InputError

    told = []
    for read in (read_image_header, examine_image, range_note, read_image):
        try:
            found = read(path)
            told.append(found.shape if isinstance(found, np.ndarray) else found)
        except InputError as error:
            told.append(error)
    if isinstance(told[-1], InputError):
        raise told[-1]
    return told


def _one_image(path: Path, how: str) -> object:
    from minirpn.data import images

    return str(getattr(images, how)(path))[:100]


def _list(path: Path) -> object:
    from minirpn.data.lists import IdFinder, read_list

    return read_list(path, IdFinder(["000001", "000002", "000003", "a/000001"]))


def _data_set(path: Path, upwards: int) -> object:
    """Look at a data set as ``minirpn check`` does, and open it as a training does."""
    from minirpn.data.check import check_dataset
    from minirpn.data.voc import VOCDataset
    from minirpn.errors import InputError

    root = path.parents[upwards]
    report = check_dataset(root, threads=1)
    json.dumps(report.to_dict(), allow_nan=False)
    try:
        strict = VOCDataset(root, split="train")
        for index in range(len(strict)):
            _ = strict[index]
    except InputError:
        pass
    dataset = VOCDataset(root, split="train", skip_bad=True)
    for index in range(len(dataset)):
        _ = dataset[index]
    return dataset.classes


def _foreign(path: Path) -> object:
    from minirpn.data.other_formats import how_to_convert

    return how_to_convert(path.parent)


enter(
    "annotation",
    text_seeds(seeds.XML.encode(), seeds.XML.encode()),
    ("xml", "xml", "bytes"),
    _annotation,
    share=40,
)
enter("image", lambda: seeds.images(), ("image", "image", "bytes", "binary"), _image, share=30)
for _read in ("read_image", "examine_image"):
    enter(
        f"image-bomb-{_read}",
        lambda: seeds.images()[:1],
        ("image-rare",),
        partial(_one_image, how=_read),
        share=0.1,
    )
enter("list", text_seeds(*seeds.LISTS), ("text", "text", "bytes"), _list, share=20)
enter(
    "data-xml",
    text_seeds(seeds.XML.encode()),
    ("xml", "xml", "bytes"),
    partial(_data_set, upwards=1),
    file="Annotations/000001.xml",
    folder=seeds.data_set,
    share=8,
    free_name=False,
)
enter(
    "data-image",
    lambda: seeds.images()[:3],
    ("image", "bytes"),
    partial(_data_set, upwards=1),
    file="JPEGImages/000001.png",
    folder=seeds.data_set,
    share=5,
    free_name=False,
)
enter(
    "data-list",
    text_seeds(b"000001\n000002\n"),
    ("text", "text", "bytes"),
    partial(_data_set, upwards=2),
    file="ImageSets/Main/train.txt",
    folder=seeds.data_set,
    share=8,
    free_name=False,
)
enter(
    "data-class-list",
    text_seeds(b"000001 1\n000002 -1\n"),
    ("text", "text", "bytes"),
    partial(_data_set, upwards=2),
    file="ImageSets/Main/cat_train.txt",
    folder=seeds.data_set,
    share=3,
    free_name=False,
)
enter(
    "coco-folder",
    json_seeds(seeds.COCO),
    ("json", "bytes"),
    _foreign,
    file="instances.json",
    share=3,
    free_name=False,
)
enter(
    "yolo-folder",
    text_seeds(seeds.YOLO),
    ("text", "bytes"),
    _foreign,
    file="000001.txt",
    share=3,
    free_name=False,
)


# --- settings ------------------------------------------------------------------------------------


@cache
def _config_text() -> bytes:
    return (seeds.run_folder() / "config.toml").read_bytes()


def _config(path: Path) -> object:
    from minirpn.training.config import load_config, override
    from minirpn.training.tables import to_table

    config = load_config(path)
    # What was read is written into the run again, and into its checkpoints.
    json.dumps(to_table(config), allow_nan=False)
    override(config, {"optimizer.lr": 0.5}, origins={})
    _use_settings(config)
    return config


def _use_settings(config: Any) -> None:
    """Use settings as a training does, as far as that costs little."""
    _ = config.data.source, config.data.augment, config.anchors.count


def _setting(path: Path) -> object:
    """Read what ``--set`` and flags get, a line each."""
    from minirpn.training.config import TrainConfig, default_config, override
    from minirpn.training.tables import keys_of, read_value, type_of

    values = {}
    known = keys_of(TrainConfig)
    for line in path.read_bytes().decode(errors="surrogateescape").splitlines():
        key, _, text = line.partition("=")
        hint = type_of(TrainConfig, key) if key in known else str
        values[key] = read_value(text, hint)
    config = override(default_config(voc=False), values, origins={})
    _use_settings(config)
    return config


_WORDS = (
    b"optimizer.lr=0.01\noptimizer.steps=10\nanchors.scales=2,4\ndata.classes=cat,dog\n",
    b"resize.short_side=64\ndata.voc=somewhere\nrun.threads=none\nsharing.kind=4-step\n",
    b"synthetic.image_size=[64, 80]\nmodel.freeze=conv1\nmodel.backbone=tiny\n",
)
enter("config", lambda: [_config_text()], ("toml", "toml", "toml", "bytes"), _config, share=40)
enter(
    "settings", text_seeds(*_WORDS), ("words", "words", "bytes"), _setting, share=20, is_file=False
)


# --- archives of minirpn's own -------------------------------------------------------------------


@cache
def _config_table() -> dict[str, Any]:
    from minirpn.training.config import load_config
    from minirpn.training.tables import to_table

    return to_table(load_config(seeds.run_folder() / "config.toml"))


def _checkpoint_seed() -> list[bytes]:
    arrays = {f"parameters/{name}": array for name, array in few_arrays().items()}
    arrays |= {f"velocity/{name}": array for name, array in few_arrays().items()}
    metadata = {
        "format": "minirpn checkpoint", "version": 3, "step": 3, "phase": 0,
        "config": _config_table(), "metrics": {"best": 0.5, "since_best": 0}, "arrays": [*arrays],
    }  # fmt: skip
    return [seeds.npz(arrays, metadata)]


def _checkpoint(path: Path) -> object:
    from minirpn.training.checkpoint import format_of, load_checkpoint
    from minirpn.training.config import TrainConfig
    from minirpn.training.tables import from_table

    format_of(path)
    found = load_checkpoint(path)
    return from_table(TrainConfig, found.config, str(path)), found.step + 1


def _proposals_seed() -> list[bytes]:
    boxes = np.array([[1, 2, 10, 20], [0, 0, 5, 5], [3, 3, 9, 9]], np.float32)
    metadata = {"format": "minirpn proposals", "images": ["000001", "000002"], "counts": [2, 1]}
    return [seeds.npz({"boxes": boxes, "scores": np.array([0.9, 0.5, 0.1], np.float32)}, metadata)]


def _proposals(path: Path) -> object:
    from minirpn.training.evaluate import load_proposals

    found = load_proposals(path)
    for name, one in found.items():
        assert one.boxes.shape == (len(one.scores), 4), name
    return list(found)


_ARCHIVE = ("npz-json", "npz-json", "npz", "zip", "bytes")
enter("checkpoint", _checkpoint_seed, _ARCHIVE, _checkpoint, share=30)
enter("proposals", _proposals_seed, _ARCHIVE, _proposals, share=30)


# --- results -------------------------------------------------------------------------------------


_IDS, _CLASSES = ("000001", "000002"), ("cat", "dog")


def _judge(found: Any) -> object:
    """Measure detections that were read."""
    from minirpn.evaluation import average_precision

    objects, labels = [np.array([[0.0, 0, 353, 500]])] * 2, [np.zeros(1, np.int64)] * 2
    return average_precision(found, objects, labels, classes=_CLASSES).mean_ap


def _voc_results(path: Path) -> object:
    from minirpn.evaluation.result_files import read_voc_results

    return _judge(read_voc_results(path.parent, _IDS, _CLASSES[:1]))


def _coco_results(path: Path) -> object:
    from minirpn.evaluation.result_files import read_coco_detections

    return _judge(read_coco_detections(path, 2, 2))


def _one_result(path: Path, kind: str) -> object:
    from minirpn import results

    found = getattr(results, kind).from_json(path)
    again = getattr(results, kind).from_json(found.to_json())
    assert len(again) == len(found)
    _ = repr(found), found._repr_html_(), found.to_coco(), found[:1], [*found]
    return len(found)


enter(
    "results-voc",
    text_seeds(seeds.RESULTS_VOC),
    ("text", "text", "bytes"),
    _voc_results,
    share=15,
    file="comp4_det_test_cat.txt",
    free_name=False,
)
enter(
    "results-coco",
    json_seeds(seeds.RESULTS_COCO),
    ("json", "json", "bytes"),
    _coco_results,
    share=15,
)
enter(
    "from-json-proposals",
    json_seeds(seeds.PROPOSALS),
    ("json", "json", "bytes"),
    partial(_one_result, kind="Proposals"),
    share=15,
)
enter(
    "from-json-detections",
    json_seeds(seeds.DETECTIONS),
    ("json", "json", "bytes"),
    partial(_one_result, kind="Detections"),
    share=15,
)
