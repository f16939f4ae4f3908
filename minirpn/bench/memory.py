"""How much memory a training step takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from minirpn.bench.peers import peer

STEPS = 2  # the second has the momentum, and whatever else the first has left behind
WHO = {
    "minirpn": "step_contenders('{backbone}', peers=False)['minirpn']",
    "torch": "twin_alone('{backbone}')",
}
# Imports come before the first reading: what a framework is, is not what its step takes.
CODE = """
import resource
{imports}
from minirpn.bench.networks import step_contenders
from minirpn.bench.memory import twin_alone
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
step = {step}
for _ in range({steps}):
    step()
print((peak() - before) * 1024)
"""


def peak_bytes(backbone: str, *, peers: bool) -> dict[str, int]:
    """Return what a training step adds to the memory of a process, at its peak, in bytes.

    Raises
    ------
    RuntimeError
        The process failed; its last words are the message.
    """
    names = ["minirpn", "torch"] if peers and peer("torch") else ["minirpn"]
    return {name: _peak_of(name, backbone) for name in names}


def twin_alone(backbone: str) -> object:
    """Return the step of PyTorch's twin, its original gone."""
    from minirpn.bench.networks import new_trainer, picture
    from minirpn.bench.twin import Twin

    twin, images = Twin(new_trainer(backbone).network), picture()
    return lambda: twin.step(images)


def _peak_of(name: str, backbone: str) -> int:
    imports = "import torch" if name == "torch" else "import numba"
    step = WHO[name].format(backbone=backbone)
    code = CODE.format(imports=imports, step=step, steps=STEPS)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError((ended.stderr.strip().splitlines() or ["no words"])[-1])
    return int(ended.stdout)
