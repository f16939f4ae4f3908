"""Data sets in COCO's and in YOLO's format: recognised, with the command that converts them.

The command is globox's (https://github.com/laclouis5/globox). It writes the XML files to where
`minirpn.data.layout` finds them: beside the images, beside the labels, or in ``annotations``.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from minirpn.data.folders import ANNOTATIONS, IMAGES, SPLITS, is_litter, subfolders
from minirpn.files import open_regular

_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"file_name"')
_READ = 2**22  # bytes of a JSON file, enough to see what it is
_LOOKED_AT = 20  # files of a kind; labelme writes a JSON file for each image
_GLOBOX_IMAGES = (".jpg", ".png", ".jpeg", ".bmp", ".jpe", ".tif", ".tiff")


def how_to_convert(path: Path) -> str | None:
    """Return what a folder holds in the format of another tool, and how to make XML files of it.

    None if it holds nothing that is known.
    """
    if files := _coco_files(path):
        what = f"{files[0]} is COCO's"
        commands, flags = _from_coco(path, files)
    elif folders := _yolo_folders(path):
        what = f"the labels in {folders[0]} are YOLO's"
        commands, flags = _from_yolo(path, folders)
    else:
        return None
    return (
        f"{what}: `{' && '.join(commands)}` of `pip install globox` makes XML files of it; "
        f"then give minirpn {flags} --box-format half-open"
    )


def _shell(path: Path) -> str:
    """Return a path as a shell reads it."""
    return shlex.quote(str(path))


def _start_of(path: Path, count: int) -> bytes:
    """Return the first bytes of a file, as many as `count`; none if it is not to be read."""
    try:
        with open_regular(path) as file:
            return file.read(count)
    except OSError:
        return b""


# COCO: one JSON file for many images.


def _coco_files(path: Path) -> list[Path]:
    """Return the JSON files in a folder, and in the folders in it, that look like COCO's."""
    found = []
    files = sorted([*path.glob("*.json"), *path.glob("*/*.json")])
    for file in files[:_LOOKED_AT]:
        if not is_litter(file.name):
            text = _start_of(file, _READ)
            if sum(key in text for key in _COCO_KEYS) >= 2:
                found.append(file)
    # COCO's own folder has files of captions and keypoints besides.
    return [one for one in found if one.name.startswith("instances")] or found


def _from_coco(path: Path, files: Sequence[Path]) -> tuple[list[str], str]:
    """Return the commands that convert COCO's files, and the flags that name the data set then.

    The XML files go beside the images, if these are beside the JSON file or in a folder whose name
    begins or ends that of the file; otherwise into ``annotations``.
    """
    images = next((one for one in subfolders(path) if one.name.lower() in IMAGES), path)
    parts = [one for one in subfolders(images) if _holds_images(one)]
    commands, flags = [], f"--voc {_shell(path)}"
    for file in files:
        folder = file.parent if _holds_images(file.parent) else path / ANNOTATIONS[0]
        for part in parts:
            if file.stem.startswith(part.name) or file.stem.endswith(part.name):
                folder = part
                if images == path and part.name.lower() not in SPLITS:
                    flags = (
                        f"--voc {_shell(path)} --images {_shell(path)} --annotations {_shell(path)}"
                    )
        commands.append(f"globox convert {_shell(file)} {_shell(folder)} -f coco -F pascalvoc")
    return commands, flags


def _holds_images(folder: Path) -> bool:
    return any(one.suffix.lower() in _GLOBOX_IMAGES for one in folder.iterdir())


# YOLO: a text file for each image, a line for each object.


def _yolo_folders(path: Path) -> list[Path]:
    """Return the folder, those in it and those in these, as far as they hold labels of YOLO's."""
    inside = subfolders(path)
    innermost = [one for folder in inside for one in subfolders(folder)]
    return [one for one in (path, *inside, *innermost) if _holds_labels(one)]


def _holds_labels(folder: Path) -> bool:
    """Tell whether a text file in a folder begins with a class and four numbers."""
    for file in sorted(folder.glob("*.txt"))[:_LOOKED_AT]:
        numbers = _start_of(file, 200).partition(b"\n")[0].split()
        if len(numbers) == 5 and all(_is_number(one) for one in numbers):
            return True
    return False


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _from_yolo(path: Path, folders: Sequence[Path]) -> tuple[list[str], str]:
    """Return the commands that convert folders of labels, and the flag that names the data set.

    The XML files go beside the labels.
    """
    commands, mapping = [], ""
    for folder in dict.fromkeys([path, *folders]):
        if (names := folder / "classes.txt").is_file():
            if folder in folders:  # globox would take it for labels
                commands.append(f"mv {_shell(names)} {_shell(names.with_suffix('.names'))}")
                names = names.with_suffix(".names")
            mapping = f" --mapping {_shell(names)}"
    for folder in folders:
        images = _images_of(folder, path)
        endings = Counter(one.suffix for one in images.iterdir())
        ending = max(_GLOBOX_IMAGES, key=lambda one: endings[one])
        options = f" -g {ending}" if ending != _GLOBOX_IMAGES[0] else ""
        commands.append(
            f"globox convert {_shell(folder)} {_shell(folder)} -f yolov5 -d {_shell(images)}"
            f"{options}{mapping} -F pascalvoc"
        )
    beside = len(folders) == 1 and _images_of(folders[0], path) == folders[0]
    return commands, f"--voc {_shell(folders[0] if beside else path)}"


def _images_of(labels: Path, path: Path) -> Path:
    """Return the folder of the images of labels: of the same path, but with "images" for "labels".

    If there is none, it is the folder of the labels, or the whole data set's.
    """
    for folder, inner in ((labels, ""), (labels.parent, labels.name)):
        if folder.name.lower() in ANNOTATIONS:
            for one in subfolders(folder.parent):
                if one.name.lower() in IMAGES and (one / inner).is_dir():
                    return one / inner
    return labels if _holds_images(labels) else path
