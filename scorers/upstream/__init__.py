"""The original packages, each in an environment of its own, as processes that score."""
