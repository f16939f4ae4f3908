"""
The nine anchors of a cell
==========================

A cell of the feature map covers 16 x 16 pixels. Its nine anchors have three areas and three ratios
of height to width, and one center. Every cell has the same nine, moved to its own place: this
photograph has 1,024 cells, so 9,216 anchors.
"""

import matplotlib.pyplot as plt

from minirpn import data, rpn, samples, viz

image = data.read_image(samples.photos()["astronaut"])
config = rpn.AnchorConfig(scales=(4, 10, 20))  # times 16: sides of 64, 160 and 320 pixels
base = rpn.base_anchors(config)
anchors = rpn.grid_anchors(base, (32, 32), 16).reshape(32, 32, 9, 4)

_, ax = plt.subplots(figsize=(5, 5), layout="constrained")
viz.draw_anchors(image, anchors[16, 15], ax)
ax.set_title("the anchors of the cell in row 16, column 15", fontsize="medium")
plt.show()
