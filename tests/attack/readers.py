"""Every reader of minirpn, with sound files for it and the use that is made of what it reads."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.attack import seeds
from tests.attack.run import SECRET, FindingError, Reader, trouble_with
from tests.attack.seeds import few_arrays

READERS: list[Reader] = []
STATUSES = (0, 1, 2, 130)  # that are documented, but for 3: a mistake of minirpn's


def _add(
    name: str,
    made: Callable[[], Sequence[bytes]],
    grammars: tuple[str, ...],
    read: Callable[[Path], object],
    **more: Any,
) -> None:
    READERS.append(Reader(name, made, grammars, read, **more))


def command(*words: object) -> object:
    """Run a command in this process, and judge its status and what it prints."""
    from minirpn.cli.main import main
    from minirpn.errors import InputError

    # As strict as a terminal's: what UTF-8 does not have is an error.
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    errors = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status: object = main([*map(str, words)])
        except SystemExit as end:  # of argparse
            status = end.code
    printed, said = (one.buffer.getvalue().decode() for one in (output, errors))
    last = said.splitlines()[-1] if said else ""
    if status not in STATUSES:
        # Once more for the place; what was in the folder may be another now.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main([*map(str, words), "--debug"])
        raise FindingError(f"status {status} of {words[0]}", last)
    if "Traceback" in said or "not enough memory" in said:
        raise FindingError(f"a traceback on the console of {words[0]}", last)
    for line in (printed + said).split("\n"):
        if trouble := trouble_with(line.replace("\t", " ").replace("\r", " ")):
            raise FindingError(f"{trouble} on the console of {words[0]}", line)
    if status == 2:
        if not last:
            raise FindingError("status 2 without a word")
        raise InputError(last)
    return status


def _json(*values: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(value, indent=2).encode() for value in values]


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
    _add(f"weights-{_kind}", _made, _grammars, _read_weights, share=30)

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


def _list(path: Path) -> object:
    from minirpn.data.lists import IdFinder, read_list

    return read_list(path, IdFinder(["000001", "000002", "000003", "a/000001"]))


def _text_seeds(*texts: bytes) -> Callable[[], list[bytes]]:
    return lambda: [*texts]


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


_add(
    "annotation",
    _text_seeds(seeds.XML.encode(), seeds.XML.encode()),
    ("xml", "xml", "bytes"),
    _annotation,
    share=40,
)
_add("image", lambda: seeds.images(), ("image", "image", "bytes", "binary"), _image, share=30)
_add("image-bomb", lambda: seeds.images()[:1], ("image-rare",), _image, share=0.15)
_add("list", _text_seeds(*seeds.LISTS), ("text", "text", "bytes"), _list, share=20)
_add(
    "data-xml",
    _text_seeds(seeds.XML.encode()),
    ("xml", "xml", "bytes"),
    partial(_data_set, upwards=1),
    file="Annotations/000001.xml",
    folder=seeds.data_set,
    share=8,
    free_name=False,
)
_add(
    "data-image",
    lambda: seeds.images()[:3],
    ("image", "bytes"),
    partial(_data_set, upwards=1),
    file="JPEGImages/000001.png",
    folder=seeds.data_set,
    share=5,
    free_name=False,
)
_add(
    "data-list",
    _text_seeds(b"000001\n000002\n"),
    ("text", "text", "bytes"),
    partial(_data_set, upwards=2),
    file="ImageSets/Main/train.txt",
    folder=seeds.data_set,
    share=8,
    free_name=False,
)
_add(
    "data-class-list",
    _text_seeds(b"000001 1\n000002 -1\n"),
    ("text", "text", "bytes"),
    partial(_data_set, upwards=2),
    file="ImageSets/Main/cat_train.txt",
    folder=seeds.data_set,
    share=3,
    free_name=False,
)
_add(
    "coco-folder",
    _json(seeds.COCO),
    ("json", "bytes"),
    _foreign,
    file="instances.json",
    share=3,
    free_name=False,
)
_add(
    "yolo-folder",
    _text_seeds(seeds.YOLO),
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
_add("config", lambda: [_config_text()], ("toml", "toml", "toml", "bytes"), _config, share=40)
_add(
    "settings", _text_seeds(*_WORDS), ("words", "words", "bytes"), _setting, share=20, is_file=False
)

# --- archives of minirpn's own -------------------------------------------------------------------


@cache
def _config_table() -> dict[str, Any]:
    from minirpn.training.config import load_config
    from minirpn.training.tables import to_table

    return to_table(load_config(seeds.run_folder() / "config.toml"))


def _checkpoint_seed() -> list[bytes]:
    state = np.random.default_rng(3).bit_generator.state
    arrays = {f"parameters/{name}": array for name, array in few_arrays().items()}
    arrays |= {f"velocity/{name}": array for name, array in few_arrays().items()}
    metadata = {
        "format": "minirpn checkpoint", "version": 2, "step": 3, "phase": 0, "rng_state": state,
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
_add("checkpoint", _checkpoint_seed, _ARCHIVE, _checkpoint, share=30)
_add("proposals", _proposals_seed, _ARCHIVE, _proposals, share=30)

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


_add(
    "results-voc",
    _text_seeds(seeds.RESULTS_VOC),
    ("text", "text", "bytes"),
    _voc_results,
    share=15,
    file="comp4_det_test_cat.txt",
    free_name=False,
)
_add("results-coco", _json(seeds.RESULTS_COCO), ("json", "json", "bytes"), _coco_results, share=15)
_add(
    "from-json-proposals",
    _json(seeds.PROPOSALS),
    ("json", "json", "bytes"),
    partial(_one_result, kind="Proposals"),
    share=15,
)
_add(
    "from-json-detections",
    _json(seeds.DETECTIONS),
    ("json", "json", "bytes"),
    partial(_one_result, kind="Detections"),
    share=15,
)

# --- records of a run ----------------------------------------------------------------------------


def _run_file(name: str) -> Callable[[], list[bytes]]:
    return lambda: [(seeds.run_folder("approximate-joint") / name).read_bytes()]


def _fingerprints(path: Path) -> object:
    from minirpn.training.fingerprint import difference, load_fingerprints

    found = load_fingerprints(path)
    for one in found.values():
        _ = one.known
    sound = load_fingerprints(seeds.run_folder("approximate-joint") / "data.json")
    both = {name: sound[name] for name in sound if name in found}
    began = {name: found[name] for name in both}
    return difference(began, both, dict.fromkeys(both, "training"), skip_bad=False)


def _few_files(folder: Path) -> None:
    """Copy the records of a run, without its checkpoints and pictures."""
    for path in seeds.run_folder("approximate-joint").iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "plots/samples").mkdir(parents=True)
    for name in ("labels.png", "captions.json", "samples/1-0000000.png"):
        source = seeds.run_folder("approximate-joint") / "plots" / name
        (folder / "plots" / name).write_bytes(source.read_bytes())


def _page(path: Path, run: Path) -> object:
    """Make the page of a report, without its diagrams."""
    from minirpn.report.contents import read_contents
    from minirpn.report.page import render

    page = render(read_contents(run))
    page.encode()
    if "\x1b" in page or "<script" in page:
        raise FindingError("the page holds what was in the file, as it was")
    if SECRET[:50].decode() in page or base64.b64encode(SECRET)[:60].decode() in page:
        raise FindingError("the page holds what is outside of the run")
    return len(page)


def _page_of(upwards: int) -> Callable[[Path], object]:
    return lambda path: _page(path, path.parents[upwards])


_add("data.json", _run_file("data.json"), ("json", "json", "bytes"), _fingerprints, share=20)
for _name, _grammar, _share in (
    ("metrics.jsonl", "jsonl", 20), ("env.json", "json", 8), ("recall.json", "json", 15),
    ("precision.json", "json", 15), ("config.toml", "toml", 2), ("plots/captions.json", "json", 8),
):  # fmt: skip
    _add(
        f"page-{Path(_name).name}",
        _run_file(_name),
        (_grammar, _grammar, "bytes"),
        _page_of(_name.count("/")),
        file=_name,
        folder=_few_files,
        share=_share,
        free_name=False,
    )


def _report(path: Path, upwards: int) -> object:
    return command("report", path.parents[upwards])


for _name, _grammar, _upwards in (
    ("metrics.jsonl", "jsonl", 0), ("recall.json", "json", 0), ("precision.json", "json", 0),
    ("plots/captions.json", "json", 1),
):  # fmt: skip
    _add(
        f"report-{Path(_name).name}",
        _run_file(_name),
        (_grammar, _grammar, "bytes"),
        partial(_report, upwards=_upwards),
        file=_name,
        folder=_few_files,
        fresh=True,
        share=0.3,
        free_name=False,
    )


_add(
    "report-plots",
    lambda: [seeds.images()[2]],
    ("image",),
    partial(_report, upwards=1),
    file="plots/training.png",
    folder=_few_files,
    fresh=True,
    share=0.1,
    free_name=False,
)


def _run_metrics(path: Path) -> object:
    """Read the records as `minirpn.Run` and a resumed training do."""
    from minirpn.models import Run
    from minirpn.training.run_folder import RunFolder

    folder = RunFolder(path.parent)
    _ = folder.has_begun
    folder.drop_records_after(2, ("validate",))
    run = Run(path.parent, None, 3, False, None, None, 1.0, None)  # type: ignore[arg-type]
    return len(run.metrics), repr(run)


_add(
    "run-metrics",
    _run_file("metrics.jsonl"),
    ("jsonl", "jsonl", "bytes"),
    _run_metrics,
    file="metrics.jsonl",
    share=15,
    free_name=False,
)

# --- pictures in a run, embedded in its page ------------------------------------------------------


def _plots_picture() -> list[bytes]:
    from tests.attack.mutate_binary import flat_png

    return [seeds.images()[2], flat_png(900, 900, 8, 2) + b"\0" * 130_000]


_add(
    "page-picture",
    _plots_picture,
    ("image", "bytes"),
    _page_of(1),
    file="plots/labels.png",
    folder=_few_files,
    share=8,
    free_name=False,
)

# --- a trained network ---------------------------------------------------------------------------


def _pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def _use_model(source: Path) -> object:
    from minirpn.models import load

    model = load(source, device="cpu")
    found = model.propose(_pixels(), post_nms=20, pre_nms=60)
    if trouble := trouble_with(repr(model).replace("\n", " ")):
        raise FindingError(trouble)
    return repr(model), len(found)


def _shipped() -> list[bytes]:
    from minirpn.training.stored import SHIPPED

    return [(SHIPPED / "shapes.npz").read_bytes()]


def _whole_run(
    kind: str = "rpn-only", *, but: tuple[str, ...] = ("plots", "report.html")
) -> Callable[[Path], None]:
    """Return what copies a run, without what nobody reads."""

    def copy(folder: Path) -> None:
        for source in seeds.run_folder(kind).iterdir():
            if source.name in but:
                continue
            if source.is_dir():
                shutil.copytree(source, folder / source.name)
            else:
                shutil.copyfile(source, folder / source.name)
        (folder / "plots").mkdir(exist_ok=True)

    return copy


def _of_run(name: str, kind: str = "rpn-only") -> Callable[[], list[bytes]]:
    return lambda: [(seeds.run_folder(kind) / name).read_bytes()]


_add(
    "model-shipped",
    _shipped,
    ("npz-json", "npz-json", "npz", "zip", "bytes"),
    _use_model,
    share=1.5,
)
_add(
    "model-config",
    _of_run("config.toml"),
    ("toml", "toml", "bytes"),
    lambda path: _use_model(path.parent),
    file="config.toml",
    folder=_whole_run(),
    share=3,
    free_name=False,
)
_add(
    "model-recall",
    _of_run("recall.json"),
    ("json", "json", "bytes"),
    lambda path: _use_model(path.parent),
    file="recall.json",
    folder=_whole_run(),
    share=2,
    free_name=False,
)
_add(
    "model-last",
    _of_run("checkpoints/last.npz"),
    ("npz-json", "npz-json", "npz", "zip", "bytes"),
    lambda path: _use_model(path.parents[1]),
    file="checkpoints/last.npz",
    folder=_whole_run(),
    share=1.5,
    free_name=False,
)
_add(
    "model-detector",
    _of_run("config.toml", "approximate-joint"),
    ("toml", "toml"),
    lambda path: _use_model(path.parent),
    file="config.toml",
    folder=_whole_run("approximate-joint"),
    share=1,
    free_name=False,
)


def _replay(path: Path) -> object:
    from minirpn.training.diagnostics import replay

    return replay(path)


def _failure_seed() -> list[bytes]:
    from minirpn.training.build import build_pipeline, open_dataset
    from minirpn.training.config import load_config
    from minirpn.training.diagnostics import Failure, NotFiniteError, save_failure
    from minirpn.training.run_folder import RunFolder
    from minirpn.training.trainer import Trainer

    folder = RunFolder(seeds.run_folder())
    config = load_config(folder.config)
    trainer = Trainer(config)
    pipeline = build_pipeline(config, trainer.network)
    with pipeline.in_order(open_dataset(config, folder, "train"), 1) as examples:
        example = next(iter(examples))
    path = folder.path / "failure-1.npz"
    save_failure(
        path, Failure(trainer, example, None), NotFiniteError(example, 1, "the loss is nan")
    )
    content = path.read_bytes()
    path.unlink()
    return [content]


_add("failure", _failure_seed, ("npz-json", "npz-json", "npz", "zip", "bytes"), _replay, share=1.5)


@cache
def _for_tiny() -> dict[str, np.ndarray]:
    from minirpn.training.stored import read_stored

    found = read_stored(seeds.run_folder()).parameters
    return {name: array for name, array in found.items() if name.startswith("conv")}


def _start_from(path: Path) -> object:
    """Read weights as ``minirpn train --weights`` does."""
    from minirpn.training.config import load_config, override
    from minirpn.training.tables import to_table
    from minirpn.training.trainer import Trainer
    from minirpn.weights import PRESETS

    pixels = (
        {} if path.suffix == ".npz" else {"model.preprocessing": to_table(PRESETS["torchvision"])}
    )
    config = override(load_config(seeds.run_folder() / "config.toml"), pixels, origins={})
    lines = list(Trainer(config).load_weights(path).lines())
    for line in lines:
        if trouble := trouble_with(line):
            raise FindingError(f"{trouble} about weights")
    return lines


@cache
def _converted() -> bytes:
    """Return what ``minirpn convert`` writes."""
    from minirpn.weights import PRESETS, convert, read_weights, write_weights

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "weights.pth", Path(folder) / "weights.npz"
        source.write_bytes(seeds.torch_zip(_for_tiny()))
        write_weights(
            target,
            convert(read_weights(source), network="tiny", preprocessing=PRESETS["torchvision"]),
        )
        return target.read_bytes()


_add(
    "start-npz",
    lambda: [_converted()],
    ("npz-json", "npz-json", "npz", "zip"),
    _start_from,
    file="input.npz",
    share=2,
)
_add("start-torch", lambda: [seeds.torch_zip(_for_tiny())], ("torch", "zip"), _start_from, share=2)
_add("start-checkpoint", _of_run("checkpoints/last.npz"), ("npz-json", "npz"), _start_from, share=1)
_add(
    "convert",
    lambda: [seeds.torch_legacy(_for_tiny())],
    ("legacy", "bytes"),
    lambda path: command(
        "convert", path, path.parent / "out.npz", "--network", "tiny", "--preset", "torchvision"
    ),
    share=2,
)

# --- a training goes on --------------------------------------------------------------------------


def _resume(path: Path, upwards: int) -> object:
    return command("train", "--resume", path.parents[upwards], "--steps", "4")


for _name, _grammars_, _share in (
    ("config.toml", ("toml", "toml", "bytes"), 1.0), ("data.json", ("json", "json", "bytes"), 0.7),
    ("metrics.jsonl", ("jsonl", "jsonl", "bytes"), 0.5),
    ("checkpoints/last.npz", ("npz-json", "npz-json", "npz", "zip", "bytes"), 1.5),
    ("env.json", ("json",), 0.1), ("checkpoints/best.npz", ("npz-json",), 0.1),
    ("shapes/ImageSets/Main/train.txt", ("text",), 0.2),
    ("shapes/Annotations/000001.xml", ("xml",), 0.2),
):  # fmt: skip
    _add(
        f"resume-{Path(_name).name}",
        _of_run(_name),
        _grammars_,
        partial(_resume, upwards=_name.count("/")),
        file=_name,
        folder=_whole_run(),
        fresh=True,
        share=_share,
        free_name=False,
    )


def _half_trained() -> Path:
    return seeds.run_folder("4-step")


_add(
    "resume-proposals",
    lambda: [next((_half_trained() / "proposals").glob("*.npz")).read_bytes()],
    ("npz-json", "npz-json", "npz"),
    lambda path: command("train", "--resume", path.parents[1]),
    file="proposals/detector-1.npz",
    folder=_whole_run("4-step"),
    fresh=True,
    share=0.3,
    free_name=False,
)
_add(
    "resume-start.npz",
    _of_run("checkpoints/start.npz", "4-step"),
    ("npz-json", "npz"),
    lambda path: command("train", "--resume", path.parents[1]),
    file="checkpoints/start.npz",
    folder=_whole_run("4-step"),
    fresh=True,
    share=0.3,
    free_name=False,
)
_add(
    "eval-config",
    _of_run("config.toml"),
    ("toml", "toml"),
    lambda path: command("eval", path.parent, "--limit", "2"),
    file="config.toml",
    folder=_whole_run(),
    fresh=True,
    share=1,
    free_name=False,
)
_add(
    "eval-xml",
    _text_seeds(seeds.XML.encode()),
    ("xml",),
    lambda path: command(
        "eval", seeds.run_folder(), "--voc", path.parents[1], "--split", "train", "--skip-bad"
    ),
    file="Annotations/000001.xml",
    folder=seeds.data_set,
    share=0.5,
    free_name=False,
)
_add(
    "check",
    _text_seeds(seeds.XML.encode()),
    ("xml", "xml", "bytes"),
    lambda path: command("check", "--voc", path.parents[1]),
    file="Annotations/000001.xml",
    folder=seeds.data_set,
    share=4,
    free_name=False,
)
_add(
    "check-list",
    _text_seeds(b"000001\n000002\n"),
    ("text", "bytes"),
    lambda path: command("check", "--voc", path.parents[2]),
    file="ImageSets/Main/train.txt",
    folder=seeds.data_set,
    share=3,
    free_name=False,
)
_add(
    "check-fix",
    _text_seeds(seeds.XML.encode()),
    ("xml", "xml"),
    lambda path: command("check", "--voc", path.parents[1], "--fix", path.parents[2] / "fixed"),
    file="data/Annotations/000001.xml",
    folder=lambda folder: seeds.data_set(folder / "data"),
    fresh=True,
    share=1,
    free_name=False,
)
_add(
    "anchors",
    _text_seeds(seeds.XML.encode()),
    ("xml", "xml"),
    lambda path: command("anchors", "--voc", path.parents[1], "--split", "all"),
    file="Annotations/000001.xml",
    folder=seeds.data_set,
    share=1,
    free_name=False,
)


def _explain(path: Path) -> object:
    return command("explain", seeds.run_folder(), path, "--out", path.parent / "page.html")


def _beside(folder: Path) -> None:
    (folder / "input.xml").write_text(
        seeds.XML.replace(
            "<width>32</width><height>24</height>", "<width>32</width><height>24</height>"
        )
    )


_add(
    "explain-image",
    lambda: seeds.images()[2:4],
    ("image", "bytes"),
    _explain,
    file="input.png",
    folder=_beside,
    share=0.4,
    free_name=False,
)
_add(
    "propose",
    lambda: seeds.images()[:3],
    ("image", "bytes"),
    lambda path: command("propose", seeds.run_folder(), path),
    file="input.png",
    share=1,
)
_add(
    "detect",
    lambda: seeds.images()[2:3],
    ("image",),
    lambda path: command("detect", seeds.run_folder("approximate-joint"), path),
    file="input.png",
    share=0.5,
)

# --- studies -------------------------------------------------------------------------------------


@cache
def _study() -> tuple[Any, Any, bytes]:
    """Return a study, its settings, and the ``study.json`` of the whole of it."""
    from minirpn.studies import STUDIES
    from minirpn.studies.runner import run_study
    from minirpn.training.config import load_config, override

    study = STUDIES["loss"]
    base = override(
        load_config(seeds.run_folder() / "config.toml"), {"optimizer.steps": 2}, origins={}
    )
    with tempfile.TemporaryDirectory() as folder, patch("minirpn.studies.runner.write_findings"):
        run_study(study, base, Path(folder), seeds=1, limit=1, progress=False)
        return study, base, (Path(folder) / "study.json").read_bytes()


def _outcomes(path: Path) -> object:
    """Read the outcomes of a study, and make its table if none is missing."""
    from minirpn.studies.runner import _stored_outcomes
    from minirpn.studies.study import Findings

    study, base, sound = _study()
    outcomes = tuple(_stored_outcomes(path, json.loads(sound)))
    variants = study.variants(base)
    done = {(one.variant, one.seed) for one in outcomes}
    findings = Findings(study, base, variants, outcomes)
    if not all((variant.name, 0) in done for variant in variants) or findings.failed(
        findings.baseline
    ):
        return "more to train"
    return study.table(findings)


def _whole_study(path: Path) -> object:
    from minirpn.studies.runner import run_study

    study, base, _ = _study()
    return run_study(study, base, path.parent, seeds=1, limit=1, progress=False).interrupted


_add("study.json", lambda: [_study()[2]], ("json", "json", "bytes"), _outcomes, share=15)
_add(
    "study",
    lambda: [_study()[2]],
    ("json",),
    _whole_study,
    file="study.json",
    fresh=True,
    share=0.3,
    free_name=False,
)

# --- downloads -----------------------------------------------------------------------------------

_WHOLE = bytes(range(256)) * 40


class _Answer(io.BytesIO):
    """What a mirror sends."""

    def __init__(self, content: bytes, status: int) -> None:
        super().__init__(content)
        self.status = status


def _fetch(part: bytes | None, body: bytes, folder: Path) -> object:
    """Download a file of which a part is there, from a mirror that sends `body`."""
    from minirpn.data.download import RemoteFile, fetch

    def urlopen(request: Any, timeout: float) -> _Answer:
        begin = request.get_header("Range")
        start = int(begin.removeprefix("bytes=").rstrip("-")) if begin else 0
        return _Answer(body[start:], 206 if start and start < len(body) else 200)

    remote = RemoteFile(
        "file.tar", len(_WHOLE), hashlib.sha256(_WHOLE).hexdigest(), ("https://a/x", "https://b/x")
    )
    with patch("urllib.request.urlopen", urlopen):
        path = fetch(remote, folder)
    if path.read_bytes() != _WHOLE:
        raise FindingError("a download that is not what was asked for")
    return path.name


_add(
    "download-part",
    _text_seeds(_WHOLE[:5000]),
    ("bytes",),
    lambda path: _fetch(None, _WHOLE, path.parent),
    file="file.tar.part",
    share=5,
    fresh=True,
    free_name=False,
)
_add(
    "download-body",
    _text_seeds(_WHOLE),
    ("bytes",),
    lambda path: _fetch(None, path.read_bytes(), path.parent / "into"),
    share=5,
    fresh=True,
    is_file=False,
)


def _unpack(path: Path) -> object:
    from minirpn.data.download import unpack

    into = path.parent / "into"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    try:
        unpack(path, into)
    finally:
        outside = [one for one in path.parent.iterdir() if one.name not in {"into", "input", "odd"}]
        if outside or Path("/tmp/minirpn-attack-escape").exists():
            raise FindingError("unpacked outside of its folder")
    return sorted(one.name for one in into.iterdir())


_add(
    "unpack",
    lambda: [seeds.archive()],
    ("tar", "tar", "bytes"),
    _unpack,
    share=8,
    fresh=True,
    free_name=False,
)
