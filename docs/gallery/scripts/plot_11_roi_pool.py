"""
Regions of any size become 7 x 7
================================

The detector wants every region in the same size. RoI pooling divides the part of the feature map
under a box into 7 x 7 bins, and takes the largest value of each bin. Bins end at whole cells
of 16 pixels. Below are the results for one of the channels: the small region has 8 x 8 cells, so
each bin is two cells wide and shares one with the next.
"""

import matplotlib.pyplot as plt
import numpy as np

import minirpn
from minirpn import data, nn, samples, viz

model = minirpn.load("voc-small")
image = data.read_image(samples.photos()["chelsea"])
image = data.resize(image, data.resize_scale(image.shape[:2], model.config.resize))
features = model.features(image)
regions = np.array([[80.0, 32, 352, 256], [128, 64, 240, 176]])
pooled, _ = nn.roi_pool_forward(features, regions, output_size=7, stride=16)
channel = features.var(axis=(1, 2)).argmax()

figure, axes = plt.subplot_mosaic("AA;BC", figsize=(5, 5.6), layout="constrained")
viz.draw_boxes(regions, axes["A"], image=image, colors=["tab:blue", "tab:orange"], linewidth=3)
for name, values, color in zip("BC", pooled, ("tab:blue", "tab:orange"), strict=True):
    axes[name].imshow(values[channel], vmin=0, vmax=features[channel].max())
    axes[name].set(xlabel="bin", ylabel="bin", xticks=range(7), yticks=range(7))
    axes[name].spines[:].set(color=color, linewidth=3)
plt.show()
