"""The attack as a command: ``python -m tests.attack``; `tests.attack.run` describes it."""

import os
import sys

# One thread each: before NumPy is imported.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")

if __name__ == "__main__":
    from tests.attack.run import main

    sys.exit(main())
