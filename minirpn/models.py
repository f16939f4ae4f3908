"""The door: load a model and use it, train one, look at what came out.

``minirpn.load``, ``minirpn.train``, ``minirpn.Model`` and ``minirpn.Run`` are these.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minirpn.backend import to_host
from minirpn.data.images import read_image, rgb_pixels
from minirpn.data.samples import Dataset, Example, Sample, unannotated
from minirpn.data.voc import VOCDataset
from minirpn.detector import FasterRCNN
from minirpn.devices import Device, device_with, open_device
from minirpn.errors import InputError
from minirpn.evaluation import APResult, RecallResult
from minirpn.evaluation.recall import share_text
from minirpn.export import write_onnx
from minirpn.fields import MOST_NAME, Fields, read_json, text, whole
from minirpn.results import OBJECT, Detections, Found, Proposals
from minirpn.rpn.network import RPN
from minirpn.training.build import build_pipeline, load_model, rpn_of, with_splits_there
from minirpn.training.config import TrainConfig, keys_in, load_config, override
from minirpn.training.crew import together
from minirpn.training.distributed import open_ranks
from minirpn.training.evaluate import (
    detections_in_original_pixels,
    evaluate_split,
    propose_in,
)
from minirpn.training.keywords import settings_by_key
from minirpn.training.run_data import check_measurable
from minirpn.training.run_folder import RunFolder, new_run_path, start_run
from minirpn.training.scaling import shared_by
from minirpn.training.stored import StoredModel, no_detector, read_stored
from minirpn.training.train import TrainResult
from minirpn.training.train import train as train_network

ImageLike: TypeAlias = str | Path | NDArray[np.uint8] | Image.Image
"""A picture: a file, an array (H, W, 3) or (H, W) uint8 RGB or gray, or a Pillow image."""

_Result = TypeVar("_Result", bound=Found)

_PROPOSING = ("resize", "proposals")  # sections whose settings `propose` takes
_DETECTING = (*_PROPOSING, "detections")
_OF_TRAIN = ("out", "progress", "recipe", "config", "distributed")  # its other keywords
_SCORE_THRESHOLD = 0.5  # of `Model.detect`
_CLASSES_SHOWN = 6


# --- a model -------------------------------------------------------------------------------------


def load(
    source: str | Path | StoredModel = "voc-small",
    *,
    device: str | Device = "auto",
    best: bool = False,
) -> Model:
    """Return a trained model.

    Parameters
    ----------
    source
        The name of a model that comes with minirpn (``"voc-small"``, ``"shapes"``), the folder of a
        run, ``RUN@best``, or a checkpoint file; or what
        `minirpn.training.stored.read_stored` has read.
    device
        Where to compute: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; ``"auto"`` takes a GPU if one can be
        used.
    best
        Take the best checkpoint of a run, not the last.

    Raises
    ------
    InputError
        There is no such model, or its file is damaged; the device cannot be used.

    Warns
    -----
    UntrainedWarning
        It is the checkpoint of a run that has not learned anything yet.
    """
    stored = source if isinstance(source, StoredModel) else read_stored(source, best=best)
    opened = open_device(device) if isinstance(device, str) else device
    network, config = load_model(stored, opened)
    return Model(network, config, stored)


class Model:
    """A trained network that takes pictures and answers in their own pixels.

    `load` makes one.

    Parameters
    ----------
    network
        An RPN, or an RPN with a detector.
    config
        The settings it was trained with.
    stored
        Where it came from.

    Attributes
    ----------
    network, config
        As given.
    name : str
        As the user named it.
    names : tuple of str
        The classes of the detector; ``("object",)`` without one.
    """

    def __init__(self, network: RPN | FasterRCNN, config: TrainConfig, stored: StoredModel) -> None:
        self.network = network
        self.config = config
        self.name = stored.name
        self.names: tuple[str, ...] = (OBJECT,)
        if isinstance(network, FasterRCNN):
            self.names = config.data.classes or ()
        self._stored = stored

    @property
    def rpn(self) -> RPN:
        """The RPN, with or without a detector beside it."""
        return rpn_of(self.network)

    @property
    def has_detector(self) -> bool:
        """Whether it can `detect`."""
        return isinstance(self.network, FasterRCNN)

    @property
    def device(self) -> Device:
        """Where it computes."""
        return device_with(self.rpn.parameters()[0].value)

    @overload
    def propose(self, images: ImageLike, **settings: Any) -> Proposals: ...

    @overload
    def propose(self, images: Sequence[ImageLike], **settings: Any) -> list[Proposals]: ...

    def propose(self, images: Any, **settings: Any) -> Proposals | list[Proposals]:
        """Return where in a picture objects may be, best first; for a list, a list of results.

        Parameters
        ----------
        images
            A file (str or Path), an array (H, W, 3) or (H, W) uint8, RGB or gray, a Pillow image;
            or a list of those. An array (N, H, W, 3) is a list, too. Arrays are not copied. Files
            are turned upright by their EXIF orientation, Pillow images are taken as they are. While
            the network looks at one picture of a list, the next ones are read.
        **settings
            Those of the sections ``proposals`` and ``resize`` of ``config.toml``: by their names
            (``post_nms=1000``) or by section (``proposals={"post_nms": 1000}``). The others are
            those of the model.

        Raises
        ------
        InputError
            A picture cannot be read or is of another type or shape; there is no such setting, or
            its value is refused.
        """
        config = self._configured(settings, _PROPOSING)

        def find(looks: Sequence[Example], picture: _Picture) -> Proposals:
            _, boxes, scores = propose_in(self.rpn, looks, config.proposals)
            return Proposals(boxes, scores, **picture.about(looks[0]))

        return self._each(images, config, find)

    @overload
    def detect(
        self, images: ImageLike, *, score_threshold: float | None = None, **settings: Any
    ) -> Detections: ...

    @overload
    def detect(
        self,
        images: Sequence[ImageLike],
        *,
        score_threshold: float | None = None,
        **settings: Any,
    ) -> list[Detections]: ...

    def detect(
        self, images: Any, *, score_threshold: float | None = None, **settings: Any
    ) -> Detections | list[Detections]:
        """Return the objects in a picture, best first; for a list, a list of results.

        Parameters
        ----------
        images
            As for `propose`.
        score_threshold
            Only detections that score above this; None for 0.5, unless `settings` have it. (The
            setting of ``config.toml``, 0.05, is for average precision, which needs the low scores
            too.)
        **settings
            Those of the sections ``detections``, ``proposals`` and ``resize``. Two of them have
            ``iou_threshold``: write ``detections={"iou_threshold": 0.5}``.

        Raises
        ------
        InputError
            The model has no detector; otherwise as `propose`.
        """
        network = self.network
        if not isinstance(network, FasterRCNN):
            raise no_detector(self.name)
        if score_threshold is not None:
            settings = {"score_threshold": score_threshold, **settings}
        # Not by `override`, which looks through all settings: that takes longer than NMS.
        surer = replace(self.config.detections, score_threshold=_SCORE_THRESHOLD)
        config = self._configured(settings, _DETECTING, replace(self.config, detections=surer))

        def find(looks: Sequence[Example], picture: _Picture) -> Detections:
            (example,) = looks  # a detector has one size
            detected = network.detect(
                example.image,
                scale=example.scale,
                proposals=config.proposals,
                config=config.detections,
            )
            boxes, scores, classes = detections_in_original_pixels(*detected, example).detections
            about = picture.about(example)
            return Detections(boxes, scores, classes=classes, names=self.names, **about)

        return self._each(images, config, find)

    def features(self, image: ImageLike, **settings: Any) -> NDArray[np.floating]:
        """Return what the backbone makes of a picture: (C, Hf, Wf), on the host.

        Settings are those of the section ``resize``; errors are those of `propose`.
        """
        pipeline = build_pipeline(self._configured(settings, ("resize",)), self.rpn)
        example = pipeline.example(_picture(image, "image").sample())
        features, _ = self.rpn.backbone.forward(example.image[None, ...])
        return to_host(features[0, ...])

    def evaluate(
        self,
        dataset: str | Path | Dataset,
        *,
        split: str = "test",
        year: str | None = None,
        skip_bad: bool = False,
        limit: int | None = None,
        progress: bool = False,
        **settings: Any,
    ) -> Evaluation:
        """Return how many objects of a data set the proposals find, and how good detections are.

        Parameters
        ----------
        dataset
            The folder of a data set in VOC layout; or an object with a length that gives a
            `minirpn.data.Sample` by position. Its classes must be numbered as in `names` if the
            model has a detector.
        split, year, skip_bad
            Of a folder: see `minirpn.data.VOCDataset`.
        limit
            Only the first so many images.
        progress
            Show the progress on stderr.
        **settings
            Those of the sections ``detections``, ``proposals`` and ``resize``, as for `propose`.

        Raises
        ------
        InputError
            The folder cannot be read, or something in it is wrong; there are no images, or no
            objects in them that are not marked difficult; the classes are others than the model's.
        """
        config = self._configured(settings, _DETECTING)
        if limit is not None and limit < 1:
            raise InputError(f"limit: expected at least 1, got {limit}")
        if isinstance(dataset, str | Path):
            classes = self.names if self.has_detector else None
            where = f"{dataset}: split {split!r}"
            dataset = VOCDataset(
                dataset, year=year, split=split, classes=classes, skip_bad=skip_bad
            )
            check_measurable(dataset, where, limit=limit)
        if len(dataset) == 0:
            raise InputError("dataset: no images to evaluate on")
        given = getattr(dataset, "classes", self.names)
        if self.has_detector and tuple(given) != self.names:
            raise InputError(
                f"dataset: its classes are {', '.join(given)}, but those of {self.name} are "
                f"{', '.join(self.names)}"
            )
        result = evaluate_split(self.network, config, dataset, limit=limit, progress=progress)
        if not result.recall.gt_count:
            images = len(result.proposals)
            raise InputError(f"dataset: no object to measure in its {images} images")
        return Evaluation(result.recall, result.precision, len(result.proposals))

    def export(self, path: str | Path) -> None:
        """Write the RPN as an ONNX file, which other programs run: the backbone and the head.

        Anchors, decoding and NMS stay outside the graph, and so does a detector; see the how-to
        about exporting. Numbers are float32.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        InputError
            The package onnx is not installed, a layer of a backbone of your own has no form in
            ONNX, or the file cannot be written.
        """
        write_onnx(Path(path), self.rpn, self.config)

    def _configured(
        self,
        settings: Mapping[str, Any],
        sections: Sequence[str],
        config: TrainConfig | None = None,
    ) -> TrainConfig:
        """Return `config`, else the model's settings, with those that a call gives."""
        config = config or self.config
        values, names = settings_by_key(settings, sections)
        if self.has_detector and values.get("resize.also_at"):
            named = names.get("resize.also_at", "also_at")
            raise InputError(f"{named}: a model with a detector looks at an image once")
        return override(config, values, origins=names) if values else config

    def _each(
        self,
        images: Any,
        config: TrainConfig,
        find: Callable[[Sequence[Example], _Picture], _Result],
    ) -> _Result | list[_Result]:
        """Return what `find` returns for the looks at a picture, or at each of several."""
        pipeline = build_pipeline(config, self.rpn)
        if not isinstance(images, list | tuple) and not _is_stack(images):
            picture = _picture(images, "image")
            return find(pipeline.looks(picture.sample()), picture)
        count = len(images)
        pictures = [
            _picture(image, f"image {number} of {count}")
            for number, image in enumerate(images, start=1)
        ]
        # One at a time: on a CPU a batch is no faster, and needs the memory of all.
        with pipeline.all_looks(_Pictures(pictures), range(count)) as looks:
            return [find(some, picture) for some, picture in zip(looks, pictures, strict=True)]

    def __repr__(self) -> str:
        rows = [f"Model {self.name}"]
        rows += [f"  {name:<11} {value}" for name, value in _description(self, self._stored)]
        return "\n".join(rows)


