"""Whether an output folder can be written, and may be: asked before hours of work."""

import contextlib
import json
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from prefbench.bench.exceptions import UsageError

__all__ = ["check_only_own", "check_out", "check_own_folder", "check_replaceable"]


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


def check_replaceable(out: Path) -> None:
    """Refuse the current folder to a command that puts a new folder in the place of an old one.

    Raises:
        UsageError: also where `out` cannot be written.
    """
    check_out(out)
    if out.resolve() == Path.cwd():
        raise UsageError(
            f"--out {out} is the folder you are in, and this command replaces its folder as a whole: your shell would be left "
            "in one that is gone. Give --out a name inside it, or another place."
        )


def check_only_own(out: Path, command: str, written: Collection[str]) -> None:
    """Refuse a folder that a command would replace as a whole, and that holds more than this command writes.

    Args:
        out: folder to write, new or not.
        command: that writes it, for the message.
        written: names of its files.

    Raises:
        UsageError: as `check_replaceable`, or there is something else in `out`.
    """
    check_replaceable(out)
    _refuse_foreign(out, command, [path.name for path in _inside(out) if path.name not in written])


def check_own_folder(
    out: Path, command: str, marker: str, keys: Collection[str], besides: Collection[str] = ()
) -> None:
    """Refuse a folder in which a command would replace what something else wrote.

    Args:
        out: folder to write, new or not.
        command: that writes it, for the message.
        marker: JSON file of an earlier call, by which the folder is known.
        keys: that stand in the marker's dict.
        besides: names that may be there without the marker: what a killed call leaves.

    Raises:
        UsageError: `out` cannot be written, or holds files and no marker.
    """
    check_out(out)
    if not _holds(out / marker, keys):
        _refuse_foreign(out, command, [path.name for path in _inside(out) if path.name not in besides])


def _inside(out: Path) -> list[Path]:
    return sorted(out.iterdir()) if out.is_dir() else []


def _refuse_foreign(out: Path, command: str, names: Sequence[str]) -> None:
    if names:
        raise UsageError(
            f"The folder {out} holds something that `prefbench {command}` did not write "
            f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}). Give --out a new or empty folder, or one "
            f"of an earlier `prefbench {command}`."
        )


def _holds(marker: Path, keys: Collection[str]) -> bool:
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and set(keys) <= set(found)


def _what_it_is(path: Path) -> str | None:
    try:
        if path.is_symlink() and not path.exists():
            return "it is a link that leads nowhere"
        return "it is a file" if path.is_file() else None
    except OSError:
        return None
