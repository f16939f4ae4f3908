"""How much memory a training step takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from minirpn.bench.peers import peer

STEPS = 2  # the second has the momentum, and whatever else the first has left behind
WHO = {
    "minirpn": "step_contenders('{backbone}', peers=False)['minirpn']",
    "torch": "twin_alone('{backbone}')",
}
# Imports come before the first reading: what a framework is, is not what its step takes.
CODE = """
{imports}
from minirpn.bench.networks import step_contenders
from minirpn.bench.memory import peak_of_process, twin_alone
before = peak_of_process()
step = {step}
for _ in range({steps}):
    step()
print(peak_of_process() - before)
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
    from minirpn.bench.twin import Twin, tensor

    twin, images = Twin(new_trainer(backbone).network), tensor(picture())
    return lambda: twin.step(images)


def peak_of_process() -> int:
    """Return the most memory that this process has had so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where `getrusage` begins with what the parent process had
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _peak_of(name: str, backbone: str) -> int:
    imports = "import torch" if name == "torch" else "import numba"
    step = WHO[name].format(backbone=backbone)
    code = CODE.format(imports=imports, step=step, steps=STEPS)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RuntimeError((ended.stderr.strip().splitlines() or ["no words"])[-1])
    return int(ended.stdout)
