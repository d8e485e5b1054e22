"""Programs that run inside the originals' environments: they import nothing of prefbench."""
