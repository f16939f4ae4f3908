"""The folder of a run: nothing is overwritten, and what is appended can be trusted."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

import pytest

from minirpn.errors import InputError
from minirpn.report.records import read_metrics
from minirpn.training import run_folder, terminal
from minirpn.training.config import default_config, load_config
from minirpn.training.run_folder import (
    RunFolder,
    create_run,
    new_run_path,
    newest_run,
    open_run,
    start_run,
)

CONFIG = default_config(voc=False)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create_run(tmp_path / "run", CONFIG)


def test_create_makes_the_folder_and_notes_the_settings(tmp_path: Path):
    folder = create_run(tmp_path / "deep" / "run", CONFIG)
    assert folder.path == tmp_path / "deep" / "run"
    assert folder.last.parent.is_dir()
    assert folder.plots.is_dir()
    assert load_config(folder.config) == CONFIG


def test_an_empty_folder_will_do(tmp_path: Path):
    (tmp_path / "run").mkdir()
    assert create_run(tmp_path / "run", CONFIG).plots.is_dir()


def test_what_was_killed_before_it_wrote_is_no_run(tmp_path: Path):
    unfinished = tmp_path / "run" / ".config.toml.0123456789abcdef.tmp"
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    unfinished.write_text("[da")
    with pytest.raises(InputError, match=r"stopped before its settings were written: start it as"):
        open_run(tmp_path / "run")
    assert create_run(tmp_path / "run", CONFIG).config.is_file()
    assert not unfinished.exists()


def test_an_existing_run_is_not_overwritten(folder: RunFolder):
    folder.last.touch()
    message = rf"^{re.escape(str(folder.path))}: run folder exists: use --resume or another --out$"
    with pytest.raises(InputError, match=message):
        create_run(folder.path, CONFIG)


def test_a_file_in_the_way_is_one_line(tmp_path: Path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="run: cannot make the run folder: "):
        create_run(tmp_path / "run", CONFIG)


def test_open_wants_a_run(tmp_path: Path, folder: RunFolder):
    with pytest.raises(InputError, match=r"gone: no such run folder$"):
        open_run(tmp_path / "gone")
    with pytest.raises(InputError, match=r"not a run folder: no config\.toml in it$"):
        open_run(tmp_path)
    assert open_run(folder.path) == folder


# --- what a start leaves -------------------------------------------------------------------------

# All that a run writes before its first checkpoint, beside what `create_run` writes.
BEGINNING = (
    "data.json",
    "metrics.jsonl",
    "checkpoints/start.npz",
    "checkpoints/.last.npz.0123456789abcdef.tmp",
    "checkpoints/.last.npz.tmp",
    "proposals/detector-1.npz",
    "plots/samples/1-0000000.png",
    "tensorboard/events.out.tfevents.1.host.0",
    "shapes/JPEGImages/000001.jpg",
    "shapes/Annotations/000001.xml",
    "shapes/ImageSets/Main/train.txt",
    ".shapes-abc/shapes/JPEGImages/000001.jpg",
)
STRANGE = (
    "letter.txt",
    "plots/mine.png",
    "plots/samples/1-0000006.png",
    "shapes/JPEGImages/cat.jpg",
    "checkpoints/mine.npz",
    "proposals/mine.npz",
    "config.toml.bak",
    ".git/config",
)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def failing_start(path: Path, *names: str, error: BaseException | None = None) -> None:
    """Start a run that writes these files, and fails."""
    with start_run(path, CONFIG):
        put(path, *names)
        raise InputError("no") if error is None else error


@pytest.mark.parametrize("error", [InputError("no"), OSError("no"), MemoryError("no")])
def test_a_start_that_fails_leaves_nothing(tmp_path: Path, error: Exception):
    with pytest.raises(type(error)):
        failing_start(tmp_path / "deep" / "run", *BEGINNING, error=error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), ZeroDivisionError()])
def test_a_start_that_was_stopped_stays(tmp_path: Path, error: BaseException):
    """An interrupt may be resumed, and a mistake of minirpn's has its traceback in the log."""
    with pytest.raises(type(error)):
        failing_start(tmp_path / "run", *BEGINNING, error=error)
    started = {"config.toml", "env.json", "log.txt"}
    assert files_in(open_run(tmp_path / "run").path) == {*BEGINNING, *started}


