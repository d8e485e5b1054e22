"""Human votes on pairs of checkpoints: read, weighed annotator by annotator, and made one more scorer."""