def _description(model: Model, stored: StoredModel) -> Iterator[tuple[str, str]]:
    """Yield what is worth knowing about a model: a word, and a short line."""
    config, parameters = model.config, model.network.parameters()
    yield "backbone", f"{config.model.backbone}, stride {model.rpn.stride}"
    sides = ", ".join(f"{config.anchors.base_size * scale:g}" for scale in config.anchors.scales)
    ratios = ", ".join(f"{ratio:g}" for ratio in config.anchors.ratios)
    count = config.anchors.count
    yield "anchors", f"{count} a cell: sides of {sides} pixels, ratios {ratios}"
    if model.has_detector:
        first = ", ".join(model.names[:_CLASSES_SHOWN])
        more = ", ..." if len(model.names) > _CLASSES_SHOWN else ""
        yield "detector", f"{len(model.names)} classes: {first}{more}"
    total = sum(int(np.prod(parameter.value.shape)) for parameter in parameters)
    yield "parameters", f"{total:,}"
    data = config.data
    trained_on = f"{data.voc or 'generated shapes'}, split {data.split}"
    yield "trained on", stored.about.get("trained_on", trained_on)
    if measured := _measured(stored):
        yield "recall", measured
    yield "device", str(model.device)


def _measured(stored: StoredModel) -> str | None:
    """Return the recall of a shipped model, or of a run after its last step, in words."""
    if stored.about:
        if "recall" not in stored.about:
            return None
        recall, where = stored.about["recall"], stored.about["measured_on"]
    else:
        # That file is about the network after the last step, not about other checkpoints.
        folder = stored.folder
        if folder is None or stored.path.absolute() != folder.last.absolute():
            return None
        path = folder.path / "recall.json"
        if not path.is_file():
            return None
        read = Fields(read_json(path), str(path))
        result = RecallResult.from_dict(read.plain, read.where)
        if 0.5 not in result.iou_thresholds:
            return None
        recall = {str(count): result.at(count) for count in result.counts}
        where = f"split {read.get('split', text(MOST_NAME))}, {read.get('images', whole())} images"
    return f"{_recall_words(recall)} proposals at IoU 0.5 ({where})"


