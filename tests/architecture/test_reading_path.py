"""Who follows an operation, or one training step, opens few files: a limit for each.

Counted are the files of minirpn with a function that runs, as array code (numba is hidden). Calls
are made once before: what runs at the first call alone, such as a choice that is kept, is no part
of the path.
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
seen = set()
def note(frame, event, _):
    file, name = frame.f_code.co_filename, frame.f_code.co_name
    if event == "call" and file.startswith(str(root)) and not name.startswith("<"):
        seen.add(file)
sys.setprofile(note)
work()
sys.setprofile(None)
print(len(seen), sum(len(Path(file).read_text().splitlines()) for file in seen))
print(*sorted(str(Path(file).relative_to(root)) for file in seen))
"""
CASES = {
    "iou": ("a = np.array([[0.0, 0, 2, 2]])", "boxes.iou(a, a)", 3, 500),
    "encode": ("a = np.array([[0.0, 0, 2, 2]])", "boxes.encode(a, a)", 3, 500),
    "convolution there and back": (
        "x, w = rng.normal(size=(1, 3, 9, 9)), rng.normal(size=(4, 3, 3, 3))",
        "nn.conv2d_backward(*nn.conv2d_forward(x, w, np.zeros(4), padding=1))",
        5,
        900,
    ),
    "labels": (
        "anchors = rpn.grid_anchors(rpn.base_anchors(rpn.AnchorConfig()), (19, 31), 16)",
        "rpn.label_anchors(anchors, np.array([[10.0, 20, 150, 140]]), (300, 500))",
        5,
        900,
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
        19,
        3600,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_path_stays_short(case):
    setup, work, most_files, most_lines = CASES[case]
    ended = subprocess.run(
        [sys.executable, "-c", COUNT.format(setup=setup, work=work)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    counts, files = ended.stdout.splitlines()
    count, lines = map(int, counts.split())
    assert count <= most_files, files
    assert lines <= most_lines, files
