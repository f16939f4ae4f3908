"""
How many objects do the proposals find?
=======================================

The model ``shapes`` looks at 20 new generated pictures. An object counts as found if one of the
first proposals of its picture has at least this IoU with it. With more proposals more objects are
found. Few proposals fit so well that their IoU is 0.9.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import minirpn
from minirpn import data, viz

model = minirpn.load("shapes")
with tempfile.TemporaryDirectory() as folder:
    pictures = data.SyntheticConfig(images=100, seed=7)
    shapes = data.generate(Path(folder) / "shapes", pictures)
    measured = model.evaluate(shapes, split="test")

_, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
viz.plot_recall(measured.recall, ax)
plt.show()
