"""Pytest looks for no doctests in `inside.py`, which runs pytest when it is imported, in Node."""

collect_ignore = ["inside.py"]
