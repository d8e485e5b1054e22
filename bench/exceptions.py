"""Every error a user can mend.

    PrefbenchError            exit code 2, printed as one paragraph, no traceback
    ├── UsageError            an unknown name, an option that does not fit
    ├── DataError             a file, row or number that cannot be used as it is
    │   └── DivergedError     training: the loss or the gradient is not finite
    ├── MissingDependencyError
    ├── MissingWeightsError   weights that are absent, or do not fit the architecture
    ├── LedgerError           a run folder that cannot be read or continued
    ├── UpstreamError         an original package's process died, hung or answered rubbish
    └── StoppedError          exit code 130: Ctrl-C, where a command has something of its own to say about it

A message says what happened, where (file, row, key, value) and what to do.
"""

__all__ = [
    "DataError",
    "DivergedError",
    "LedgerError",
    "MissingDependencyError",
    "MissingWeightsError",
    "PrefbenchError",
    "StoppedError",
    "UpstreamError",
    "UsageError",
]


class PrefbenchError(Exception):
    """Something the user can mend; the command line prints it and exits with `exit_code`."""

    exit_code = 2


class UsageError(PrefbenchError):
    """A name, option or combination of options that does not exist."""


class DataError(PrefbenchError):
    """Input that cannot be used as it is: missing, malformed, non-finite, of the wrong hash."""


class DivergedError(DataError):
    """A training run whose loss or gradient is not finite: a finding about its settings, where they are compared."""


class MissingDependencyError(PrefbenchError):
    """A package or program that this command needs is not installed."""


class MissingWeightsError(PrefbenchError):
    """Weights that are absent, corrupt, of the wrong hash, or do not fit the architecture."""


class LedgerError(PrefbenchError):
    """A run folder whose ledger cannot be opened or does not belong to this suite."""


class UpstreamError(PrefbenchError):
    """The process of an original package died, hung or answered rubbish, and did so again after a restart."""


class StoppedError(PrefbenchError):
    """Ctrl-C: what is kept and what is not."""

    exit_code = 130
