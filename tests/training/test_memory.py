"""A training step of VGG-16 fits into the memory of a laptop."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MOST = 4 * 2**30

STEP = """
import resource
import sys
import numpy as np
from minirpn.backbones import build_backbone
from minirpn.nn import SGD
from minirpn.rpn import RPN, AnchorConfig
from minirpn.rpn.head import RPNHead
from minirpn.training.step import Objective, loss_and_gradients, make_minibatch

rng = np.random.default_rng(0)
backbone = build_backbone("vgg16", rng=rng)
network = RPN(backbone, RPNHead(512, 512, 9, rng=rng), AnchorConfig())
optimizer = SGD(network.parameters())
image = rng.normal(size=(3, 600, 1000)).astype(np.float32)
gt_boxes = np.array([[100, 100, 400, 400], [500, 50, 900, 500]], np.float32)
anchors, objective = network.anchors_for((600, 1000), like=image), Objective()
for _ in range(2):  # the second has the momentum of the first beside it
    batch = make_minibatch(anchors, gt_boxes, (600, 1000), rng=rng, objective=objective)
    found = loss_and_gradients(network, image, batch, config=objective.loss)
    optimizer.step(found.grads, lr=1e-4)
assert np.isfinite(float(found.losses["loss"]))
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX tells how much memory a process has had")
def test_a_step_of_vgg16_at_600x1000_fits_into_4_gib():
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    assert int(done.stdout) < MOST
