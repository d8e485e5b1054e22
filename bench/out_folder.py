"""Whether an output folder can be written: asked before hours of work."""

import contextlib
import tempfile
from pathlib import Path

from prefbench.bench.exceptions import UsageError

__all__ = ["check_out"]


def check_out(out: Path) -> None:
    """Make the folder and a file in it, then take away what was made.

    Raises:
        UsageError: that is not possible, or `out` is a file.
    """
    made: list[Path] = []
    try:
        made = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        reason = _what_it_is(out) or error.strerror
        raise UsageError(
            f"--out {out} cannot be written: {reason}. Give a folder, new or of an earlier run, in a place where you "
            "may write."
        ) from None
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _what_it_is(path: Path) -> str | None:
    try:
        if path.is_symlink() and not path.exists():
            return "it is a link that leads nowhere"
        return "it is a file" if path.is_file() else None
    except OSError:
        return None