def _recall_words(recall: Mapping[str, float]) -> str:
    return ", ".join(f"{share_text(value)} with {count}" for count, value in recall.items())


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """How good a model is on a data set; `Model.evaluate` returns it.

    Parameters
    ----------
    recall
        How many objects the proposals find, by number of proposals and IoU.
    precision
        Average precision of the detections by class, and its mean; None without a detector.
    images
        How many there were.
    """

    recall: RecallResult
    precision: APResult | None
    images: int

    def __repr__(self) -> str:
        tables = [f"Evaluation of {self.images} images", self.recall.table()]
        if self.precision is not None:
            tables.append(self.precision.table())
        return "\n\n".join(tables)


# --- pictures ------------------------------------------------------------------------------------


class _Picture(NamedTuple):
    """A picture as the user gave it: a file or pixels."""

    path: Path | None
    pixels: NDArray[np.uint8] | None  # (H, W, 3)

    def sample(self) -> Sample:
        """Return its pixels, read from the file if it is one."""
        if self.path is not None:
            return unannotated(self.path, read_image(self.path))
        assert self.pixels is not None
        return unannotated(Path("image"), self.pixels)

    def about(self, example: Example) -> dict[str, Any]:
        """Return what a result says about the picture."""
        return {
            "image_size": example.original_size,
            "image": self.pixels,
            "image_path": self.path,
        }


