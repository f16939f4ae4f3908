"""What a type checker says of a user's program."""

import subprocess
import sys
from pathlib import Path

import pytest

import minirpn

PROGRAM = """\
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import minirpn
from minirpn.results import ScoredBox

model = minirpn.load("shapes", device="cpu")
frame = np.zeros((240, 320, 3), np.uint8)
found = model.propose(frame, post_nms=100)
assert_type(model, minirpn.Model)
assert_type(found, minirpn.Proposals)
assert_type(model.propose(["a.jpg", Path("b.jpg")]), list[minirpn.Proposals])
assert_type(model.detect([Path("a.jpg")]), list[minirpn.Detections])
assert_type(model.detect("a.jpg"), minirpn.Detections)
assert_type(found[found.scores > 0.5].top(10)[:3], minirpn.Proposals)
assert_type(found[0], ScoredBox)
assert_type(found[0].score, float)
assert_type(found.boxes, NDArray[np.float32])
assert_type(found.classes, NDArray[np.int64])
assert_type(found.to_coco()[0]["bbox"], list[float])
for box, score, name in found:
    assert_type(name, str)
run = minirpn.train(voc=Path("VOCdevkit"), steps=2000, progress=False)
assert_type(run.model, minirpn.Model)
assert_type(run.report, Path)
assert_type(run.config.optimizer.lr, float)
assert_type(model.evaluate("VOCdevkit").recall.at(300), float)
overlap = minirpn.boxes.iou(found.boxes, found.boxes)
assert_type(overlap, NDArray[Any])
config = minirpn.rpn.ProposalConfig(post_nms=100)
assert_type(config.post_nms, int)
"""


@pytest.mark.slow
def test_a_program_of_a_user_is_typed(tmp_path):
    """`assert_type` fails where the checker sees Any, and an unused ignore where it sees no error.

    It takes a dozen seconds without a cache.
    """
    pytest.importorskip("mypy", reason="mypy is not installed")
    wrong = "model.propse(frame)  # type: ignore[attr-defined]\n"
    wrong += "model.propose(3)  # type: ignore[call-overload]\n"
    (tmp_path / "program.py").write_text(PROGRAM + wrong)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = True\n")
    root = str(Path(minirpn.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "program.py"],
        cwd=tmp_path,
        env={"PATH": "", "MYPYPATH": "", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
