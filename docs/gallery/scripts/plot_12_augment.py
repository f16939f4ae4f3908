"""
More pictures from the same ones
================================

A training may mirror each picture, zoom it and change its colours. The boxes go with the pixels.
The changes are drawn at random, here with more zoom and colour than is useful, so that they show.
"""

import matplotlib.pyplot as plt
import numpy as np

from minirpn import boxes, data, samples, viz

sample = data.VOCDataset(samples.BLOOD, split="trainval")[0]
config = data.AugmentConfig(scale_jitter=0.5, colour_jitter=0.4)
changes = [data.AS_IS, *config.draw(3, np.random.default_rng(1))]

_, axes = plt.subplots(2, 2, figsize=(5.2, 4.6), layout="constrained")
for ax, change in zip(axes.flat, changes, strict=True):
    image, objects = sample.image, sample.annotation.gt_boxes
    if change.flip:
        image, objects = data.flip_image(image), boxes.flip(objects, image.shape[1])
    image = data.recolour(data.resize(image, change.zoom), change)
    viz.draw_boxes(objects * change.zoom, ax, image=image)
    ax.set(xlim=(0, 960), ylim=(720, 0))
    words = "as it is" if change == data.AS_IS else f"zoom {change.zoom:.2f}"
    ax.set_title(words + ", mirrored" * change.flip, fontsize="medium")
    ax.label_outer()
plt.show()
