"""
What the network should answer
==============================

In training each anchor gets a label. It is positive if its IoU with an object is at least 0.7, or
if no other anchor fits an object better. It is negative if its IoU is below 0.3 with every object.
The rest is ignored. Most anchors are negative, so only some of those are drawn.
"""

import matplotlib.pyplot as plt

from minirpn import data, rpn, samples, viz

cells = data.VOCDataset(samples.BLOOD, split="trainval")
image, truth = cells[3].image, cells[3].annotation
config = rpn.AnchorConfig(scales=(2.5, 6.375, 11.625), ratios=(0.84, 1, 1.2))
anchors = rpn.grid_anchors(rpn.base_anchors(config), (30, 40), 16)
labels = rpn.label_anchors(anchors, truth.gt_boxes.astype(float), truth.image_size)

_, ax = plt.subplots(figsize=(5, 4.8), layout="constrained")
viz.draw_labels(image, anchors, labels.labels, truth.gt_boxes, labels.by_best, ax)
plt.show()
