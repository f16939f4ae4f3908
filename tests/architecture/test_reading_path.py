"""A reader who follows an operation, or one training step, opens few files: a limit for each.

Counted are the files of minirpn with a function that runs, as array code (numba is hidden), and
the lines of code in these functions, without docstrings and comments. The work is done once
before, so that what runs only at the first call, such as the choice of an implementation, does not
count.
"""

import subprocess
import sys

import pytest

COUNT = """
import sys, warnings
warnings.simplefilter("ignore")
sys.modules["numba"] = None
from pathlib import Path
import numpy as np
import minirpn
from minirpn import boxes, nn, rpn
root = Path(minirpn.__file__).parent
rng = np.random.default_rng(0)
{setup}
def work():
    {work}
work()
functions = set()
def note(frame, event, _):
    function = frame.f_code
    ours = function.co_filename.startswith(str(root)) and not function.co_name.startswith("<")
    if event == "call" and ours:
        functions.add(function)
sys.setprofile(note)
work()
sys.setprofile(None)
files = {{function.co_filename for function in functions}}
code = {{(f.co_filename, line) for f in functions for *_, line in f.co_lines() if line}}
print(len(files), sum(len(Path(file).read_text().splitlines()) for file in files), len(code))
print(*sorted(str(Path(file).relative_to(root)) for file in files))
"""
# name: (setup, work, most files, most lines in them, most lines of code that runs)
CASES = {
    "iou": ("a = np.array([[0.0, 0, 2, 2]])", "boxes.iou(a, a)", 3, 502, 62),
    "encode": ("a = np.array([[0.0, 0, 2, 2]])", "boxes.encode(a, a)", 3, 500, 60),
    "convolution there and back": (
        "x, w = rng.normal(size=(1, 3, 9, 9)), rng.normal(size=(4, 3, 3, 3))",
        "nn.conv2d_backward(*nn.conv2d_forward(x, w, np.zeros(4), padding=1))",
        4,
        600,
        170,
    ),
    "labels": (
        "anchors = rpn.grid_anchors(rpn.base_anchors(rpn.AnchorConfig()), (19, 31), 16)",
        "rpn.label_anchors(anchors, np.array([[10.0, 20, 150, 140]]), (300, 500))",
        4,
        850,
        122,
    ),
    "a training step of tiny": (
        """
from minirpn.training.build import build_model, build_objective
from minirpn.training.config import default_config
from minirpn.training.step import loss_and_gradients, make_minibatch, sgd_update
config = default_config(voc=False)
network, objective = build_model(config, rng=rng), build_objective(config)
optimizer = nn.SGD(network.parameters())
image = rng.normal(size=(3, 96, 128)).astype(np.float32)
gt_boxes = np.array([[10.0, 20, 60, 80]], np.float32)
""",
        """
    anchors = network.anchors_for((96, 128), like=gt_boxes)
    batch = make_minibatch(anchors, gt_boxes, (96, 128), rng=rng, objective=objective)
    result = loss_and_gradients(network, image, batch, config=objective.loss)
    sgd_update(optimizer, result, lr=0.001)
""",
        18,
        3600,
        712,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_path_stays_short(case):
    setup, work, most_files, most_lines, most_code = CASES[case]
    ended = subprocess.run(
        [sys.executable, "-c", COUNT.format(setup=setup, work=work)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    counts, files = ended.stdout.splitlines()
    count, lines, code = map(int, counts.split())
    assert count <= most_files, files
    assert lines <= most_lines, files
    assert code <= most_code