class _Pictures(Sequence[Sample]):
    """Several pictures, each read when it is needed."""

    def __init__(self, pictures: list[_Picture]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: Any) -> Any:
        return self._pictures[index].sample()


def _is_stack(images: Any) -> bool:
    """Tell whether it is an array (N, H, W, 3)."""
    return isinstance(images, np.ndarray) and images.ndim == 4


def _picture(image: Any, name: str) -> _Picture:
    """Return what the user gave; an InputError with its `name` says what is wrong with it."""
    if isinstance(image, str | Path):
        path = Path(image)
        if path.is_dir():
            raise InputError(f"{path}: a folder, not a picture: give a list of its files")
        return _Picture(path, None)
    if isinstance(image, Image.Image):
        try:
            return _Picture(None, rgb_pixels(image))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        except OSError as error:  # Pillow decodes a file when its pixels are needed
            raise InputError(f"{name}: truncated, damaged or unreadable ({error})") from error
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"{name}: expected a path, an array or a Pillow image, got {type(image).__name__}"
        )
    if image.dtype != np.uint8:
        raise InputError(f"{name}: expected an array of uint8, 0 to 255, got {image.dtype}")
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise InputError(f"{name}: expected shape (H, W, 3) or (H, W), got {image.shape}")
    if 0 in image.shape:
        raise InputError(f"{name}: it has no pixels: its shape is {image.shape}")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return _Picture(None, image)


# --- training ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A training and what came out of it; `train` returns it.

    Parameters
    ----------
    path
        The folder of the run, with all its files.
    config
        All settings.
    steps
        Steps done.
    interrupted
        Whether Ctrl-C or SIGTERM stopped it; ``minirpn train --resume PATH`` goes on.
    recall
        Of the proposals on the validation split; None if it was interrupted or there is no such
        split.
    precision
        Of the detections there; None without a detector, too.
    seconds
        How long it took.
    device
        Where it computed, and where `model` will.
    """

    path: Path
    config: TrainConfig
    steps: int
    interrupted: bool
    recall: RecallResult | None
    precision: APResult | None
    seconds: float
    device: Device

    @cached_property
    def model(self) -> Model:
        """The model after the last step; ``minirpn.load(run.path, best=True)`` is the best one."""
        return load(self.path, device=self.device)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``: one for each step, validation, diagnosis."""
        from minirpn.report import read_metrics

        return read_metrics(RunFolder(self.path).metrics)

    @property
    def report(self) -> Path:
        """The page with all of it; it is there unless ``pictures=False`` or `interrupted`."""
        return RunFolder(self.path).report

    def __repr__(self) -> str:
        ended = ", interrupted" if self.interrupted else ""
        lines = [f"Run {self.path}", f"  {self.steps} steps in {self.seconds:.0f} s{ended}"]
        if self.recall is not None:
            recall = {str(count): self.recall.at(count) for count in self.recall.counts}
            lines.append(f"  recall at IoU 0.5: {_recall_words(recall)} proposals")
        if self.precision is not None:
            lines.append(f"  mAP {share_text(self.precision.mean_ap)}")
        if self.report.is_file():
            lines.append(f"  report: {self.report}")
        return "\n".join(lines)


