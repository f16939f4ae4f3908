"""Files are read as far as they are files, and written so that no link is followed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from minirpn.errors import InputError
from minirpn.files import append_text, open_regular, read_file, replace_file, write_npz

posix = pytest.mark.skipif(os.name == "nt", reason="pipes and links of POSIX")


def leftovers(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.suffix == ".tmp")


@posix
def test_a_pipe_is_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe or a device"):
        open_regular(tmp_path / "pipe")  # an open() of it would wait for ever
    with pytest.raises(OSError, match="pipe or a device"):
        read_file("/dev/zero")


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(OSError, match=r"it is a folder|Permission"):
        read_file(tmp_path)


def test_bytes_are_counted(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(path, most=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_file(path, most=4)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="files without a size")
def test_bytes_are_counted_whatever_the_size_says():
    assert Path("/proc/self/stat").stat().st_size == 0
    assert read_file("/proc/self/stat").startswith(b"%d " % os.getpid())
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_file("/proc/self/stat", most=3)


@posix
def test_a_link_is_not_read_if_none_is_followed(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == b"x"
    with pytest.raises(OSError, match="a link"):
        read_file(tmp_path / "link", follow=False)


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path, exists: bool):
    target, link = tmp_path / "target", tmp_path / "link"
    if exists:
        target.write_text("a stranger's")
    link.symlink_to(target)
    replace_file(link, b"ours")
    assert link.read_bytes() == b"ours"
    assert not link.is_symlink()
    assert target.exists() == exists
    if exists:
        assert target.read_text() == "a stranger's"


@posix
def test_nothing_is_appended_through_a_link(tmp_path: Path):
    (tmp_path / "target").write_text("a stranger's")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(InputError, match="link: cannot write: a link"):
        append_text(tmp_path / "link", "ours")
    assert (tmp_path / "target").read_text() == "a stranger's"


@posix
def test_a_link_at_a_name_for_later_is_removed(tmp_path: Path):
    (tmp_path / "target").write_text("a stranger's")
    (tmp_path / ".file.0123456789abcdef.tmp").symlink_to("target")
    replace_file(tmp_path / "file", b"ours")
    assert (tmp_path / "target").read_text() == "a stranger's"
    assert leftovers(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    (tmp_path / ".file.0123456789abcdef.tmp").write_bytes(b"half")
    (tmp_path / ".other.0123456789abcdef.tmp").write_bytes(b"half")
    replace_file(tmp_path / "file", b"whole")
    assert leftovers(tmp_path) == [".other.0123456789abcdef.tmp"]


def test_what_only_looks_like_a_leftover_stays(tmp_path: Path):
    """A user's own file may begin and end so; and a folder there does not end the clean-up."""
    (tmp_path / ".file.my-notes.tmp").write_text("a user's")
    (tmp_path / ".file.00000000.tmp").write_text("a user's")
    (tmp_path / ".file.0000000000000000.tmp").mkdir()
    (tmp_path / ".file.0123456789abcdef.tmp").write_bytes(b"half")
    before = leftovers(tmp_path)
    replace_file(tmp_path / "file", b"whole")
    before.remove(".file.0123456789abcdef.tmp")
    assert leftovers(tmp_path) == before


@posix
def test_nothing_is_put_in_the_place_of_a_device(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "folder").mkdir()
    for name, reason in (("pipe", "a pipe"), ("null", "a device"), ("folder", "it is a folder")):
        with pytest.raises(InputError, match=f"{name}: cannot write: .*{reason}"):
            replace_file(tmp_path / name, b"ours")
    assert (tmp_path / "null").is_symlink()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "null", "pipe"]


def test_the_mode_is_that_of_any_new_file(tmp_path: Path):
    (tmp_path / "usual").write_bytes(b"")
    replace_file(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_two_that_write_one_file_do_not_meet(tmp_path: Path):
    """Each of many writers finishes, and the file is that of one of them."""
    path, errors = tmp_path / "file", []

    def write(number: int) -> None:
        try:
            for _ in range(20):
                replace_file(path, bytes([number]) * 5000, durable=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(path.read_bytes())) == 1
    assert path.stat().st_size == 5000
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 255, "\udcff.json", "a" * 100 + ".npz"])
def test_any_name_can_be_written(tmp_path: Path, name: str):
    if os.name == "nt":
        pytest.skip("names are other there")
    replace_file(tmp_path / name, b"ours")
    assert (tmp_path / name).read_bytes() == b"ours"


def test_arrays_are_written_under_their_names_and_nothing_is_pickled(tmp_path: Path):
    path = tmp_path / "arrays.npz"
    write_npz(path, {"a": 1}, {"w.b": np.arange(3)})
    with np.load(path, allow_pickle=False) as archive:
        # NumPy 2.0 keeps keywords of `savez` that it does not know as arrays.
        assert sorted(archive.files) == ["metadata", "w.b"]
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"^w\.b: expected numbers"):
        write_npz(path, {"a": 2}, {"w.b": np.array([{"a": 1}], dtype=object)})
    assert path.read_bytes() == before
