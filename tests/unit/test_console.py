"""The program's streams: what cannot be written is lost, and the work goes on."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minirpn.console import Console, consoles, for_bar, say


class Broken(io.StringIO):
    """A stream whose other end is gone."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_it_writes_escapes_but_for_layout():
    stream = io.StringIO()
    print("a\x1b[2J\tb\u202e\nc\rd", file=Console(stream))
    assert stream.getvalue() == "a\\x1b[2J\tb\\u202e\nc\\rd\n"


def test_a_progress_bar_writes_as_it_is():
    stream = io.StringIO()
    for_bar(Console(stream)).write("\r50 %\x1b[A")
    assert stream.getvalue() == "\r50 %\x1b[A"
    assert for_bar(stream) is stream


def test_it_never_fails():
    console = Console(Broken())
    print("one", file=console)
    print("two", file=console, flush=True)
    assert console.lost is not None
    assert console.lost.errno == errno.ENOSPC


def test_closed_streams_are_replaced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", None)
    with consoles() as (output, _):
        print("words")
        assert sys.stdout is output
        assert not output.isatty()
        assert output.lost is None
    assert sys.stdout is None


def test_say_without_a_stream(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stderr", None)
    say("words")
    monkeypatch.setattr("sys.stderr", Broken())
    say("words")


def run(shell: str, folder: Path) -> int:
    """Return the status of the first program of a line of bash."""
    line = shell.replace("minirpn", f"{sys.executable} -m minirpn")
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="streams of a POSIX shell")
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("minirpn info >&-", 0),
        ("minirpn info >&- 2>&-", 0),
        ("minirpn info | true; exit ${PIPESTATUS[0]}", 0),
        ("minirpn info >/dev/full", 2),
        ("minirpn info 2>/dev/full", 0),
        ("minirpn --help >/dev/full", 2),
        ("minirpn --version >&-", 0),
        ("minirpn detect nothing.jpg | true; exit ${PIPESTATUS[0]}", 2),
        ("minirpn detect - <&-", 2),
        ("minirpn check --voc nowhere >&-", 2),
        ("minirpn check --voc bad | true; exit ${PIPESTATUS[0]}", 1),
        ("minirpn check --voc bad >&- 2>&-", 1),
    ],
)
def test_the_status_tells_the_truth(line: str, status: int, tmp_path: Path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.xml").write_text("<annotation><object>")
    (tmp_path / "bad/a.jpg").write_bytes(b"")
    assert run(line, tmp_path) == status
