"""
Non-maximum suppression
=======================

Many anchors find the same object. NMS keeps the best box, drops every box whose IoU with it is
above a threshold, and goes on with the next best that is left. A low threshold drops more. For
proposals it is 0.7: the detector may still choose.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import minirpn
from minirpn import boxes, data, viz

model = minirpn.load("shapes")
with tempfile.TemporaryDirectory() as folder:
    root = data.generate(Path(folder) / "shapes", data.SyntheticConfig(images=15, seed=3))
    image = data.VOCDataset(root, split="trainval")[9].image
found = model.propose(image, iou_threshold=1.0, post_nms=30)  # 1.0 drops nothing

_, axes = plt.subplots(2, 2, figsize=(5.2, 4.4), layout="constrained")
viz.draw_boxes(found.boxes, axes[0, 0], image=image, colors="yellow")
axes[0, 0].set_title(f"before: the {len(found)} best", fontsize="medium")
for ax, threshold in zip(axes.flat[1:], (0.9, 0.7, 0.3), strict=True):
    kept = boxes.nms(found.boxes, found.scores, iou_threshold=threshold)
    viz.draw_boxes(found.boxes[kept], ax, image=image, colors="yellow")
    ax.set_title(f"threshold {threshold:g}: {len(kept)} left", fontsize="medium")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
plt.show()
