"""The program for a few minutes with a GPU goes on whatever a part of it does; no GPU is needed."""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slow  # it waits for limits to be reached
HERE = Path(__file__).parent
SESSION = runpy.run_path(str(HERE / "session.py"), run_name="session")
PROFILE = runpy.run_path(str(HERE / "stage_profile.py"), run_name="profile")
Part, Outcome, run, FILES = (SESSION[name] for name in ("Part", "Outcome", "run", "FILES"))


def part(name, code, limit=30.0, **options):
    """Return a part that runs some Python."""
    return Part(name, [sys.executable, "-c", code], limit, **options)


def gone(pid):
    """Tell whether a process has ended; it may wait for its own parent to take notice."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_part_that_fails_is_not_the_end(tmp_path):
    bad = part("bad", "print('much', flush=True); raise SystemExit('the reason')")
    good = part("good", "print('figure: 7 of 7')")
    absent = Part("absent", ["/no/such/program"], 30.0)
    broken = part("broken", "print('fine')", figure=lambda text: 1 / 0)
    outcomes = run([bad, absent, good, broken], tmp_path, minutes=1)
    assert [outcome.state for outcome in outcomes] == ["failed", "failed", "ok", "ok"]
    assert outcomes[0].reason == "exit status 1: the reason"
    assert "/no/such/program" in outcomes[1].reason
    assert (outcomes[2].figure, outcomes[3].figure) == ("7 of 7", "")
    log = (tmp_path / "log.txt").read_text()
    assert "======== bad\n$ " in log
    assert "much\nthe reason\n" in log


def test_a_part_that_hangs_is_ended_and_says_where(tmp_path):
    code = "import time\ndef stuck():\n    time.sleep(60)\nstuck()"
    hangs = part("hangs", code, limit=0.5, env={"PYTHONFAULTHANDLER": "1"})
    start = time.monotonic()
    outcomes = run([hangs, part("next", "")], tmp_path, minutes=1)
    assert time.monotonic() - start < 10
    assert [outcome.state for outcome in outcomes] == ["timed out", "ok"]
    assert outcomes[0].reason == "after 0 s"
    assert "in stuck" in (tmp_path / "log.txt").read_text()


CHILD = "import subprocess, sys; child = subprocess.Popen(['sleep', '60']); print(child.pid)"
DEAF = "import signal, time; signal.signal(signal.SIGABRT, signal.SIG_IGN); time.sleep(60)"


@pytest.mark.parametrize(
    ("then", "limit"), [("", 30.0), ("import time; time.sleep(60)", 1.0), (DEAF, 1.0)]
)
def test_what_a_part_has_started_ends_with_it(tmp_path, then, limit):
    (outcome,) = run([part("leaves", f"{CHILD}\n{then}", limit)], tmp_path, minutes=1)
    assert outcome.state == ("timed out" if then else "ok")
    pids = [line for line in (tmp_path / "log.txt").read_text().splitlines() if line.isdigit()]
    assert len(pids) <= 1
    assert all(map(gone, pids))
    assert pids or then


def test_what_does_not_fit_is_skipped(tmp_path):
    minutes = (SESSION["AT_THE_END"] + 2.0) / 60
    parts = [
        part("long", "", least=20),
        part("short", "import time; time.sleep(60)", least=0.1),
        part("late", "", least=0.1),
    ]
    start = time.monotonic()
    long, short, late = run(parts, tmp_path, minutes=minutes)
    assert time.monotonic() - start < SESSION["AT_THE_END"] + 4
    assert (long.state, long.reason) == ("skipped", "2 s are left, and it needs 20")
    assert (short.state, late.state) == ("timed out", "skipped")  # of what was left, not of 30 s


def test_a_part_may_find_that_it_cannot_run_and_so_for_those_after_it(tmp_path):
    code = "print('looking'); print('skipped: no torch'); raise SystemExit(77)"
    told = part("told", "", why_not="not installed")
    parts = [part("one", code), told, part("two", ""), part("gate", code, first=True)]
    outcomes = run([*parts, part("three", "")], tmp_path, minutes=1)
    found = [(outcome.state, outcome.reason) for outcome in outcomes]
    no_torch = ("skipped", "no torch")
    assert found == [no_torch, ("skipped", "not installed"), ("ok", ""), no_torch, no_torch]


def test_a_long_log_loses_its_middle(tmp_path, monkeypatch):
    code = "print('be' 'gin'); print('x' * 1_000_000); print('fig' 'ure: end')"
    outcomes = run([part("talks", code), part("more", "print('more')")], tmp_path, minutes=1)
    text = (tmp_path / "log.txt").read_text()
    assert len(text) < SESSION["MOST_LOGGED"] + 2_000
    assert text.index("begin") < text.index("left out") < text.index("figure: end")
    assert text.endswith("\nmore\n")
    assert outcomes[0].figure == "end"


def test_the_table_and_the_same_for_programs(tmp_path):
    outcomes = [
        Outcome("smoke", "ok", "", 12.34, "9 of 9 equal", "python smoke.py"),
        Outcome("bench tf32", "failed", "exit status 1: a | b", 3.0, "", "minirpn bench"),
        Outcome("tests", "skipped", "2 s are left", 0.0, "", "pytest"),
    ]
    SESSION["write"](outcomes, tmp_path)
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "| part       | result                       | seconds | figure       |",
        "| ---------- | ---------------------------- | ------- | ------------ |",
        "| smoke      | ok                           | 12.3    | 9 of 9 equal |",
        "| bench tf32 | failed: exit status 1: a / b | 3.0     |              |",
        "| tests      | skipped: 2 s are left        |         |              |",
    ]
    records = json.loads((tmp_path / "results.json").read_text())
    assert [record["state"] for record in records] == ["ok", "failed", "skipped"]
    assert records[0]["seconds"] == 12.34


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "smoke", "nonsense"], "--only: no stage 'nonsense'; there are info, smoke, "),
        (["--minutes", "0"], "--minutes: expected more than 0, got 0"),
        (["--wheels", "nowhere"], "--wheels: there is no folder nowhere"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path, capsys, words, said):
    assert SESSION["main"]([str(tmp_path / "out"), *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"error: {said}")
    assert not (tmp_path / "out").exists()


def test_the_command_runs_from_the_root_and_survives_an_interrupt(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.gpu.session", str(out), "--only", "info", "profile"]
    with subprocess.Popen(
        command, cwd=HERE.parents[1], stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout.readline() == "info ...\n"
        session.send_signal(signal.SIGTERM)
        printed = session.stdout.read()
    assert session.returncode == 1
    info, profile = json.loads((out / "results.json").read_text())
    assert (info["state"], info["reason"]) == ("failed", "interrupted")
    assert (profile["state"], profile["reason"]) == ("skipped", "interrupted")
    assert (out / "table.md").read_text() in printed
    assert {path.name for path in out.iterdir()} <= set(FILES)


def test_there_are_few_files():
    parts = SESSION["parts_of"](Path("/out"), Path("/elsewhere"), rehearse=False)
    assert len(FILES) <= 8
    named = {path.name for part in parts for word in part.command if (path := Path(word)).is_file()}
    assert {"stage_info.py", "stage_smoke.py", "stage_profile.py", "stage_train.py"} <= named
    written = {
        Path(word).name for part in parts for word in part.command if word.startswith("/out/")
    }
    assert written | {part.log for part in parts} <= set(FILES)
    assert [part.name for part in parts][:2] == ["info", "smoke"]


def test_wheels_of_what_is_here_are_left_alone(tmp_path):
    for name in ("numpy-1.0-py3-none-any.whl", "no_such_thing-2.0-py3-none-any.whl"):
        (tmp_path / name).touch()
    found = SESSION["wheels_part"](tmp_path, tmp_path / "target")
    assert found.command[-1] == "no-such-thing"
    assert found.why_not is None
    assert "numpy" not in found.command
    (tmp_path / "no_such_thing-2.0-py3-none-any.whl").unlink()
    assert SESSION["wheels_part"](tmp_path, tmp_path / "t").why_not.startswith("all are here: nu")


def test_figures():
    rows = [
        {"name": "step", "values": {"minirpn": 0.02}, "unit": "s", "ratio": 1.25, "best_peer": "t"},
        {"name": "busy", "values": {"minirpn": 0.93}, "unit": "share", "ratio": None},
        {"name": "none", "values": {}, "unit": "s", "ratio": None},
    ]
    figure = SESSION["bench_figure"](json.dumps({"rows": rows}))
    assert figure == "step 0.0200 (1.25 of t), busy 93% (seconds)"
    text = "..F\nE  3 errors in all\nFAILED a.py::b\n== 1 failed, 20 passed, 3 skipped in 9.1s ==\n"
    assert SESSION["pytest_figure"](text) == "1 failed, 20 passed, 3 skipped in 9.1s"
    text = "figure: 9 of 9 equal\n========= ERROR SUMMARY: 2 errors\n"
    assert SESSION["sanitizer_figure"](text) == "2 errors; 9 of 9 equal"


def happened(name, start, end, kind="gpu", **more):
    """Return an event as PyTorch's profiler tells it, in microseconds."""
    times = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(name=name, time_range=times, device_type=kind, **more)


