"""The ledger's schema as numbered steps. Never edit one that was released: append.

Each step runs in one transaction together with the row that records it, so a ledger is at a whole version or
at the one before.
"""

__all__ = ["MIGRATIONS"]

_FIRST = (
    """CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID""",
    # Order of a run's checkpoints; the first is the baseline.
    """CREATE TABLE checkpoints (
        name TEXT PRIMARY KEY,
        position INTEGER NOT NULL UNIQUE,
        spec TEXT NOT NULL,
        identity TEXT NOT NULL
    ) WITHOUT ROWID""",
    # One row a stored PNG. made_with: device, batch size and versions, as JSON; it informs and is part of no
    # key.
    """CREATE TABLE images (
        key TEXT PRIMARY KEY,
        pixels TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        made_with TEXT NOT NULL
    ) WITHOUT ROWID""",
    # Two samples share an image where a prompt set repeats a text.
    """CREATE TABLE samples (
        checkpoint TEXT NOT NULL REFERENCES checkpoints (name),
        prompt_id TEXT NOT NULL,
        seed INTEGER NOT NULL,
        image TEXT NOT NULL REFERENCES images (key),
        PRIMARY KEY (checkpoint, prompt_id, seed)
    ) WITHOUT ROWID""",
    """CREATE TABLE scores (
        key TEXT PRIMARY KEY,
        scorer TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        score REAL NOT NULL
    ) WITHOUT ROWID""",
)

_DRAWINGS = (
    # One row a batch that was drawn, for how long sampling takes. `identity` is that of the checkpoint as it was: a name may
    # come to stand for other weights until all its images are drawn. warm_up: the first batch after loading.
    """CREATE TABLE drawings (
        number INTEGER PRIMARY KEY,
        checkpoint TEXT NOT NULL,
        identity TEXT NOT NULL,
        made_with TEXT NOT NULL,
        hardware TEXT NOT NULL,
        warm_up INTEGER NOT NULL,
        images INTEGER NOT NULL,
        seconds REAL NOT NULL
    )""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _DRAWINGS)
"""MIGRATIONS[i] takes a ledger from version i to version i + 1."""
