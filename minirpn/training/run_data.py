"""The images of a run: its two splits, opened and checked before the first step.

And what must be as it was when a run is resumed: the images, and the settings.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from minirpn.data.voc import VOCDataset
from minirpn.errors import InputError
from minirpn.training.build import open_dataset
from minirpn.training.checkpoint import Checkpoint
from minirpn.training.config import TrainConfig, may_become, with_new_total
from minirpn.training.fingerprint import (
    FILE,
    Fingerprint,
    difference,
    fingerprint,
    load_fingerprints,
    of_file,
    save_fingerprints,
)
from minirpn.training.run_folder import RunFolder
from minirpn.training.tables import flat, from_table, to_table


class Splits(NamedTuple):
    """What a run trains on, and what it validates on."""

    train: VOCDataset
    val: VOCDataset | None

    @property
    def image_ids(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ids of both."""
        return self.train.image_ids, () if self.val is None else self.val.image_ids

    @property
    def skipped(self) -> tuple[str, ...]:
        """A line for each file or box that is left out of one or both."""
        both = (*self.train.skipped, *(() if self.val is None else self.val.skipped))
        return tuple(dict.fromkeys(both))


def open_splits(config: TrainConfig, folder: RunFolder) -> Splits:
    """Return the splits that the settings name.

    Raises
    ------
    InputError
        They cannot be opened; or there is nothing to learn from, or nothing to measure: no object
        in any image.
    """
    data, where = config.data, config.data.voc or "generated shapes"
    train_set, val_set = open_dataset(config, folder, data.split), None
    difficult = [train_set.annotation(index).difficult for index in range(len(train_set))]
    if not any(data.learnt(one).any() for one in difficult):
        count = sum(map(len, difficult))
        advice = f"`minirpn check --voc {shlex.quote(where)}` tells more"
        if count:
            advice = f"{count} are marked difficult, --use-difficult trains on them"
        images = f"its {len(train_set)} images"
        if data.classes is not None:
            images += f" (of the classes {', '.join(data.classes)})"
        raise InputError(
            f"{where}: split {data.split!r}: no object to learn from in {images}; {advice}"
        )
    if data.val_split is not None:
        val_set = open_dataset(config, folder, data.val_split)
        name, limit = f"{where}: split {data.val_split!r}", config.run.validation_images
        check_measurable(val_set, name, limit=limit)
    return Splits(train_set, val_set)


