"""Where a run's results live: content-addressed images and the SQLite ledger."""
