"""The command line in processes that a launcher has started: one of them speaks for all."""

import sys

import pytest

from minirpn.cli.main import main, shares_work
from minirpn.errors import InputError
from minirpn.training import distributed


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        ("train --steps 3", True),
        ("--debug train", True),
        ("eval RUN", True),
        ("propose RUN --split val", True),
        ("study lambda", True),
        ("train --distributed auto", True),
        ("train --distributed off", False),
        ("train --distributed=off", False),
        ("train --out off --distributed auto", True),
        ("info", False),
        ("report train", False),
        ("check --split train", False),
        ("", False),
    ],
)
def test_some_commands_share_their_work(words, shared):
    assert shares_work(words.split()) is shared


@pytest.fixture
def rank(monkeypatch):
    """Be the rank of this number, of four, which find no MPI."""

    def be(number):
        monkeypatch.setenv("PMI_SIZE", "4")
        monkeypatch.setenv("PMI_RANK", str(number))
        monkeypatch.setitem(sys.modules, "mpi4py", None)

    return be


COMMANDS = ("train", "eval shapes --voc x", "propose shapes --split val", "study lambda")


@pytest.mark.parametrize("words", COMMANDS)
def test_without_mpi4py_one_line_says_so(rank, capsys, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (0, 1, 3):
        rank(number)
        assert main(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "minirpn: error: started as 4 processes to work together, which needs mpi4py: pip install "
        "'minirpn[mpi]'; --distributed off lets each work for itself\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["train --stepz 3", "train --steps three", "eval"])
def test_a_mistyped_line_is_told_once(rank, capsys, words):
    for number in (0, 1):
        rank(number)
        assert main(words.split()) == 2
    assert capsys.readouterr().err.count("minirpn: error: ") == 1


def test_pictures_are_the_business_of_the_first(rank, capsys, tmp_path):
    rank(1)
    assert main(["propose", str(tmp_path / "none.jpg")]) == 0
    rank(0)
    assert main(["propose", str(tmp_path / "none.jpg")]) == 2
    assert "none.jpg" in capsys.readouterr().err


def test_what_only_one_rank_knows_it_tells_itself(rank, monkeypatch, capfd):
    """The others wait for it, so it ends at once, and with it the launcher ends them."""
    rank(1)
    ends = []

    def broken(mode):
        raise InputError("no memory for messages")

    monkeypatch.setattr(distributed, "open_ranks", broken)
    monkeypatch.setattr("os._exit", ends.append)
    main(["train"])
    assert ends == [2]
    assert capfd.readouterr().err == "minirpn: error: rank 1: no memory for messages\n"
