"""How fast minirpn is on this machine, beside every peer that is installed.

`rows` are what is measured, `run_row` measures one; ``minirpn bench`` prints them.
"""

from minirpn.bench.rows import Row, rows
from minirpn.bench.run import RowResult, run_row

__all__ = ["Row", "RowResult", "rows", "run_row"]
