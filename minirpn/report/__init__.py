"""One page about a training run, which opens offline and can be sent to someone."""

from minirpn.report.page import write_report
from minirpn.report.records import read_metrics

__all__ = ["read_metrics", "write_report"]
