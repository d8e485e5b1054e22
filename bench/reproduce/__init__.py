"""Reproductions: does a published method beat the base and its control, under the same rules for all."""
