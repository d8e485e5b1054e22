"""Judge the judges: how well scorers agree with people, and people with one another."""
