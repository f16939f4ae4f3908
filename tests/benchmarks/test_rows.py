"""The rows of ``minirpn bench``, each implementation on its own, for pytest-benchmark's tables.

Left out by default; ``pytest tests/benchmarks --benchmark-only`` runs it.
"""

import pytest

from minirpn import bench

PEERS = ("minirpn", "torch", "torchvision", "powerboxes", "cython_bbox", "pycocotools")
TIMED = [row for row in bench.rows() if row.unit == "s"]


@pytest.mark.parametrize("implementation", PEERS)
@pytest.mark.parametrize("row", TIMED, ids=[row.name for row in TIMED])
def test_row(benchmark, row, implementation):
    contenders = row.contenders(peers=implementation != "minirpn")
    if implementation not in contenders:
        pytest.skip(f"{implementation} is not installed, or has no part in this row")
    benchmark.pedantic(contenders[implementation], rounds=5, warmup_rounds=1)
