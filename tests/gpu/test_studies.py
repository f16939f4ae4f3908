"""The study of numerics looks at the same anchors on a device as on the host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minirpn.data import VOCDataset
from minirpn.studies import Measured
from minirpn.studies.numerics import first_steps
from minirpn.training.build import load_network


@pytest.mark.slow
def test_labels_and_samples_of_the_first_steps(
    run, config_of, device, same_arithmetic, shapes, monkeypatch
):
    found = {}
    for name in ("cpu", "cuda"):
        config = config_of("rpn-only", 6)
        with same_arithmetic():
            folder = run(name, config)
            if name == "cuda":
                monkeypatch.setattr(
                    "minirpn.studies.numerics.open_device", lambda name, device=device: device
                )
            network, stored = load_network(folder.path)
            stored = replace(stored, run=replace(stored.run, device=name))
            measured = Measured(folder, stored, network, VOCDataset(shapes, split="val"), None)
            found[name] = first_steps(measured)
    assert found["cpu"]["labels"] == found["cuda"]["labels"]
    assert found["cpu"]["sampled"] == found["cuda"]["sampled"]
