"""
Four numbers move an anchor
===========================

The network does not answer with corners but with deltas (equation 2 of the paper): ``tx`` and
``ty`` move the center of the anchor by so many widths and heights, ``tw`` and ``th`` are logarithms
of factors of its sides. Each picture changes one of them; the dashed box is the anchor.
"""

import matplotlib.pyplot as plt
import numpy as np

from minirpn import boxes, viz

anchor = np.array([[-60.0, -40, 60, 40]])
values = np.array([-0.6, -0.3, 0.3, 0.6])
colors = plt.get_cmap("coolwarm")([0.0, 0.25, 0.75, 1.0])

figure, axes = plt.subplots(2, 2, figsize=(5, 4.4), layout="constrained", sharex=True, sharey=True)
for place, (ax, name) in enumerate(zip(axes.flat, ("tx", "ty", "tw", "th"), strict=True)):
    deltas = np.zeros((4, 4))
    deltas[:, place] = values
    ax.set(xlim=(-145, 145), ylim=(100, -100), aspect="equal")
    ax.set(title=name, xlabel="x (pixels)", ylabel="y (pixels)")
    viz.draw_boxes(boxes.decode(anchor, deltas), ax, colors=colors, linewidth=2)
    viz.draw_boxes(anchor, ax, colors="black", linestyle="--")
    ax.label_outer()
for value, color in zip(values, colors, strict=True):
    ax.plot([], color=color, label=f"{value:+g}")
figure.legend(loc="outside upper center", ncols=4, title="value of the delta")
plt.show()
