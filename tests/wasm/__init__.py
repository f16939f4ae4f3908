"""The tests that run in the browser's Python: Pyodide, in Node, without a browser."""
