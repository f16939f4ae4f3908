"""
The first steps of a training
=============================

A tiny network learns to find generated shapes. Each step looks at one picture: thin lines are
single steps, thick ones moving means, circles the mean of some validation pictures. The loss has
two terms: objectness tells objects from background, and the box term moves anchors to objects.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import minirpn
from minirpn import viz

with tempfile.TemporaryDirectory() as folder:
    run = minirpn.train(
        out=Path(folder) / "run",
        steps=60,
        synthetic={"images": 30},
        validation_images=5,
        validate_every=20,
        pictures=False,
        progress=False,
    )
    records = run.metrics

_, ax = plt.subplots(figsize=(5, 3.8), layout="constrained")
viz.plot_training(records, ax)
plt.show()
