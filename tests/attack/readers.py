"""Every reader of minirpn: importing this module enters them in `READERS`.

Not attacked is what runs the user's own code: ``python -m minirpn.testing FILE.py``.
"""

from __future__ import annotations

from tests.attack import readers_of_files, readers_of_runs
from tests.attack.reading import READERS

__all__ = ["READERS", "readers_of_files", "readers_of_runs"]
