"""Downloads from a local server that is good, slow, broken, or a liar."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minirpn.data.download import DOWNLOADS, RemoteFile, fetch, unpack
from minirpn.errors import InputError
from minirpn.files import own_file

CONTENT = bytes(range(256)) * 2000  # more than one chunk


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
ANSWERS = {
    "no-length": HEAD + b"\r\n" + CONTENT,
    "words-for-length": HEAD + b"Content-Length: many\r\n\r\n" + CONTENT,
    "negative": HEAD + b"Content-Length: -5\r\n\r\n" + CONTENT,
    "huge": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n" + CONTENT,
    "endless": HEAD + b"\r\n" + CONTENT * 20,
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "no-http": b"\x1b[2J\xff\xfe",
    "headers": HEAD + b"X: " + b"x" * 10**5 + b"\r\n\r\n",
    "to-disk": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\nConnection: close\r\n\r\n",
    "to-nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nConnection: close\r\n\r\n",
    "to-odd": b"HTTP/1.1 302 Found\r\nLocation: http://a..b/\r\nConnection: close\r\n\r\n",
}


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
        if way in ANSWERS:
            self.wfile.write(ANSWERS[way])
            self.close_connection = True
            return
        content, start = CONTENT, 0
        if way == "lies":
            content = CONTENT[::-1]
        elif way == "more":
            content = CONTENT + b"more"
        if way == "slow":
            self.server.asked.set()
            self.server.released.wait(60)
        if way == "other-part" and "Range" in self.headers:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-99/{len(content)}")
            content = content[:100]
        elif way in ("good", "stalls", "ends", "slow") and "Range" in self.headers:
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
    running.seen, running.asked, running.released = [], threading.Event(), threading.Event()
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


@pytest.mark.parametrize("way", ["no-length", "words-for-length", "negative"])
def test_a_length_that_is_none_is_not_needed(way, remote, tmp_path):
    assert fetch(remote(way), tmp_path, timeout=5).read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["endless", "chunks", "no-http", "headers", "to-disk", "to-odd"])
def test_an_odd_answer_is_one_line_and_the_next_mirror_is_tried(way, remote, tmp_path):
    with pytest.raises(InputError, match=r"file\.bin: no mirror gave the file: 127.*: .+") as error:
        fetch(remote(way), tmp_path, timeout=5)
    assert str(error.value).isprintable()
    assert not (tmp_path / "file.bin").exists()
    assert fetch(remote(way, "good"), tmp_path, timeout=5).read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["huge", "to-nowhere"])
def test_another_odd_answer(way, remote, tmp_path):
    assert fetch(remote(way, "good"), tmp_path, timeout=5).read_bytes() == CONTENT


def test_another_part_than_asked_for_is_not_appended(server, remote, tmp_path):
    part = tmp_path / "file.bin.part"
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(InputError, match="sends another part of the file than the one asked for"):
        fetch(remote("other-part"), tmp_path)
    assert part.read_bytes() == CONTENT[:1000]
    assert fetch(remote("good"), tmp_path).read_bytes() == CONTENT


def test_a_full_disk_is_no_fault_of_the_mirror(server, remote, tmp_path):
    def full(count):
        raise OSError(28, "No space left on device")  # where the bytes are written

    with pytest.raises(
        InputError, match=r"file\.bin\.part: cannot write: No space left on device$"
    ):
        fetch(remote("good", "good"), tmp_path, advance=full)
    assert len(server.seen) == 1


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "sparse"])
def test_a_part_that_is_no_file(remote, tmp_path, kind):
    part, treasure = tmp_path / "file.bin.part", tmp_path / "treasure"
    treasure.write_bytes(b"mine")
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes here")
        os.mkfifo(part)
    elif kind == "folder":
        part.mkdir()
    elif kind == "link":
        part.symlink_to(treasure)
    else:
        with part.open("wb") as file:
            file.truncate(2**32)
        assert fetch(remote("good"), tmp_path).read_bytes() == CONTENT
        return
    with pytest.raises(InputError, match=r"file\.bin\.part: cannot write: "):
        fetch(remote("good"), tmp_path)
    assert treasure.read_bytes() == b"mine"


def test_a_target_that_is_no_file(remote, tmp_path):
    (tmp_path / "file.bin").mkdir()
    with pytest.raises(InputError, match="cannot write: "):
        fetch(remote("good"), tmp_path)


def test_a_failed_download_leaves_no_empty_part(remote, tmp_path):
    with pytest.raises(InputError):
        fetch(remote("gone"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="files cannot be locked")
def test_two_at_once_fetch_a_file_once(server, remote, tmp_path):
    """The second one waits, and finds the file."""
    slow, waits = remote("slow"), []

    def wait():
        waits.append(True)
        server.released.set()

    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(slow, tmp_path, wait=wait), range(2)))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert [one.name for one in tmp_path.iterdir()] == ["file.bin"]
    assert (server.seen, waits) == ([("slow", None)], [True])


@pytest.mark.skipif(os.name == "nt", reason="files cannot be locked")
def test_the_second_one_goes_on_where_the_first_one_failed(server, remote, tmp_path):
    with own_file(tmp_path / "file.bin.part", lambda: None) as first, ThreadPoolExecutor(1) as pool:
        waiting = threading.Event()
        second = pool.submit(fetch, remote("good"), tmp_path, wait=waiting.set)
        assert waiting.wait(30)
        first.write(CONTENT[:1000])
        first.close()
        assert second.result().read_bytes() == CONTENT
    assert server.seen == [("good", "bytes=1000-")]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="files cannot be locked")
def test_two_processes_fetch_a_file_once(server, remote, tmp_path):
    offered = remote("slow")
    code = (
        "import sys, pathlib; from minirpn.data.download import RemoteFile, fetch\n"
        f"fetch(RemoteFile(*{tuple(offered)!r}), pathlib.Path(sys.argv[1]),"
        " wait=lambda: print('waits', flush=True))"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words) as first:
        assert server.asked.wait(60)
        with subprocess.Popen(words, stdout=subprocess.PIPE) as second:
            assert second.stdout.readline() == b"waits\n"
            server.released.set()
    assert (first.returncode, second.returncode) == (0, 0)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert [one.name for one in tmp_path.iterdir()] == ["file.bin"]
    assert server.seen == [("slow", None)]


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


def odd_archive(path, **fields):
    with tarfile.open(path, "w") as made:
        entry = tarfile.TarInfo("a")
        for name, value in fields.items():
            setattr(entry, name, value)
        made.addfile(entry)
    return path


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4")
@pytest.mark.parametrize(
    "fields",
    [
        {"name": "taken"},
        {"name": "a/.."},
        {"type": tarfile.LNKTYPE, "linkname": "gone\x1b"},
        {"type": tarfile.FIFOTYPE},
        {"mtime": 8**11 - 1, "size": 10**9},
        {"name": "x" * 300},
    ],
    ids=["folder", "dots", "link", "pipe", "size", "long"],
)
def test_an_odd_archive_is_one_line(tmp_path, fields):
    made = odd_archive(tmp_path / "odd.tar", **fields)
    (tmp_path / "out" / "taken").mkdir(parents=True)
    with pytest.raises(InputError, match=r"odd\.tar: cannot unpack: .") as error:
        unpack(made, tmp_path / "out")
    assert str(error.value).isprintable()


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


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4")
def test_an_archive_whose_head_claims_gigabytes(tmp_path):
    """The size of an extended head is read at once; and no archive is packed by another program."""
    path = tmp_path / "a.tar"
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, 8_000_000_000
    with path.open("wb") as file:
        file.write(head.tobuf())
        file.truncate(2**24)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.tar: cannot unpack: "):
        unpack(path, tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    path.write_bytes(gzip.compress(b"\0" * 2**20))
    with pytest.raises(InputError, match=r"a\.tar: cannot unpack: "):
        unpack(path, tmp_path / "out")
