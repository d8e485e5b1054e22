"""Everything that makes the shipped weights: run `python -m prefbench.bench.miniature.build --help`."""
