"""
Why the box loss is smooth L1
=============================

Near 0 it is a parabola like L2, so its slope falls to 0 and the step becomes small. Far away it is
a straight line like L1, so one anchor that is far off does not outweigh all others. The paper has
sigma 1; the released code has sigma 3: there the line begins at 1/9.
"""

import matplotlib.pyplot as plt
import numpy as np

from minirpn import nn, viz

x = np.linspace(-2, 2, 401)
one = np.ones_like(x)
values = {"L2, half the square": x**2 / 2, "L1": np.abs(x)}
slopes = {"L2, half the square": x, "L1": np.where(x == 0, np.nan, np.sign(x))}
for sigma in (1, 3):
    name = f"smooth L1, sigma {sigma}"
    values[name], cache = nn.smooth_l1_forward(x, sigma=sigma)
    slopes[name] = nn.smooth_l1_backward(one, cache)

_, (upper, lower) = plt.subplots(2, 1, figsize=(5, 5.6), layout="constrained")
label = "delta of the network minus target (no unit)"
viz.plot_lines(x, values, upper, x_label=label, y_label="loss")
viz.plot_lines(x, slopes, lower, x_label=label, y_label="slope of the loss")
lower.get_legend().remove()
plt.show()
