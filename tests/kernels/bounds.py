"""Runs all kernels of a library whose every access to memory is watched; see test_bounds.py."""

import runpy
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

SHIM, EQUAL = (
    runpy.run_path(str(Path(__file__).with_name(name))) for name in ("shim.py", "equal.py")
)


def run(machine, operation):
    """Run the cases of an operation, whose arrays have sizes of any kind."""

    @settings(max_examples=10, deadline=None, database=None, derandomize=True)
    @given(data=st.data())
    def check(data):
        EQUAL["any_arguments"](machine, operation, data.draw)

    check()
    print(operation.name)


if __name__ == "__main__":
    # Without guards: an array ends where its memory does.
    on_cpu = EQUAL["Machine"](lambda array: array, SHIM["OnCpu"](sys.argv[1], guard=0))
    for operation in EQUAL["OPERATIONS"]:
        run(on_cpu, operation)
