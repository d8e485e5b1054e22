"""Votes, win rates, intervals, agreement of scorers: numpy in, numpy out, no files."""
