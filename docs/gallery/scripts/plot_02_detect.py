"""
Objects and their classes
=========================

``voc-small`` also has a detector: it looks at each proposal, and gives it a class and a better box.
Detections with a score above 0.8 are shown.
"""

import matplotlib.pyplot as plt

import minirpn
from minirpn import samples

model = minirpn.load("voc-small")
found = model.detect(samples.photos()["astronaut"], score_threshold=0.8)

_, ax = plt.subplots(figsize=(4.6, 4.6), layout="constrained")
found.plot(ax)
plt.show()

# %%
# An object may fill the whole picture.

found = model.detect(samples.photos()["chelsea"], score_threshold=0.8)

_, ax = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
found.plot(ax)
plt.show()
