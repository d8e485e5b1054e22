"""Checkpoints: what turns (prompt, seed) into an image.

`open_checkpoint(name, spec)` in `prefbench.bench.checkpoints.opening` reads a SPEC; see there for its
grammar.
"""
