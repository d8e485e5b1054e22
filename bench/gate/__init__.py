"""The gate: rules over a run or a scores table, decided as pass, fail or inconclusive."""
