"""Read the members of a zip archive, which may be broken or hostile."""

from __future__ import annotations

import zipfile
from typing import BinaryIO, cast

import numpy as np

from minirpn.budget import Budget
from minirpn.weights.damage import MOST_ARRAYS, Damage, Sips, checked_name, foreign

_PACKINGS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_CHUNK = 2**18  # bytes


def is_zip(head: bytes) -> bool:
    """Tell whether the first bytes of a file are those of a zip archive."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06")  # the second: an empty one


class Archive:
    """A zip archive. Its table of contents is believed in nothing but where a member begins.

    Parameters
    ----------
    file
        The archive, open as long as members are read.
    budget
        Of the file.
    """

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._budget = budget
        with foreign():
            self._zip = zipfile.ZipFile(cast(BinaryIO, Sips(file)))
        names = self._zip.namelist()
        budget.step(len(names))
        if len(names) > MOST_ARRAYS:
            raise Damage(f"{len(names):,} members, more than any network has arrays")
        self.names = dict.fromkeys(map(checked_name, names))
        """In the order of the table of contents."""
        if len(self.names) < len(names):
            raise Damage("two members have the same name")

    def read(self, name: str) -> memoryview:
        """Return the bytes of a member; raise `Damage` if its checksum is wrong, or it is away."""
        if name not in self.names:
            raise Damage(f"{name} is missing")
        member = self._zip.getinfo(name)
        if member.compress_type not in _PACKINGS:
            raise Damage(f"{name} is packed in a way that is not used for weights")
        self._budget.make(member.file_size)
        content = np.empty(member.file_size, np.uint8).data
        done = 0
        with foreign(f"damaged at {name.removesuffix('.npy')}: "), self._zip.open(member) as packed:
            # The checksum is looked at when nothing more comes.
            while chunk := packed.read(_CHUNK):
                content[done : done + len(chunk)] = chunk
                done += len(chunk)
                self._budget.check_time()
        if done < len(content):
            raise Damage(f"damaged at {name}: {done} bytes of {len(content)}")
        return content.toreadonly()