@pytest.mark.parametrize("name", ["checkpoints/last.npz", "checkpoints/best.npz"])
def test_a_run_that_has_begun_stays_whole(tmp_path: Path, name: str):
    """Also if one checkpoint is away when the error comes."""
    with pytest.raises(InputError, match="no"):
        failing_start(tmp_path / "run", *BEGINNING, name)
    started = {"config.toml", "env.json", "log.txt"}
    assert files_in(tmp_path / "run") == {*BEGINNING, *started, name}


def test_a_run_whose_checkpoints_are_gone_stays_whole(tmp_path: Path):
    def train() -> None:
        with start_run(tmp_path / "run", CONFIG) as folder:
            folder.record({"kind": "train", "step": 1})
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        train()
    assert files_in(tmp_path / "run") == {"config.toml", "env.json", "log.txt", "metrics.jsonl"}


@pytest.mark.parametrize("strange", STRANGE)
def test_what_a_run_does_not_write_stays(tmp_path: Path, strange: str):
    """It came under way, say from another program."""
    with pytest.raises(InputError, match="no"):
        failing_start(tmp_path / "run", *BEGINNING, strange)
    assert files_in(tmp_path / "run") == {strange}


def test_a_folder_that_was_there_stays(tmp_path: Path):
    path = tmp_path / "run"
    (path / "empty").mkdir(parents=True)
    with pytest.raises(InputError, match="no"):
        failing_start(path)
    assert [one.name for one in path.iterdir()] == ["empty"]


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("leftovers", [(), BEGINNING])
def test_a_folder_with_something_else_is_refused(
    tmp_path: Path, strange: str, leftovers: tuple[str, ...]
):
    path = tmp_path / "run"
    put(path, *leftovers, strange)
    with (
        pytest.raises(InputError, match=r"/run: .* is in it: give another --out$"),
        start_run(path, CONFIG),
    ):
        pytest.fail("it was taken")
    assert files_in(path) == {*leftovers, strange}


def test_settings_that_no_run_wrote_are_not_overwritten(tmp_path: Path):
    """A run makes its folders first, so this is a file of the user's."""
    put(tmp_path, "config.toml")
    with pytest.raises(InputError, match=r"config\.toml is in it: give another --out$"):
        create_run(tmp_path, CONFIG)
    assert (tmp_path / "config.toml").read_text() == "config.toml"


@pytest.mark.parametrize("name", ["config.toml", "env.json"])
@pytest.mark.parametrize("log", [None, "", "my diary\n"])
def test_settings_without_the_log_of_a_start_are_kept(tmp_path: Path, name: str, log: str | None):
    """Of a run whose other files the user has deleted."""
    put(tmp_path, name, "plots/samples/1-0000000.png")
    (tmp_path / "checkpoints").mkdir()
    if log is not None:
        (tmp_path / "log.txt").write_text(log)
    before = files_in(tmp_path)
    with pytest.raises(InputError, match=r"is in it: give another --out$"):
        create_run(tmp_path, CONFIG)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", [".DS_Store", "plots/.DS_Store", "__MACOSX/._plots"])
def test_litter_is_not_in_the_way_and_stays(tmp_path: Path, name: str):
    put(tmp_path, name)
    for _ in range(2):  # new, and after a start that was killed
        create_run(tmp_path, CONFIG)
        assert files_in(tmp_path) == {"config.toml", "env.json", "log.txt", name}


def test_a_report_on_a_start_is_not_in_the_way(folder: RunFolder, tmp_path: Path):
    put(folder.path, "report.html")
    assert create_run(folder.path, CONFIG).report.read_text() == "report.html"
    put(tmp_path / "mine", "report.html")
    with pytest.raises(InputError, match=r"report\.html is in it: give another --out$"):
        create_run(tmp_path / "mine", CONFIG)


@pytest.mark.parametrize("call", ["save_config", "write_json", "describe_environment"])
@pytest.mark.parametrize("is_done", [False, True])
def test_killed_while_it_starts_it_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, is_done: bool
):
    whole = getattr(run_folder, call)

    def killed(*args: object) -> None:
        if is_done:
            whole(*args)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, call, killed)
        with pytest.raises(SystemExit):
            create_run(tmp_path, CONFIG)
    assert create_run(tmp_path, CONFIG).environment.is_file()


def test_killed_before_the_first_line_of_the_log_it_makes_room(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "log.txt").touch()
    assert "started on" in create_run(tmp_path, CONFIG).text.read_text()


