"""
How quickly IoU falls
=====================

IoU is the area that two boxes share, over the area that they cover together. On the left, the
second box is as large as the first, and moved. On the right, it has the same center and other
sides. An anchor that is a quarter of its width away has only an IoU of 0.6, too little for a
positive label (0.7).
"""

import matplotlib.pyplot as plt
import numpy as np

from minirpn import boxes

SIDE = 100
box = np.array([[-SIDE / 2, -SIDE / 2, SIDE / 2, SIDE / 2]])
shift = np.linspace(-70, 70, 201)
dx, dy = np.meshgrid(shift, shift)
moved = box + np.stack([dx, dy, dx, dy], axis=-1).reshape(-1, 4)
size = np.linspace(20, 220, 201)
w, h = np.meshgrid(size, size)
resized = np.stack([-w, -h, w, h], axis=-1).reshape(-1, 4) / 2

figure, axes = plt.subplots(1, 2, figsize=(5.2, 3.3), layout="constrained")
cases = (shift, moved, "moved by {} (pixels)"), (size, resized, "{} of the box (pixels)")
for ax, (ticks, others, label) in zip(axes, cases, strict=True):
    overlap = boxes.iou(others, box).reshape(len(ticks), len(ticks))
    heat = ax.pcolormesh(ticks, ticks, overlap, vmin=0, vmax=1)
    lines = ax.contour(ticks, ticks, overlap, [0.3, 0.5, 0.7], colors="white")
    ax.clabel(lines, fmt="%g")
    x, y = ("x", "y") if ticks is shift else ("width", "height")
    ax.set(xlabel=label.format(x), ylabel=label.format(y), aspect="equal")
figure.colorbar(heat, ax=axes, location="bottom", label="IoU with a box of 100 x 100 pixels")
plt.show()
