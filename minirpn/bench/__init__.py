"""How fast minirpn is on this machine, beside every peer that is installed.

`rows` of a device are what is measured, `run_row` measures one; ``minirpn bench`` prints them.
"""

from minirpn.bench.rows import Row, precision, rows
from minirpn.bench.run import RowResult, run_row

__all__ = ["Row", "RowResult", "precision", "rows", "run_row"]
