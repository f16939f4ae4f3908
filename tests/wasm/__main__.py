"""``python -m tests.wasm [PYTEST ARGUMENT...]``: run tests in the browser's Python, in Node."""

from __future__ import annotations

import sys

from tests.wasm.node import LackingError, run


def main() -> int:
    """Run the chosen tests, or those that the arguments name."""
    try:
        done = run(sys.argv[1:])
    except LackingError as reason:
        print(reason, file=sys.stderr)
        return 2
    print(done.stdout, done.stderr, sep="\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
