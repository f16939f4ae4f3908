"""``minirpn download`` from the outside, with a file on the disk for the net."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from minirpn.cli.main import main
from minirpn.data import download
from minirpn.data.download import RemoteFile


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive with a data set, and a file of weights."""
    devkit = tmp_path / "source" / "VOCdevkit" / "VOC2007"
    devkit.mkdir(parents=True)
    (devkit / "readme").write_text("hello")
    with tarfile.open(tmp_path / "voc.tar", "w") as archive:
        archive.add(devkit.parent, "VOCdevkit")
    (tmp_path / "net.pth").write_bytes(b"weights")

    def remote(name: str) -> RemoteFile:
        content = (tmp_path / name).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return RemoteFile(name, len(content), digest, ((tmp_path / name).as_uri(),))

    offers = {"voc2007": (remote("voc.tar"),), "vgg16": (remote("net.pth"),)}
    monkeypatch.setattr(download, "DOWNLOADS", offers)


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4")
@pytest.mark.usefixtures("offered")
def test_data_sets_are_unpacked_and_the_next_command_is_said(tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert main(["download", "voc2007", "vgg16", "--out", str(out)]) == 0
    assert (out / "VOCdevkit" / "VOC2007" / "readme").read_text() == "hello"
    assert (out / "net.pth").read_bytes() == b"weights"
    said = capsys.readouterr().out
    assert f"minirpn train --voc {out / 'VOCdevkit'} --year 2007" in said
    assert f"--backbone vgg16 --weights {out / 'net.pth'}" in said


@pytest.mark.usefixtures("offered")
def test_unknown_names_are_refused_before_anything_is_fetched(fails, tmp_path: Path):
    assert fails("download", "voc2007", "coco", "--out", tmp_path / "out") == (
        "coco: nothing to download; there are voc2007, vgg16"
    )
    assert not (tmp_path / "out").exists()
    assert fails("download", "vgg-16") == (
        "vgg-16: nothing to download; there are voc2007, vgg16; did you mean vgg16?"
    )


@pytest.mark.usefixtures("offered")
def test_a_failed_download_is_one_line(fails, tmp_path: Path):
    (tmp_path / "net.pth").unlink()
    assert "net.pth: no mirror gave the file" in fails("download", "vgg16", "--out", tmp_path / "o")
