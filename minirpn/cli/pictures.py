"""Output files of the commands that are given pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def output_names(images: list[Path]) -> list[str]:
    """Return a file name without suffix for each picture; equal names are numbered from 2."""
    names: list[str] = []
    for path in images:
        name, number = path.stem, 2
        while name in names:
            name, number = f"{path.stem}-{number}", number + 1
        names.append(name)
    return names


def save_result(
    target: Path, path: Path, image: np.ndarray, numbers: dict[str, Any], axes: Any
) -> Path:
    """Write numbers to TARGET.json and a drawing to TARGET.png; return the path of the latter."""
    from minirpn import viz
    from minirpn.files import one_line_errors, write_json

    # Not with_suffix: a picture may be called "a.b.jpg".
    json_path, png_path = (target.with_name(f"{target.name}.{end}") for end in ("json", "png"))
    image_size = {"height": image.shape[0], "width": image.shape[1]}
    with one_line_errors(target.parent, "write"):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json(json_path, {"image": str(path), "image_size": image_size, **numbers})
        return viz.save(axes, png_path)
