"""``minirpn bench`` on the command line."""

import json
from pathlib import Path

import pytest

from minirpn.cli.main import main


def test_rows_are_listed(capsys):
    assert main(["bench", "--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"vgg16-step", "iou-square", "propose"} <= set(listed)


def test_a_row_is_measured_printed_and_written(tmp_path, capsys):
    words = ["--only", "iou-square", "--rounds", "1", "--no-peers"]
    assert main(["bench", *words, "--json", str(tmp_path / "bench.json")]) == 0
    assert "IoU 2,000 x 2,000" in capsys.readouterr().out
    record = json.loads((tmp_path / "bench.json").read_text())
    assert record["machine"]["threads"] >= 1
    assert (record["device"], record["tf32"]) == ("cpu", False)
    assert [row["name"] for row in record["rows"]] == ["iou-square"]
    assert record["rows"][0]["values"]["minirpn"] > 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--only", "nothing"], "--only: no row 'nothing'; there are vgg16-forward"),
        (["--rounds", "0"], "--rounds: expected at least 1, got 0"),
        (["--device", "auto"], "device: expected cpu, cuda or cuda:0, cuda:1, ..., got 'auto'"),
        (["--tf32"], "tf32: only a GPU has it, and this would run on the CPU"),
        (["--device", "cpu", "--tf32"], "tf32: only a GPU has it"),
        (["--threads", "0"], "--threads: expected at least 1, got 0"),
        (["--json", "nowhere/x.json"], f"--json: {Path('nowhere/x.json')}: there is no folder"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words, reason, capsys):
    assert main(["bench", *words]) == 2
    assert f"minirpn: error: {reason}" in capsys.readouterr().err
