"""One page about a training run, which opens offline and can be sent to someone."""

from minirpn.report.contents import read_metrics
from minirpn.report.page import write_report

__all__ = ["read_metrics", "write_report"]
