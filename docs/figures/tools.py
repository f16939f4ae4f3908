"""What a figure says when a program that it needs is not there."""

from __future__ import annotations


class ToolMissingError(Exception):
    """A program or package that draws a figure is not installed; the message names it."""
