"""What Node runs in Pyodide: pytest, with the arguments of the command line."""

import sys

import pytest

OPTIONS = [
    *("-o", "addopts=", "-ra", "--strict-config", "--strict-markers", "--import-mode=importlib"),
    *("-p", "no:cacheprovider"),
    # A file that is deleted while it is open, in which pytest catches output, is not to be had.
    "--capture=sys",
    "--hypothesis-profile=browser",
]
int(pytest.main([*OPTIONS, *sys.argv[1:]]))
