"""Machine code on disk: a help where it works, and never a reason to stop.

numba's own files have no checksum: a torn one is an error, and one in which bits have changed may
end the process. Its index of the files of a function is written whole: of two processes that start
at once, one may lead to the code that the other made for other arguments. So here each signature
has a file of its own, which begins with a digest of what it is for and of what it holds. What has
another digest is as good as no file: the code is made again, and the file replaced.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from minirpn.accel.implementation import say_once
from minirpn.accel.numba.compiled import say_not_kept
from minirpn.files import read_file, replace_file

DIGEST_SIZE = hashlib.sha256().digest_size
MOST_BYTES = 2**26  # of a file; the largest has a thousandth


class CodeOnDisk(FunctionCache):
    """numba's cache of a function, which is as good as empty where it fails.

    numba chooses the folder: that of ``NUMBA_CACHE_DIR``, else ``__pycache__`` beside the source,
    else one of the user's; without any that can be written it raises a ``RuntimeError`` here.

    Parameters
    ----------
    function
        What is compiled.
    helpers
        The functions that it calls, as they are in their files.
    """

    def __init__(self, function: Callable[..., Any], helpers: Sequence[Callable[..., Any]]) -> None:
        super().__init__(function)
        # numba would notice changes only in the file of `function`.
        files = sorted({one.__code__.co_filename for one in (function, *helpers)})
        sources = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
        self._cache_file = _Files(Path(self.cache_path), self._impl.filename_base, sources)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code for a signature, or None."""
        try:
            code = super().load_overload(sig, target_context)
        except Exception:  # whatever pickle and LLVM raise
            code = None
        if code is None:
            say_once("compiling for this machine: some seconds, the first time", level=logging.INFO)
        return code

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code for a signature, if that works."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # a full disk, a folder that has gone
            say_not_kept(error)


class _Files:
    """The files of a function: what `FunctionCache` calls its cache file."""

    def __init__(self, folder: Path, name: str, sources: str) -> None:
        self._folder, self._name = folder, name
        self._made_from = f"{numba.__version__} {sources}"

    def load(self, key: Any) -> Any:
        """Return the code that was saved for a key, or None."""
        try:
            content = read_file(self._path(key), most=MOST_BYTES)
        except OSError:
            return None
        digest, data = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        return pickle.loads(data) if digest == self._digest(key, data) else None

    def save(self, key: Any, code: Any) -> None:
        """Save the code for a key, or raise an ``InputError``."""
        data = dumps(code)
        replace_file(self._path(key), self._digest(key, data) + data, durable=False)

    def _path(self, key: Any) -> Path:
        """Return the file for a key: types of arguments, a processor, and bytecode."""
        short = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return self._folder / f"{self._name}.{short}.nbc"

    def _digest(self, key: Any, data: bytes) -> bytes:
        return hashlib.sha256(f"{self._made_from} {key!r} ".encode() + data).digest()
