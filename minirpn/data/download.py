"""Download files: try each mirror, resume a partial file, verify every byte."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from minirpn.errors import InputError
from minirpn.files import one_line_errors, open_regular, own_file
from minirpn.weights.damage import Sips

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
    wait: Callable[[], object] = lambda: None,
) -> Path:
    """Return the path of a file in `folder`, fetched unless it is there already.

    After a broken connection the bytes so far stay in ``NAME.part``. The next mirror, or the next
    call, continues from there if the server can. One process at a time fetches it: another one
    waits, after it has called `wait`, and then finds the file.

    Raises
    ------
    InputError
        No mirror delivered the whole file, for the reason of each; or it cannot be written.
    """
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    with one_line_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
    if _is_whole(target, remote):
        advance(remote.size)
        return target
    with one_line_errors(part, "write"), own_file(part, wait) as file:
        if not _is_whole(target, remote):  # nobody else was faster
            try:
                _fetch_from_any(remote, target, file, timeout, advance)
            except BaseException:
                if not _size(file):
                    _give_up(file, part)
                raise
            if os.name == "nt":  # it cannot be renamed while it is open
                file.close()
            part.replace(target)
        else:
            _give_up(file, part)
    return target


def _give_up(file: BinaryIO, part: Path) -> None:
    if os.name == "nt":
        file.close()
    part.unlink()


def _fetch_from_any(
    remote: RemoteFile, target: Path, file: BufferedRandom, timeout: float, advance: Advance
) -> None:
    """Complete the open ``NAME.part`` from the first mirror that can."""
    reasons = []
    for url in remote.urls:
        try:
            _fetch_from(url, remote, file, timeout, advance)
        except _FetchError as error:
            reasons.append(f"{urllib.parse.urlsplit(url).netloc}: {error}")
        else:
            return
    raise InputError(f"{target}: no mirror gave the file: {'; '.join(reasons)}")


def _fetch_from(
    url: str, remote: RemoteFile, file: BufferedRandom, timeout: float, advance: Advance
) -> None:
    """Complete `file` from one mirror, or raise `_FetchError`."""
    there = _size(file)
    if there > remote.size:
        file.truncate(0)
        there = 0
    resumed = there > 0
    if there < remote.size:
        resumed = _receive(url, remote, file, timeout, advance)
    file.seek(0)
    if hashlib.file_digest(file, "sha256").hexdigest() == remote.sha256:
        return
    file.truncate(0)
    if not resumed:
        raise _FetchError("other content than expected (sha256)")
    # The bytes from before may have been wrong: start again without them.
    _fetch_from(url, remote, file, timeout, advance)


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def _receive(
    url: str, remote: RemoteFile, file: BufferedRandom, timeout: float, advance: Advance
) -> bool:
    """Append the missing bytes to `file`, and return whether it had some before."""
    there = _size(file)
    headers = {"User-Agent": "minirpn", **({"Range": f"bytes={there}-"} if there else {})}
    request = urllib.request.Request(url, headers=headers)
    with ExitStack() as stack:
        with _reasons(timeout):
            response = stack.enter_context(urllib.request.urlopen(request, timeout=timeout))
        if response.status != http.client.PARTIAL_CONTENT:
            there = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
            raise _FetchError("sends another part of the file than the one asked for")
        count = there
        advance(count)
        file.truncate(there)
        file.seek(there)
        while True:
            with _reasons(timeout):
                chunk = response.read1(_CHUNK)
            if not chunk:
                break
            count += len(chunk)
            if count > remote.size:
                raise _FetchError(f"sends more than the {remote.size} bytes expected")
            file.write(chunk)
            file.flush()
            advance(count)
    if count < remote.size:
        raise _FetchError(f"ended after {count} of {remote.size} bytes")
    return there > 0


@contextmanager
def _reasons(timeout: float) -> Iterator[None]:
    """Turn what goes wrong on the net inside the block into a `_FetchError`."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise _FetchError(f"{error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _FetchError(f"nothing came for {timeout:g} s") from error
    # ValueError: of an address that a server sends us to.
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _FetchError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _is_whole(path: Path, remote: RemoteFile) -> bool:
    """Tell whether a file is there with the content expected."""
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size != remote.size:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == remote.sha256
    except OSError:
        return False


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive into `folder`; raise InputError if a member would land outside.

    Nothing counts what it unpacks to: `fetch` has compared the archive with its SHA-256, so that it
    is the one that was looked at when its address was written down.
    """
    if not hasattr(tarfile, "data_filter"):
        raise InputError(
            f"{archive}: safe unpacking needs Python 3.11.4 or newer; tar -xf does it too"
        )
    try:
        with (
            open_regular(archive) as file,
            # "r:": no archive here is packed.
            tarfile.open(fileobj=cast(BinaryIO, Sips(file)), mode="r:") as content,
        ):
            content.extractall(folder, filter="data")
    # On damaged archives tarfile raises TarError, OSError, EOFError, KeyError, OverflowError and
    # more.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{archive}: cannot unpack: {reason}") from error
