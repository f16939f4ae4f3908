"""AdamW moves parameters as PyTorch's does."""

import numpy as np
import pytest

from minirpn import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: peers)")


@pytest.mark.parametrize("weight_decay", [0.0, 0.01, 0.5])
def test_twenty_steps(weight_decay, rng):
    value = rng.normal(size=(3, 4))
    ours, theirs = nn.Parameter("w", value), torch.nn.Parameter(torch.tensor(value))
    optimizer = nn.AdamW([ours], weight_decay=weight_decay)
    other = torch.optim.AdamW([theirs], weight_decay=weight_decay)
    for step in range(20):
        grad = rng.normal(size=(3, 4))
        lr = 0.1 if step < 15 else 0.01
        optimizer.step({"w": grad}, lr=lr)
        theirs.grad = torch.tensor(grad)
        other.param_groups[0]["lr"] = lr
        other.step()
        np.testing.assert_allclose(ours.value, theirs.detach().numpy(), rtol=1e-10)
