"""A file of functions is checked from the shell: found by name, timed, ended, told of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from minirpn.testing import __main__ as kit
from minirpn.testing.known import KNOWN

pytestmark = pytest.mark.slow  # each starts Python anew, some more than once

MODULE = """
import beside
from minirpn import boxes

def my_iou(a, b):
    return boxes.iou(a, b)

def encode(anchors, targets):
    return ...

def decode(anchors, deltas):
    return deltas

def helper(x):
    return x

def label_anchor(x):
    return x

def conv2d_backward(dy, cache):
    return dy

nms = 3
iou = my_iou
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("")
    return tmp_path / "my_module.py"


def run(*arguments):
    return kit.main([str(argument) for argument in arguments])


def test_a_file_is_checked_by_the_names_in_it(file, capfd):
    file.write_text(MODULE)
    assert run(file) == 1
    out, err = capfd.readouterr()
    assert [line[:8] for line in out.splitlines()] == ["✓ my_iou", "○ encode", "✗ decode"]
    assert err.splitlines() == [
        "helper is not checked: no check goes by this name",
        "label_anchor is not checked: no check goes by this name; did you mean label_anchors?",
        "conv2d_backward is not checked: it needs conv2d_forward beside it",
        "nms is not checked: it is no function",
        "iou is not checked: my_iou is",
    ]


def test_a_right_file_gives_0_and_one_without_functions_2(file, capfd):
    file.write_text("from minirpn.boxes import encode\n")
    assert run(file) == 0
    file.write_text("")
    assert run(file) == 2
    assert "no function to check; --list shows" in capfd.readouterr().err
    assert run(file.with_name("none.py")) == 2
    assert "no such file" in capfd.readouterr().err


def test_what_hangs_or_ends_the_process_does_not_end_the_rest(file, capfd):
    file.write_text(
        "import os, sys\n"
        "def iou(a, b):\n    while True: pass\n"
        "def encode(a, b):\n    os._exit(4)\n"
        "def decode(a, b):\n    sys.exit(3)\n"
        "def eleven_point(scores, hits, positives):\n    return 1 / 0\n"
        "sys.exit(1)\n"
    )
    assert run(file, "--timeout", 5) == 1
    out, err = capfd.readouterr()
    assert "line 10 ends the program: only what stands above it is checked" in err
    iou, encode, decode, average = out.splitlines()
    assert iou == "✗ iou: no answer after 5 s: is there a loop without end?"
    assert encode == "✗ encode: the process ended (exit code 4)"
    assert decode.endswith("yours raises SystemExit: 3 (line 7 of my_module.py: `sys.exit(3)`)")
    assert average.endswith("(line 9 of my_module.py: `return 1 / 0`)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:", "my_module.py, line 1: invalid syntax"),
        ("\nimport no_such_thing", "my_module.py, line 2: ModuleNotFoundError: No module named"),
        ("while True: pass", "my_module.py: still not read after 3 s"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(file, capfd, text, words):
    file.write_text(text)
    assert run(file, "--timeout", 3) == 2
    assert words in capfd.readouterr().err


def test_a_wrong_call_is_told_from_a_wrong_line(file, capfd):
    file.write_text("def iou(a):\n    return a\n")
    assert run(file) == 1
    assert "yours cannot be called as f(a, b): iou() takes 1 positional" in capfd.readouterr().out


def test_an_option_is_named_as_it_is_passed_here(file, capfd):
    file.write_text(
        "from minirpn import boxes\n"
        "def iou(a, b):\n    return boxes.iou(a + [0.0, 0, 1, 1], b + [0.0, 0, 1, 1])\n"
    )
    assert run(file) == 1
    assert "(--option iou:plus_one=True)" in capfd.readouterr().out
    assert run(file, "--option", "iou:plus_one=True") == 0


def test_options_reach_the_check(file, capfd):
    file.write_text("def pair_iou(a, b):\n    return 0.0\n")
    with pytest.raises(SystemExit):
        run(file, "--option", "pair_iou:no_such=1")
    assert "pair_iou takes plus_one, got no_such" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        run(file, "--option", "no_such:ties=any")
    with pytest.raises(SystemExit):
        run(file, "--timeout", "-1")
    with pytest.raises(SystemExit):
        run()


def test_the_list_has_every_function(capsys):
    assert run("--list") == 0
    listed = capsys.readouterr().out
    assert all(call in listed for known in KNOWN for call in known.calls)


def options_of(known):
    """Return the check and its options, as the how-to writes them."""
    check, fixed = getattr(known.check, "func", known.check), getattr(known.check, "keywords", {})
    settings = "".join(f", `{name}={value!r}`" for name, value in fixed.items())
    free = [f"`{name}`" for name in known.options]
    return f"`{check.__name__}`{settings}" + (": " + ", ".join(free) if free else "")


def test_the_how_to_shows_every_signature_and_option():
    page = Path(__file__).parents[2] / "docs" / "howto" / "check-your-own-op.md"
    table = page.read_text().partition("## What can be checked")[2].partition("##")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \|(.*)\|$", table, flags=re.MULTILINE)
    expected = [
        (call, returns, options_of(known) if number == 0 else "")
        for known in KNOWN
        for number, (call, returns) in enumerate(zip(known.calls, known.returns, strict=True))
    ]
    assert [(call, returns, last.strip()) for call, returns, last in rows] == expected


def test_without_hypothesis_the_command_says_one_line(tmp_path):
    (tmp_path / "hypothesis.py").write_text("raise ModuleNotFoundError('no', name='hypothesis')")
    done = subprocess.run(
        [sys.executable, "-m", "minirpn.testing", "--list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "minirpn.testing needs Hypothesis: pip install hypothesis\n"
