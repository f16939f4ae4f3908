"""Downloads from a local server that is good, slow, broken, or a liar."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minirpn.data.download import DOWNLOADS, RemoteFile, fetch, unpack
from minirpn.errors import InputError

CONTENT = bytes(range(256)) * 2000  # more than one chunk


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        way = self.path.split("/")[1]
        self.server.seen.append((way, self.headers.get("Range")))
        if way == "gone":
            self.send_error(404)
            return
        content, start = CONTENT, 0
        if way == "lies":
            content = CONTENT[::-1]
        elif way == "more":
            content = CONTENT + b"more"
        if way in ("good", "stalls", "ends") and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        sent = content[start:]
        if way in ("stalls", "ends"):
            self.wfile.write(sent[: len(sent) // 2])
            self.wfile.flush()
            if way == "stalls":
                self.server.released.wait(10)
            self.close_connection = True
            return
        self.wfile.write(sent)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    running.seen, running.released = [], threading.Event()
    thread = threading.Thread(target=running.serve_forever, args=(0.05,))
    thread.start()
    yield running
    running.released.set()
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def remote(server):
    """A file on one mirror after the other, by what each does."""

    def make(*ways, name="file.bin", content=CONTENT):
        urls = tuple(f"http://127.0.0.1:{server.server_port}/{way}/{name}" for way in ways)
        return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest(), urls)

    return make


def test_a_good_server(server, remote, tmp_path):
    seen = []
    path = fetch(remote("good"), tmp_path / "new" / "folder", advance=seen.append)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)
    fetch(remote("gone"), tmp_path / "new" / "folder")  # there already: nothing is asked
    assert server.seen == [("good", None)]


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("gone", "404 Not Found"),
        ("ends", f"ended after {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("stalls", r"nothing came for 1 s"),
        ("lies", r"other content than expected \(sha256\)"),
        ("more", f"sends more than the {len(CONTENT)} bytes expected"),
    ],
)
def test_a_bad_mirror_is_named_and_the_next_is_tried(way, reason, server, remote, tmp_path):
    with pytest.raises(InputError, match=f"file.bin: no mirror gave .*: 127.*: {reason}") as error:
        fetch(remote(way), tmp_path, timeout=1.0)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "file.bin").exists()
    assert fetch(remote(way, "good"), tmp_path, timeout=1.0).read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]


def test_no_server_at_all(tmp_path):
    remote = RemoteFile("a", 1, "0", ("http://127.0.0.1:9/a", "http://127.0.0.1:9/b"))
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9: .*refused; 127\.0\.0\.1:9: "):
        fetch(remote, tmp_path, timeout=1)


@pytest.mark.parametrize("first", ["ends", "stalls"])
def test_what_came_is_not_fetched_again(first, server, remote, tmp_path):
    assert fetch(remote(first, "good"), tmp_path, timeout=1.0).read_bytes() == CONTENT
    assert server.seen == [(first, None), ("good", f"bytes={len(CONTENT) // 2}-")]


def test_a_server_that_cannot_resume_sends_all(server, remote, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(remote("plain"), tmp_path).read_bytes() == CONTENT
    assert server.seen == [("plain", "bytes=1000-")]


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_wrong_part_is_thrown_away(size, server, remote, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"x" * size)
    assert fetch(remote("good"), tmp_path).read_bytes() == CONTENT
    assert server.seen[-1] == ("good", None)


def test_a_damaged_file_is_fetched_anew(remote, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"damaged")
    assert fetch(remote("good"), tmp_path).read_bytes() == CONTENT


def archive(path, **members):
    with tarfile.open(path, "w") as made:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.replace("_UP_", "../"))
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4")
def test_an_archive_is_unpacked_and_stays_in_its_folder(tmp_path):
    good = archive(tmp_path / "good.tar", **{"VOCdevkit/a": b"1"})
    unpack(good, tmp_path / "out")
    assert (tmp_path / "out" / "VOCdevkit" / "a").read_bytes() == b"1"
    bad = archive(tmp_path / "bad.tar", _UP_escaped=b"2")
    with pytest.raises(InputError, match=r"bad\.tar: cannot unpack: "):
        unpack(bad, tmp_path / "out")
    assert not (tmp_path / "escaped").exists()
    (tmp_path / "cut.tar").write_bytes(good.read_bytes()[:700])
    with pytest.raises(InputError, match=r"cut\.tar: cannot unpack: "):
        unpack(tmp_path / "cut.tar", tmp_path / "out")


def test_without_a_filter_nothing_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    good = archive(tmp_path / "good.tar", **{"VOCdevkit/a": b"1"})
    with pytest.raises(InputError, match=r"good\.tar: .* needs Python 3\.11\.4 or newer; tar -xf"):
        unpack(good, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_offered_is_whole():
    for files in DOWNLOADS.values():
        for remote in files:
            assert len(remote.sha256) == 64
            assert remote.size > 0
            assert all(url.endswith(f"/{remote.name}") for url in remote.urls)
