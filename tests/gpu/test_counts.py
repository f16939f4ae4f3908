"""What the real CuPy asks of a card, counted, is within the limits of docs/explanation/devices.md.

MINIRPN_FAKE_CUDA names a folder whose ``bin/python`` has CuPy and the module ``fakegpu``, which
stands in for the driver and counts. Without it these tests are skipped: counting takes no card,
but that folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "devices.md"
FOLDER = "MINIRPN_FAKE_CUDA"
# What the page limits: how it names work and figure, and where the counts of the script have them.
FIGURES = {
    ("a step of VGG-16 in float32", "kernels and calls of libraries"): ("float32", "launches"),
    ("a step of VGG-16 in float32", "waits"): ("float32", "waits"),
    ("a step of VGG-16 in float32", "copies to the host"): ("float32", "to the host"),
    ("a step of VGG-16 in float32", "large arrays copied"): ("float32", "large copies"),
    ("a step of VGG-16 in TF32", "large arrays copied"): ("tf32", "large copies"),
    ("`propose` to 300 proposals", "waits"): ("propose", "waits"),
    ("`boxes.nms` of 12,000 boxes", "waits"): ("nms", "waits"),
}
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| (\d+) \|$")

SCRIPT = """
import collections, ctypes, json, math
import fakegpu
import cupy
from minirpn import boxes
from minirpn.bench import work
from minirpn.devices import open_device
from minirpn.training.config import ModelConfig, RunConfig, TrainConfig
from minirpn.training.trainer import Trainer

LARGE = 100_000  # elements
pool = cupy.cuda.MemoryPool()

def zeroed(size):  # as what is skipped leaves its result: a loss of 0, not one that is no number
    memory = pool.malloc(size)
    ctypes.memset(memory.ptr, 0, size)
    return memory

def counted(work, warm):
    for _ in range(warm):
        work()
    kernels, large = collections.Counter(), []

    def note(event):
        what, _, rest = event.partition(" ")
        if what == "library":
            kernels[rest.split(" [")[0]] += 1
        elif what == "launch":
            name, *sizes = rest.split(" ")
            kernels[name] += 1
            threads = [int(n) for size in sizes[:2] for n in size.partition("=")[2].split(",")]
            if name == "cupy_copy__float32_float32" and math.prod(threads) > LARGE:
                large.append(math.prod(threads))

    before = fakegpu.counts()
    fakegpu.watch(note)
    work()
    fakegpu.watch(None)
    change = {name: value - before[name] for name, value in fakegpu.counts().items()}
    return {
        "launches": change["launches"] + change["library"],
        "waits": sum(change[f"{what}_syncs"] for what in ("stream", "device", "event")),
        "to the host": change["d2h"],
        "large copies": len(large),
        "kernels": dict(kernels.most_common()),
        "large": large,
    }

found = {}
for precision in ("float32", "tf32"):
    device = open_device("cuda", tf32=precision == "tf32")
    cupy.cuda.set_allocator(zeroed)
    config = TrainConfig(model=ModelConfig(backbone="vgg16"), run=RunConfig(graphs=False))
    trainer = Trainer(config, device)
    image = device.put(work.noise_image())[0, ...]
    batch = work.minibatch_for(trainer, image)
    fakegpu.skip(True)
    step = lambda: work.take_checked_step(trainer, image, batch)
    found[precision] = counted(step, 3)
    fakegpu.skip(False)
    del trainer, image, batch, step
device = open_device("cuda")
cupy.cuda.set_allocator(None)
network = Trainer(TrainConfig(), device).network  # `tiny`: it waits after the features
image = device.put(work.noise_image())[0, ...]
work.scale_outputs(network, image)
assert network.propose(image).boxes.shape == (300, 4)
found["propose"] = counted(lambda: network.propose(image), 1)
ours, scores = map(device.put, work.scored_boxes(12_000))
nms = lambda: boxes.nms(ours, scores, iou_threshold=0.7, max_keep=2_000)
assert nms().shape == (2_000,)
found["nms"] = counted(nms, 1)
assert not fakegpu.faults(), fakegpu.last_fault()
print(json.dumps(found))
"""


def limits():
    """Return the rows of the page's table of counts."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition("\n## Counts\n")
    rows = [row.groups() for row in map(ROW.match, section.splitlines()) if row]
    return {(work, what): int(most) for work, what, most in rows}


@pytest.fixture(scope="module")
def counts():
    """Count, in a process of its own."""
    folder = os.environ.get(FOLDER)
    if not folder:
        pytest.skip(f"{FOLDER} is not set: no faked driver to count over")
    python = Path(folder) / "bin" / "python"
    if not python.is_file():
        pytest.fail(f"{FOLDER}: there is no {python}")
    ended = subprocess.run(
        [str(python), "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": str(ROOT), "FAKEGPU": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4_000:]
    return json.loads(ended.stdout.splitlines()[-1])


def test_the_page_limits_what_is_counted():
    assert set(limits()) == set(FIGURES)


@pytest.mark.parametrize(("work", "what"), FIGURES, ids=map(", ".join, FIGURES))
def test_no_more_than_the_page_says(counts, work, what):
    row, column = FIGURES[work, what]
    found = counts[row]
    listed = found["large"] if column == "large copies" else found["kernels"]
    assert found[column] <= limits()[work, what], listed