def check_measurable(dataset: VOCDataset, name: str, *, limit: int | None = None) -> None:
    """Raise InputError if there is nothing to find in the (first `limit`) images of a split.

    Objects marked difficult are not measured.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    difficult = [dataset.annotation(index).difficult for index in range(count)]
    if not any((~one).any() for one in difficult):
        objects = sum(map(len, difficult))
        marked = f", {objects} are marked difficult" if objects else ""
        which = "its" if count == len(dataset) else "the first"
        raise InputError(f"{name}: no object to measure in {which} {count} images{marked}")


def shared_images(splits: Splits) -> str | None:
    """Return one line about the validation images that are trained on too; None if none is."""
    train, val = map(set, splits.image_ids)
    both = len(train & val)
    return f"{both} of the {len(val)} validation images are also trained on" if both else None


def untrained_classes(splits: Splits) -> str | None:
    """Return one line about classes that only the validation images have, if there are any."""
    if splits.val is None:
        return None
    train, val = (
        {one.classes[n] for i in range(len(one)) for n in one.annotation(i).gt_classes}
        for one in (splits.train, splits.val)
    )
    names = ", ".join(sorted(val - train))
    return f"only the validation images have objects of: {names}" if names else None


# --- the same settings -----------------------------------------------------------------------


def check_same_settings(config: TrainConfig, folder: RunFolder, restored: Checkpoint) -> None:
    """Raise InputError if settings of a run that must stay are not those of its checkpoint.

    So a ``config.toml`` that was edited is told, and not trained with as if it had always been so.
    More steps may be asked for, as by ``--steps``.
    """
    before = flat(restored.config)
    total = config.optimizer.steps
    if before.get("optimizer.steps") != total:
        stored = from_table(TrainConfig, restored.config, str(folder.last))
        longer = with_new_total(stored, total, done=restored.step, source=str(folder.path))
        before |= flat({"optimizer": to_table(longer.optimizer)})
    for key, value in flat(to_table(config)).items():
        old = before.get(key, value)  # a checkpoint from before there was this setting
        if value != old and not may_become(key, old, value):
            raise InputError(
                f"{folder.config}: {key}: is {value!r}, but the run was trained with {old!r}: put "
                f"that back, or start a new run, with --weights {shlex.quote(str(folder.path))}"
            )


# --- the same data ---------------------------------------------------------------------------


def check_same_data(
    config: TrainConfig, folder: RunFolder, splits: Splits, *, files: bool = True
) -> bool:
    """Compare the splits with those that the run began with; return whether that was possible.

    A run from before there was a ``data.json`` has nothing to compare with. Without `files`, those
    of the images are not compared: nothing has been learned from them yet. An image file whose hash
    the run did not note gets one, for the next time, and the log says so.

    Raises
    ------
    InputError
        It is another data set; the line says what differs, and what to do.
    """
    stored = load_fingerprints(folder.data)
    if not stored:
        return False
    now = _fingerprints(config, splits)
    for name in now:
        if name not in stored:
            raise InputError(f"{folder.data}: does not tell which images split {name!r} has")
    began = {name: stored[name] for name in now}
    for name, dataset in zip(now, (splits.train, splits.val), strict=False):
        if dataset is not None:
            now[name] = _with_files_of(began[name], now[name], dataset, all_of_them=not files)
    kinds = {name: "training" if name == config.data.split else "validation" for name in now}
    reason = difference(began, now, kinds, skip_bad=config.data.skip_bad)
    if reason is not None:
        where, run = config.data.voc or folder.path / "shapes", shlex.quote(str(folder.path))
        raise InputError(
            f"{folder.path}: {where} is another data set: {reason}; go on with the data that it "
            f"began with, or train on these in a new run, with --weights {run}"
        )
    if files:
        _note_new_files(folder, stored, now)
    return True


def _note_new_files(
    folder: RunFolder, stored: dict[str, Fingerprint], now: dict[str, Fingerprint]
) -> None:
    """Add to ``data.json`` the hashes of image files that were not compared for want of one."""
    count = 0
    for name, today in now.items():
        images = dict(stored[name].images)
        for image_id, words in today.images.items():
            before = images.get(image_id)
            if before is not None and before != words:  # all that both tell is the same
                images[image_id] = words
                count += 1
        stored[name] = replace(stored[name], images=images)
    if count:
        save_fingerprints(folder.data, stored)
        folder.log(
            f"image files that could not be compared, for {folder.data.name} had no hash of them: "
            f"{count}; it has one now"
        )


def _with_files_of(
    began: Fingerprint, now: Fingerprint, dataset: VOCDataset, *, all_of_them: bool
) -> Fingerprint:
    """Return the fingerprint of a split as if no file, or none that is unreadable, were another.

    Whatever reads a file that is unreadable says what is wrong with it, and how to go on.
    """
    images = dict(now.images)
    for index, image_id in enumerate(images):
        is_other = image_id in began.images and began.differs_in(image_id, now) == FILE
        if is_other and (all_of_them or not _is_readable(dataset, index)):
            images[image_id] = began.images[image_id]
    return replace(now, images=images)


def _is_readable(dataset: VOCDataset, index: int) -> bool:
    """Tell whether an image of a data set can be read."""
    try:
        dataset[index]
    except InputError:
        return False
    return True


def note_damage(folder: RunFolder, path: Path, splits: Splits) -> None:
    """Forget the hash of an image file that cannot be read: it will be mended.

    ``data.json`` keeps that of a file which was whole when the run began: it will be so again.
    """
    ids = {
        one.image_id
        for dataset in (splits.train, splits.val)
        if dataset is not None
        for one in map(dataset.annotation, range(len(dataset)))
        if one.image_path == path
    }
    if not ids:  # it is an annotation
        return
    stored, damaged = load_fingerprints(folder.data), f" {of_file(path)}"
    for name, split in stored.items():
        images = {
            key: words.removesuffix(damaged) if key in ids else words
            for key, words in split.images.items()
        }
        stored[name] = replace(split, images=images)
    save_fingerprints(folder.data, stored)


def note_data(config: TrainConfig, folder: RunFolder, splits: Splits) -> None:
    """Write ``data.json``, with which later starts of the run are compared."""
    save_fingerprints(folder.data, _fingerprints(config, splits))


def _fingerprints(config: TrainConfig, splits: Splits) -> dict[str, Fingerprint]:
    """Return the fingerprint of each split, by its name."""
    with_classes = config.sharing.has_detector
    found = {config.data.split: fingerprint(splits.train, with_classes=with_classes)}
    if config.data.val_split is not None and splits.val is not None:
        found[config.data.val_split] = fingerprint(splits.val, with_classes=with_classes)
    return found
