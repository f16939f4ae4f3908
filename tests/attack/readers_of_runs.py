"""Readers of what minirpn itself has written: runs, studies, downloads."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.attack import seeds
from tests.attack.inputs import SECRET
from tests.attack.judging import FindingError, trouble_with
from tests.attack.reading import command, enter, text_seeds

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


enter("data.json", _run_file("data.json"), ("json", "json", "bytes"), _fingerprints, share=20)
for _name, _grammar, _share in (
    ("metrics.jsonl", "jsonl", 20), ("env.json", "json", 8), ("recall.json", "json", 15),
    ("precision.json", "json", 15), ("config.toml", "toml", 4), ("plots/captions.json", "json", 8),
    ("data.json", "json", 8),
):  # fmt: skip
    enter(
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
    enter(
        f"report-{Path(_name).name}",
        _run_file(_name),
        (_grammar, _grammar, "bytes"),
        partial(_report, upwards=_upwards),
        file=_name,
        folder=_few_files,
        fresh=True,
        share=0.5,
        free_name=False,
    )


enter(
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


enter(
    "run-metrics",
    _run_file("metrics.jsonl"),
    ("jsonl", "jsonl", "bytes"),
    _run_metrics,
    file="metrics.jsonl",
    share=15,
    free_name=False,
)


# --- pictures in a run, embedded in its page -----------------------------------------------------


def _plots_picture() -> list[bytes]:
    from tests.attack.mutate_binary import flat_png

    return [seeds.images()[2], flat_png(900, 900, 8, 2) + b"\0" * 130_000]


enter(
    "page-picture",
    _plots_picture,
    ("image", "bytes"),
    _page_of(1),
    file="plots/labels.png",
    folder=_few_files,
    share=8,
    free_name=False,
)


# --- the head of an explain page, linked from it -------------------------------------------------


def _with_explain(folder: Path) -> None:
    _few_files(folder)
    (folder / "explain").mkdir()


enter(
    "page-explained",
    lambda: [
        b'<!doctype html>\n<meta name="minirpn-explain" '
        b'content="{&quot;positive&quot;: 12, &quot;proposal&quot;: 345}">\n'
    ],
    ("bytes",),
    _page_of(1),
    file="explain/1.html",
    folder=_with_explain,
    share=4,
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


enter(
    "model-shipped",
    _shipped,
    ("npz-json", "npz-json", "npz", "zip", "bytes"),
    _use_model,
    share=1.5,
)
enter(
    "model-config",
    _of_run("config.toml"),
    ("toml", "toml", "bytes"),
    lambda path: _use_model(path.parent),
    file="config.toml",
    folder=_whole_run(),
    share=3,
    free_name=False,
)
enter(
    "model-recall",
    _of_run("recall.json"),
    ("json", "json", "bytes"),
    lambda path: _use_model(path.parent),
    file="recall.json",
    folder=_whole_run(),
    share=2,
    free_name=False,
)
enter(
    "model-last",
    _of_run("checkpoints/last.npz"),
    ("npz-json", "npz-json", "npz", "zip", "bytes"),
    lambda path: _use_model(path.parents[1]),
    file="checkpoints/last.npz",
    folder=_whole_run(),
    share=1.5,
    free_name=False,
)
enter(
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
    from minirpn.training.diagnostics import NotFiniteError, save_failure
    from minirpn.training.run_folder import RunFolder
    from minirpn.training.trainer import Trainer

    folder = RunFolder(seeds.run_folder())
    config = load_config(folder.config)
    trainer = Trainer(config)
    pipeline = build_pipeline(config, trainer.network)
    with pipeline.in_order(open_dataset(config, folder, "train"), 1) as examples:
        example = next(iter(examples))
    path = folder.path / "failure-1.npz"
    error = NotFiniteError(example, 1, "the loss is nan")
    save_failure(path, trainer, error)
    content = path.read_bytes()
    path.unlink()
    return [content]


enter("failure", _failure_seed, ("npz-json", "npz-json", "npz", "zip", "bytes"), _replay, share=1.5)


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


enter(
    "start-npz",
    lambda: [_converted()],
    ("npz-json", "npz-json", "npz", "zip"),
    _start_from,
    file="input.npz",
    share=2,
)
enter("start-torch", lambda: [seeds.torch_zip(_for_tiny())], ("torch", "zip"), _start_from, share=2)
enter(
    "start-checkpoint", _of_run("checkpoints/last.npz"), ("npz-json", "npz"), _start_from, share=1
)
enter(
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
    ("config.toml", ("toml", "toml", "bytes"), 2.0), ("data.json", ("json", "json", "bytes"), 1.0),
    ("metrics.jsonl", ("jsonl", "jsonl", "bytes"), 1.0),
    ("checkpoints/last.npz", ("npz-json", "npz-json", "npz", "zip", "bytes"), 1.5),
    ("env.json", ("json",), 0.1), ("checkpoints/best.npz", ("npz-json",), 0.1),
    ("shapes/ImageSets/Main/train.txt", ("text",), 0.2),
    ("shapes/Annotations/000001.xml", ("xml",), 0.2),
):  # fmt: skip
    enter(
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


enter(
    "resume-proposals",
    lambda: [next((_half_trained() / "proposals").glob("*.npz")).read_bytes()],
    ("npz-json", "npz-json", "npz"),
    lambda path: command("train", "--resume", path.parents[1]),
    file="proposals/detector-1.npz",
    folder=_whole_run("4-step"),
    fresh=True,
    share=0.5,
    free_name=False,
)
enter(
    "resume-start.npz",
    _of_run("checkpoints/start.npz", "4-step"),
    ("npz-json", "npz"),
    lambda path: command("train", "--resume", path.parents[1]),
    file="checkpoints/start.npz",
    folder=_whole_run("4-step"),
    fresh=True,
    share=0.5,
    free_name=False,
)
enter(
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
enter(
    "eval-xml",
    text_seeds(seeds.XML.encode()),
    ("xml",),
    lambda path: command(
        "eval", seeds.run_folder(), "--voc", path.parents[1], "--split", "train", "--skip-bad"
    ),
    file="Annotations/000001.xml",
    folder=seeds.data_set,
    share=0.5,
    free_name=False,
)
enter(
    "check",
    text_seeds(seeds.XML.encode()),
    ("xml", "xml", "bytes"),
    lambda path: command("check", "--voc", path.parents[1]),
    file="Annotations/000001.xml",
    folder=seeds.data_set,
    share=4,
    free_name=False,
)
enter(
    "check-list",
    text_seeds(b"000001\n000002\n"),
    ("text", "bytes"),
    lambda path: command("check", "--voc", path.parents[2]),
    file="ImageSets/Main/train.txt",
    folder=seeds.data_set,
    share=3,
    free_name=False,
)
enter(
    "check-fix",
    text_seeds(seeds.XML.encode()),
    ("xml", "xml"),
    lambda path: command("check", "--voc", path.parents[1], "--fix", path.parents[2] / "fixed"),
    file="data/Annotations/000001.xml",
    folder=lambda folder: seeds.data_set(folder / "data"),
    fresh=True,
    share=1,
    free_name=False,
)
enter(
    "anchors",
    text_seeds(seeds.XML.encode()),
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


enter(
    "explain-image",
    lambda: seeds.images()[2:4],
    ("image", "bytes"),
    _explain,
    file="input.png",
    folder=_beside,
    share=0.4,
    free_name=False,
)
enter(
    "propose",
    lambda: seeds.images()[:3],
    ("image", "bytes"),
    lambda path: command("propose", seeds.run_folder(), path),
    file="input.png",
    share=1,
)
enter(
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


enter("study.json", lambda: [_study()[2]], ("json", "json", "bytes"), _outcomes, share=15)
enter(
    "study",
    lambda: [_study()[2]],
    ("json",),
    _whole_study,
    file="study.json",
    fresh=True,
    share=0.5,
    free_name=False,
)


# --- downloads -----------------------------------------------------------------------------------


_WHOLE = bytes(range(256)) * 40


class _Answer(io.BytesIO):
    """What a mirror sends."""

    def __init__(self, content: bytes, start: int | None) -> None:
        super().__init__(content[start or 0 :])
        self.status, self.headers = 200, {"Content-Length": str(len(content))}
        if start is not None:
            whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.status, self.headers = 206, {"Content-Range": whole}


def _fetch(part: bytes | None, body: bytes, folder: Path) -> object:
    """Download a file of which a part is there, from a mirror that sends `body`."""
    from minirpn.data.download import RemoteFile, fetch

    def urlopen(request: Any, timeout: float) -> _Answer:
        begin = request.get_header("Range")
        start = int(begin.removeprefix("bytes=").rstrip("-")) if begin else 0
        return _Answer(body, start if 0 < start < len(body) else None)

    remote = RemoteFile(
        "file.tar", len(_WHOLE), hashlib.sha256(_WHOLE).hexdigest(), ("https://a/x", "https://b/x")
    )
    with patch("urllib.request.urlopen", urlopen):
        path = fetch(remote, folder)
    if path.read_bytes() != _WHOLE:
        raise FindingError("a download that is not what was asked for")
    return path.name


enter(
    "download-part",
    text_seeds(_WHOLE[:5000]),
    ("bytes",),
    lambda path: _fetch(None, _WHOLE, path.parent),
    file="file.tar.part",
    share=5,
    fresh=True,
    free_name=False,
)
enter(
    "download-body",
    text_seeds(_WHOLE),
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


enter(
    "unpack",
    lambda: [seeds.archive()],
    ("tar", "tar", "bytes"),
    _unpack,
    share=8,
    fresh=True,
    free_name=False,
)
