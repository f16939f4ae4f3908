"""How fast minirpn is on this machine, compared with every peer that is installed.

`rows` are what is measured on a device, `run_row` measures one; ``minirpn bench`` prints them.
"""

from minirpn.bench.table import Row, RowResult, precision, rows, run_row

__all__ = ["Row", "RowResult", "precision", "rows", "run_row"]
