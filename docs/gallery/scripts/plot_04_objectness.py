"""
Where the network sees objects
==============================

At each cell of 16 x 16 pixels the network gives nine anchors the probability of an object. Each map
shows the anchors of one scale: of their three shapes, the best one of each cell. The large circle
lights up in the maps of the larger anchors, the small shapes in that of the smallest.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import minirpn
from minirpn import data, rpn, viz

model = minirpn.load("shapes")
with tempfile.TemporaryDirectory() as folder:
    root = data.generate(Path(folder) / "shapes", data.SyntheticConfig(images=15, seed=3))
    image = data.VOCDataset(root, split="trainval")[9].image
image = data.resize(image, data.resize_scale(image.shape[:2], model.config.resize))
pixels = model.rpn.backbone.preprocessing(image)
output, _ = model.rpn.forward(pixels[None])

Hf, Wf = output.features.shape[2:]
scores = rpn.object_scores(output.objectness[0]).reshape(Hf, Wf, 3, 3)  # row, column, ratio, scale
figure, axes = plt.subplots(2, 2, figsize=(5.2, 5), layout="constrained")
viz.draw_image(image, axes[0, 0], title="the picture")
for scale, (side, ax) in enumerate(zip((32, 64, 128), axes.flat[1:], strict=True)):
    viz.plot_objectness(scores[:, :, :, scale], image, ax, stride=model.rpn.stride)
    heat = ax.images[-1]
    heat.colorbar.remove()
    ax.set_title(f"anchors of area {side} x {side}", fontsize="medium")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
figure.colorbar(heat, ax=axes, location="bottom", label="probability of an object")
plt.show()
