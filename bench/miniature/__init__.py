"""bench/miniature."""
