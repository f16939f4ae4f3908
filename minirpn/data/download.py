"""Download files: try each mirror, resume a partial file, verify every byte."""

from __future__ import annotations

import hashlib
import http.client
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from minirpn.errors import InputError

_CHUNK = 2**18
TIMEOUT = 30.0  # seconds without a byte, then the next mirror is tried

Advance = Callable[[int], object]  # called with the number of bytes so far


class RemoteFile(NamedTuple):
    """A file on the internet."""

    name: str
    size: int  # bytes
    sha256: str
    urls: tuple[str, ...]  # mirrors, tried in this order

    @property
    def is_archive(self) -> bool:
        """Whether the file has to be unpacked."""
        return self.name.endswith(".tar")


def _voc(year: int, name: str, size: int, sha256: str) -> RemoteFile:
    urls = (
        f"https://thor.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}",
        f"http://host.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}",
        f"https://pjreddie.com/media/files/{name}",
    )
    return RemoteFile(name, size, sha256, urls)


def _torchvision(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(name, size, sha256, (f"https://download.pytorch.org/models/{name}",))


_VOC2007_TRAINVAL = "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508"
_VOC2007_TEST = "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892"
_VOC2012_TRAINVAL = "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"
_SQUEEZENET = "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b"
_VGG16 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"

DOWNLOADS: Mapping[str, tuple[RemoteFile, ...]] = {
    "voc2007": (
        _voc(2007, "VOCtrainval_06-Nov-2007.tar", 460_032_000, _VOC2007_TRAINVAL),
        _voc(2007, "VOCtest_06-Nov-2007.tar", 451_020_800, _VOC2007_TEST),
    ),
    "voc2012": (_voc(2012, "VOCtrainval_11-May-2012.tar", 1_999_639_040, _VOC2012_TRAINVAL),),
    "squeezenet": (_torchvision("squeezenet1_1-b8a52dc0.pth", 4_958_839, _SQUEEZENET),),
    "vgg16": (_torchvision("vgg16-397923af.pth", 553_433_881, _VGG16),),
}


class _FetchError(Exception):
    """A mirror did not deliver the file; the message is the reason."""


def fetch(
    remote: RemoteFile,
    folder: Path,
    *,
    timeout: float = TIMEOUT,
    advance: Advance = lambda count: None,
) -> Path:
    """Return the path of a file in `folder`, fetched unless it is there already.

    After a broken connection the bytes so far stay in ``NAME.part``. The next mirror, or the next
    call, continues from there if the server can. An InputError gives the reason of each mirror if
    none delivered the whole file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.exists() and _sha256(target) == remote.sha256:
        advance(remote.size)
        return target
    reasons = []
    for url in remote.urls:
        try:
            _fetch_from(url, remote, part, timeout, advance)
            part.replace(target)
            return target
        except _FetchError as error:
            reasons.append(f"{urllib.parse.urlsplit(url).netloc}: {error}")
    raise InputError(f"{target}: no mirror gave the file: {'; '.join(reasons)}")


def _fetch_from(url: str, remote: RemoteFile, part: Path, timeout: float, advance: Advance) -> None:
    """Complete `part` from one mirror, or raise `_FetchError`."""
    resumed = part.exists() and part.stat().st_size > 0
    if not resumed or part.stat().st_size < remote.size:
        resumed = _receive(url, remote, part, timeout, advance)
    if _sha256(part) == remote.sha256:
        return
    part.unlink()
    if not resumed:
        raise _FetchError("other content than expected (sha256)")
    # The bytes from before may have been wrong: start again without them.
    _fetch_from(url, remote, part, timeout, advance)


def _receive(url: str, remote: RemoteFile, part: Path, timeout: float, advance: Advance) -> bool:
    """Append the missing bytes to `part`, and return whether it had some before."""
    there = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "minirpn", **({"Range": f"bytes={there}-"} if there else {})}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if response.status != http.client.PARTIAL_CONTENT:
                there = 0
            count = there
            advance(count)
            with part.open("ab" if there else "wb") as file:
                while chunk := response.read1(_CHUNK):
                    count += len(chunk)
                    if count > remote.size:
                        raise _FetchError(f"sends more than the {remote.size} bytes expected")
                    file.write(chunk)
                    advance(count)
    except urllib.error.HTTPError as error:
        raise _FetchError(f"{error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _FetchError(f"nothing came for {timeout:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _FetchError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    if count < remote.size:
        raise _FetchError(f"ended after {count} of {remote.size} bytes")
    return there > 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive into `folder`; raise InputError if a member would land outside."""
    if not hasattr(tarfile, "data_filter"):
        raise InputError(
            f"{archive}: safe unpacking needs Python 3.11.4 or newer; tar -xf does it too"
        )
    try:
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive}: cannot unpack: {error}") from error
