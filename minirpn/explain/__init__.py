"""One training step opened up: every quantity of equation 1, anchor by anchor, on a page."""

from minirpn.explain.page import write_page
from minirpn.explain.source import Picture, find_picture
from minirpn.explain.step import (
    KEPT,
    NOT_REACHED,
    Learning,
    OpenStep,
    Ranking,
    Rule,
    Terms,
    class_losses,
    open_step,
    rank_proposals,
    rules_of,
    terms_of,
)

__all__ = [
    "KEPT",
    "NOT_REACHED",
    "Learning",
    "OpenStep",
    "Picture",
    "Ranking",
    "Rule",
    "Terms",
    "class_losses",
    "find_picture",
    "open_step",
    "rank_proposals",
    "rules_of",
    "terms_of",
    "write_page",
]
