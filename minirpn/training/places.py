"""Where a run finds its data set: the same place, whichever folder its commands are typed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from minirpn.errors import InputError
from minirpn.training.config import DataConfig, TrainConfig


def with_absolute_places(config: TrainConfig) -> TrainConfig:
    """Return settings whose data set is named by an absolute path; generated shapes have none.

    So are the folders of its images and annotations, unless they lie in it: those are named from
    there, and move with it. What is not there stays as it was typed, for the message about it.
    """
    data = config.data
    if data.voc is None:
        return config

    def absolute(place: str) -> str:
        return str(Path(place).absolute()) if Path(place).exists() else place

    def outside(folder: str | None) -> str | None:
        return folder if folder is None or _is_inside(data, folder) else absolute(folder)

    images, annotations = outside(data.image_folder), outside(data.annotation_folder)
    placed = replace(
        data, voc=absolute(data.voc), image_folder=images, annotation_folder=annotations
    )
    return replace(config, data=placed)


def check_places(config: TrainConfig, run: Path) -> None:
    """Raise InputError if a folder of the data set of a run is gone; name the flags that help.

    Parameters
    ----------
    config
        The settings of the run, as `with_absolute_places` returns them.
    run
        Its folder, for the message.
    """
    data, gone = config.data, []
    if data.voc is None:
        return
    has_voc = Path(data.voc).exists()
    if not has_voc:
        gone.append((data.voc, "data set", "--voc"))
    folders = (
        (data.image_folder, "images", "--images"),
        (data.annotation_folder, "annotations", "--annotations"),
    )
    for folder, what, flag in folders:
        if folder is None or _is_inside(data, folder) or Path(folder).is_dir():
            continue
        # One that lies in a data set that is gone needs no flag of its own.
        if has_voc or Path(folder).is_absolute():
            gone.append((folder, what, flag))
    if gone:
        places = ", ".join(f"{place} ({what})" for place, what, _ in gone)
        flags = " and ".join(f"{flag} DIR" for _, _, flag in gone)
        says = "says where it is now" if len(gone) == 1 else "say where they are now"
        raise InputError(f"{run}: no such folder: {places}; {flags} {says}")


def _is_inside(data: DataConfig, folder: str) -> bool:
    """Tell whether a folder is named from the data set, or from its folder of a year."""
    assert data.voc is not None
    voc = Path(data.voc)
    outer = (voc, *voc.glob(f"VOC{data.year or '*'}"))
    return not Path(folder).is_absolute() and any((one / folder).is_dir() for one in outer)
