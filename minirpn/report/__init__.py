"""One page about a training run, which opens offline and can be sent to someone."""

from minirpn.report.metrics import read_metrics
from minirpn.report.write import write_report

__all__ = ["read_metrics", "write_report"]
