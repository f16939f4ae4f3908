"""The ladders: one file an operation, its rungs from plain loops to the fastest.

`use_rung` forces a rung, for teaching, debugging and tests; `available` lists what this machine
has. The public functions live one layer up (`minirpn.boxes`, `minirpn.nn`, `minirpn.rpn`).
"""

from minirpn.kernels._ladder import Ladder, Rung, available, ladders, use_rung

__all__ = ["Ladder", "Rung", "available", "ladders", "use_rung"]
