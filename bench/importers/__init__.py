"""bench/importers."""