def test_what_a_killed_start_left_makes_room(tmp_path: Path):
    create_run(tmp_path / "run", default_config(voc=True))
    put(tmp_path / "run", *BEGINNING)
    folder = create_run(tmp_path / "run", CONFIG)
    assert files_in(folder.path) == {"config.toml", "env.json", "log.txt"}
    assert load_config(folder.config) == CONFIG
    assert not (folder.path / "shapes").exists()


@pytest.mark.parametrize("but", [(), ("config.toml", "log.txt")])
def test_killed_while_it_makes_room_it_is_taken_up_again(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, but: tuple[str, ...]
):
    put(folder.path, *BEGINNING)
    unlink = Path.unlink
    for left in range(len(files_in(folder.path)) + 1):
        count = iter(range(left))

        def killed(path: Path, count=count) -> None:
            if next(count, None) is None:
                raise SystemExit
            unlink(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed)
            with contextlib.suppress(SystemExit):
                folder.remove_beginning(but=but)
        folder.check_free()
    assert files_in(folder.path) == set(but)


def test_the_log_that_tells_of_the_start_is_removed_last(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    put(folder.path, *BEGINNING)
    names, unlink = [], Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path: (names.append(path.name), unlink(path)))
    folder.remove_beginning()
    assert names[-1] == "log.txt"
    assert len(names) == len(BEGINNING) + 3


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked")
def test_two_cannot_start_in_one_folder(tmp_path: Path):
    with start_run(tmp_path / "run", CONFIG) as folder:
        put(folder.path, *BEGINNING)
        before = files_in(folder.path)
        message = r"run: another process is training in it$"
        with pytest.raises(InputError, match=message), start_run(folder.path, CONFIG):
            pytest.fail("it has started")
        with pytest.raises(InputError, match=message):
            create_run(folder.path, CONFIG)
        assert files_in(folder.path) == before


# --- links ---------------------------------------------------------------------------------------

LINKS = (
    "checkpoints",
    "checkpoints/last.npz",
    "config.toml",
    "data.json",
    "detections",
    "log.txt",
    "metrics.jsonl",
    "plots",
    "plots/link.png",
    "plots/samples",
    "proposals/a.png",
    "recall.json",
    "report.html",
    "shapes/JPEGImages",
    "tensorboard",
)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("target", ["file", "folder", "gone"])
def test_a_link_in_a_run_is_not_followed(folder: RunFolder, name: str, target: str):
    outside = folder.path.parent
    (outside / "file").write_text("secret")
    (outside / "folder").mkdir()
    link = folder.path / name
    if link.is_dir():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside / target)
    message = f"^{re.escape(str(link))}: a link, and links in a run folder are not followed$"
    for use in (open_run, lambda path: create_run(path, CONFIG)):
        with pytest.raises(InputError, match=message):
            use(folder.path)
    assert (outside / "file").read_text() == "secret"
    assert not list((outside / "folder").iterdir())


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_the_folder_itself_may_be_a_link(folder: RunFolder, tmp_path: Path):
    (tmp_path / "link").symlink_to(folder.path)
    (folder.path / "data").symlink_to(tmp_path)  # no name of a run's: it is not read
    assert open_run(tmp_path / "link").config.is_file()


def test_names_are_new(tmp_path: Path):
    first = new_run_path("tiny", runs=tmp_path)
    assert re.fullmatch(r"tiny-\d{8}-\d{6}", first.name)
    names = set()
    for _ in range(4):
        path = new_run_path("tiny", runs=tmp_path)
        assert not path.exists()
        create_run(path, CONFIG)
        names.add(path)
    assert len(names) == 4


def test_the_newest_run_is_found(tmp_path: Path):
    with pytest.raises(InputError, match="no run in it"):
        newest_run(runs=tmp_path)
    for age, name in enumerate(["b", "a", "c"]):
        create_run(tmp_path / name, CONFIG)
        for path in (tmp_path / name).iterdir():
            os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "no-run").mkdir()
    assert newest_run(runs=tmp_path) == tmp_path / "b"
    open_run(tmp_path / "c").record({"step": 1})
    assert newest_run(runs=tmp_path) == tmp_path / "c"


def test_records_are_lines_of_json(folder: RunFolder):
    records = [{"kind": "train", "step": 1, "loss": 0.5}, {"step": 2, "text": "a\nb"}]
    for record in records:
        folder.record(record)
    lines = folder.metrics.read_text().splitlines()
    assert [json.loads(line) for line in lines] == records


