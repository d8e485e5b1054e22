"""reference_trainers/preferences."""
