"""The documentation: pages, the extensions that build them, and `docs.figures`."""
