"""reference_trainers."""
