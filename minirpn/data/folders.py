"""The usual names of the folders of a data set, and the files that nobody put there on purpose."""

from __future__ import annotations

from pathlib import Path

# In any case; those that come first count.
ANNOTATIONS = (
    "annotations", "annotation", "annots", "annot", "anns", "xml", "xmls", "labels", "label",
)  # fmt: skip
IMAGES = ("jpegimages", "images", "image", "imgs", "img", "pngimages", "pictures", "photos")
# Each with the split that it means.
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_LITTER = ("__macosx",)  # besides all names that begin with a dot


def is_litter(name: str) -> bool:
    """Tell whether a file or folder is one that a system or an archive leaves behind."""
    return name.startswith(".") or name.lower() in _LITTER


def subfolders(path: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name."""
    return sorted(one for one in path.iterdir() if one.is_dir() and not is_litter(one.name))