def train(
    *,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = True,
    recipe: str | None = None,
    config: str | Path | TrainConfig | None = None,
    distributed: Literal["auto", "off"] = "auto",
    **settings: Any,
) -> Run:
    """Train a network, as ``minirpn train`` does, and return the run.

    Parameters
    ----------
    out
        The folder of the run; None for a new one in ``runs/``.
    device
        Where to compute; None for what the settings say.
    progress
        Show the progress on stderr.
    recipe
        Settings to start from: ``"small"``, ``"shapes"``, ``"paper"``; None for the first with
        ``voc``, else the second.
    config
        A TOML file of settings over those of the recipe; or the settings of a run (``run.config``).
    distributed
        ``"auto"``: processes that an MPI launcher (mpiexec, srun) has started with one script train
        one network together, and each gets the run. ``"off"``: each process is for itself. Start
        such a script as ``mpiexec -n 4 python -m mpi4py script.py``: then an error of its own in
        one process ends all of them.
    **settings
        Those of ``config.toml``: by name where it is in one section only (``voc="VOCdevkit"``,
        ``steps=2000``, ``backbone="squeezenet"``, ``lr=0.01``), or by section
        (``optimizer={"lr": 0.01}``, ``sharing={"kind": "4-step"}``). ``seed`` is the run's.

    Raises
    ------
    InputError
        There is no such setting (the nearest known is named), or its value is refused; data,
        weights or device cannot be used; the folder is there already.

    Notes
    -----
    ``threads`` sets how many threads this process computes with from then on.
    """
    settings = settings if device is None else {"device": device, **settings}
    ranks = open_ranks(distributed)
    progress = progress and ranks.is_first

    def prepare() -> tuple[TrainConfig, Path, Device]:
        chosen = _training_config(config, recipe, settings, progress)
        chosen, scaled = shared_by(chosen, ranks.size)
        if scaled is not None and progress:
            print(scaled, file=sys.stderr)
        path = new_run_path(chosen.model.backbone) if out is None else Path(out)
        opened = ranks.open_device(chosen.run.device, tf32=chosen.run.tf32)
        ranks.use_threads(chosen.run.threads)
        return chosen, ranks.exchange(path)[0], opened

    def train_first() -> TrainResult:
        with start_run(path, chosen, opened, ranks) as folder:
            return train_network(chosen, folder, device=opened, progress=progress, ranks=ranks)

    chosen, path, opened = ranks.perform(prepare)
    result = together(ranks, opened, train_first)
    if result is None:
        raise InputError(f"{path}: the training has failed; the error of rank 0 says why")
    return Run(
        path=path,
        config=load_config(RunFolder(path).config),  # with the classes that were found
        steps=result.steps,
        interrupted=result.interrupted,
        recall=result.recall,
        precision=result.precision,
        seconds=result.seconds,
        device=opened,
    )


def _training_config(
    config: str | Path | TrainConfig | None,
    recipe: str | None,
    settings: Mapping[str, Any],
    progress: bool,
) -> TrainConfig:
    """Return the settings of a recipe, changed by a file, changed by keywords.

    With `progress`, stderr tells of splits that the data set has not.
    """
    values, names = settings_by_key(settings, others=_OF_TRAIN)
    if isinstance(config, TrainConfig):
        if recipe is not None:
            raise InputError(f"recipe: {recipe!r} and config are both all settings; give one")
        return override(config, values, origins=names)
    file = None if config is None else Path(config)
    chosen = load_config(file, values, recipe=recipe, origins=names)
    chosen, changed = with_splits_there(chosen, {*values, *keys_in(file)})
    if progress:
        for line in changed:
            print(line, file=sys.stderr)
    return chosen
