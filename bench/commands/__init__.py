"""bench/commands."""