def test_a_profile_in_pieces():
    found = [
        happened("cudaLaunchKernel", 0.0, 10.0, "cpu"),
        happened("gemm", 100.0, 300.0),
        happened("relu", 250.0, 260.0),  # inside of it
        happened("gemm", 340.0, 400.0),
        happened("Memcpy DtoH (Device -> Pageable)", 500.0, 502.0),
        happened("cudaStreamSynchronize", 400.0, 520.0, "cpu"),
        happened("aten::conv2d", 0.0, 900.0, "cpu"),
        happened("a stretch", 0.0, 900.0, is_user_annotation=True),
    ]
    events = PROFILE["events_of"](found, "gpu")
    account = PROFILE["summary"](events, 1e-3, 2)
    micro = 1e-6
    assert account["device_seconds"] == pytest.approx((200 + 60 + 2) / 2 * micro)
    assert account["busy_share"] == pytest.approx(0.262)
    assert account["launches"] == 1.5
    assert [(row["name"], row["count"]) for row in account["kernels"]] == [
        ("gemm", 1.0),
        ("relu", 0.5),
    ]
    assert account["kernels"][0]["seconds"] == pytest.approx(130 * micro)
    assert [row["name"] for row in account["copies"]] == ["Memcpy DtoH (Device -> Pageable)"]
    longest, other = account["gaps"]["longest"]
    assert longest["seconds"] == pytest.approx(100 * micro)
    assert (longest["after"], longest["before"][:6]) == ("gemm", "Memcpy")
    assert other["seconds"] == pytest.approx(40 * micro)
    assert account["wait_seconds"] == pytest.approx(60 * micro)
    assert account["host_seconds"] == pytest.approx((1000 - 120) / 2 * micro)
    assert [row["name"] for row in account["calls"]] == [
        "cudaStreamSynchronize",
        "cudaLaunchKernel",
    ]
    timed = {"step_seconds": 5e-4, "asked_seconds": 4e-4}
    text = PROFILE["text_of"]("minirpn float32", account | timed)
    assert "0.50 ms a step" in text.splitlines()[0]
    nothing = PROFILE["summary"]([], 1e-3, 2)
    assert (nothing["busy_share"], nothing["kernels"]) == (0.0, [])
    PROFILE["text_of"]("nothing", nothing | timed)


def test_the_profiler_is_told_to_keep_what_it_sees_and_is_asked_twice():
    calls = []

    class Profile:
        def __init__(self, *, activities, acc_events=False):
            calls.append((activities, acc_events))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("end")

        def events(self):
            return [happened("gemm", 0.0, 1.0)]

    activity = SimpleNamespace(CUDA="what the card does")
    torch = SimpleNamespace(
        profiler=SimpleNamespace(profile=Profile, ProfilerActivity=activity),
        autograd=SimpleNamespace(DeviceType=SimpleNamespace(CUDA="gpu")),
    )
    step, wait = (lambda: calls.append("step")), (lambda: calls.append("wait"))
    account = PROFILE["profiled"](torch, step, wait, 3)
    begin = ([activity.CUDA], True)
    once, thrice = (["wait", *count * ["step"], "wait", "end"] for count in (1, 3))
    assert calls == [begin, *once, begin, *thrice]
    assert account["launches"] == pytest.approx(1 / 3)
