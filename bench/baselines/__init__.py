"""Stored baselines: one checkpoint's scores under a name, in a folder that can be committed, and their course over releases."""
