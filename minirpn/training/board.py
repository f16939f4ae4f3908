"""What a run records, for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minirpn.errors import InputError

_NOT_MEASURED = {"kind", "step"}


def require_tensorboard() -> None:
    """Make sure that there is a library that writes what TensorBoard reads.

    Raises
    ------
    InputError
        There is none.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise InputError(
            "--tensorboard: needs tensorboardX; try: pip install 'minirpn[tensorboard]'"
        ) from None


class Board:
    """Writes the numbers of records, and pictures, to an event file.

    Parameters
    ----------
    folder
        Made if it is not there. Each start of a run adds a file.
    step
        Steps done. What an earlier start has written of later ones is not shown any more.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        # The library names files by the second, and would write over one of the same name.
        self._writer = SummaryWriter(
            str(folder), purge_step=step + 1, flush_secs=10, filename_suffix=f".{step}"
        )

    def record(self, record: Mapping[str, Any]) -> None:
        """Write every number of a record of ``metrics.jsonl``, as ``KIND/NAME``."""
        for name, value in numbers_of(record):
            self._writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])

    def picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Write a picture (h, w, 3) uint8."""
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Bring everything to the disk."""
        self._writer.close()


def numbers_of(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers in a record with their names; those within others as ``OUTER/INNER``."""
    for name, value in record.items():
        if name in _NOT_MEASURED:
            continue
        if isinstance(value, list | tuple):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", item) for inner, item in numbers_of(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value
