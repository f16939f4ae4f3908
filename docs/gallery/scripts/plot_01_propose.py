"""
Proposals for a photograph
==========================

The model ``voc-small`` comes with minirpn. For each picture it returns up to 300 boxes where an
object may be, the best first. Here are the five best, each with its score: the probability of an
object. The proposals know no classes; that is the work of a detector.
"""

import matplotlib.pyplot as plt

import minirpn
from minirpn import samples, viz

model = minirpn.load("voc-small")
found = model.propose(samples.photos()["coffee"])
best = found.top(5)

_, ax = plt.subplots(figsize=(5, 3.8), layout="constrained")
colors = ["tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:cyan"]
viz.draw_boxes(best.boxes, ax, image=best.pixels(), scores=best.scores, colors=colors, linewidth=2)
ax.set_title(f"the 5 best of {len(found)} proposals", fontsize="medium")
plt.show()
