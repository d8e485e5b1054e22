"""Who votes on what: tie rule and tolerance, what a checkpoint was trained against, accuracies of the voters."""