def test_what_is_not_a_number_becomes_null(folder: RunFolder):
    folder.record({"step": 1, "recall": {"300": float("nan")}, "list": [float("inf"), 1.0]})
    (line,) = folder.metrics.read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "step": 1,
        "recall": {"300": None},
        "list": [None, 1.0],
    }


@pytest.mark.parametrize("torn", ['{"kind": "train", "st', '{"step": 4}', "7"])
def test_a_resumed_run_drops_what_it_does_again(folder: RunFolder, torn: str):
    for step in range(1, 7):
        folder.record({"kind": "train", "step": step})
        folder.record({"kind": "diagnose", "step": step})
    with folder.metrics.open("a") as file:
        file.write(torn)  # killed while writing
    folder.drop_records_after(4)
    folder.record({"kind": "train", "step": 5})
    steps = [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()]
    whole = [4] if torn == '{"step": 4}' else []  # only the end of the line was lost
    assert steps == [1, 1, 2, 2, 3, 3, 4, 4, *whole, 5]


def test_of_the_step_itself_some_kinds_may_be_dropped(folder: RunFolder):
    for kind in ("train", "diagnose", "validate", "samples"):
        folder.record({"kind": kind, "step": 3})
        folder.record({"kind": kind, "step": 4})
    folder.drop_records_after(4, ["validate", "samples"])
    kept = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [record["kind"] for record in kept if record["step"] == 4] == ["train", "diagnose"]
    assert sum(record["step"] == 3 for record in kept) == 4


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_has_begun_with_its_first_step(folder: RunFolder, begun: bool):
    folder.record({"kind": "samples", "step": 0})
    if begun:
        folder.record({"kind": "train", "step": 1})
    with folder.metrics.open("a") as file:
        file.write('{"kind": "train", "st')
    assert folder.has_begun == begun
    folder.best.touch()
    assert folder.has_begun


def test_the_records_are_not_read_further_than_need_be(folder: RunFolder):
    folder.record({"kind": "train", "step": 1})
    with folder.metrics.open("ab") as file:
        file.truncate(2**33)  # a line of zeros, which takes no room on the disk
    assert folder.has_begun
    message = r"metrics\.jsonl: cannot read: a line of more than 4,194,304 bytes$"
    with pytest.raises(InputError, match=message):
        folder.drop_records_after(4)
    assert folder.metrics.stat().st_size == 2**33
    with folder.metrics.open("r+b") as file:
        file.write(b" " * 100)
    with pytest.raises(InputError, match=message):
        folder.check_free()


def test_a_warning_is_short_enough_to_be_read_again(folder: RunFolder):
    folder.warn(3, "stopped: " + "one\n" * 9000)
    (record,) = read_metrics(folder.metrics)
    assert record["step"] == 3
    assert record["message"].startswith("stopped: one one ")
    assert len(record["message"]) <= 1000


def test_there_may_be_nothing_to_drop(folder: RunFolder):
    folder.drop_records_after(3)
    assert not folder.metrics.exists()


def test_words_get_the_time(folder: RunFolder):
    folder.log("stopped: ü")
    lines = folder.text.read_text(encoding="utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    started, stopped = (line.split(" ", 1)[1] for line in lines)
    assert re.match(r"started on cpu with minirpn \d\S*: \S+", started)
    assert stopped == "stopped: ü"


def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot write: No such file"):
        RunFolder(tmp_path / "gone").record({"step": 1})


def test_the_environment_is_plain_data(folder: RunFolder):
    environment = json.loads(folder.environment.read_text())
    for name in ("minirpn", "python", "numpy", "numba", "platform", "cpu_count", "command"):
        assert environment[name], name
    assert environment["blas"][0]["num_threads"] >= 1


def test_progress_without_a_terminal_says_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with terminal.Progress(30, done=10) as progress:
        for _ in range(20):
            now[0] += 1.0
            progress.advance("loss 0.5")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "step 20/30, loss 0.5, 1 s/step, 10 s left",
        "step 30/30, loss 0.5, 1 s/step, 0 s left",
    ]


def test_progress_on_a_terminal_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    with terminal.Progress(2, unit="image") as progress:
        progress.advance("loss 0.5")
        progress.say("hello")
        progress.advance("loss 0.25")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2/2" in captured.err
    assert "hello\n" in captured.err


def test_progress_can_be_silent(capsys: pytest.CaptureFixture[str]):
    with terminal.Progress(1, show=False) as progress:
        progress.advance()
        progress.say("nothing")
    assert capsys.readouterr() == ("", "")
