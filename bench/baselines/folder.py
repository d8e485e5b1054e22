"""A folder of baselines: save, find, list. Nothing else lives in it but hidden files and a README."""

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from prefbench.bench import atomic
from prefbench.bench.baselines import DEFAULT_FOLDER
from prefbench.bench.baselines.source import SCORES, read_source
from prefbench.bench.baselines.stored import (
    RECORD,
    StoredBaseline,
    checkpoint_rows,
    parquet_bytes,
    read_stored,
    record_of,
)
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.registry import unknown_name

__all__ = ["check_name", "find_baselines", "load_baseline", "names_in", "save_baseline"]

LONGEST = 64

RESERVED = ("first", "previous")
"""What `prefbench history --against` means by these words."""

DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""What Windows keeps for devices, also with an ending: a repository with such a folder cannot be checked out there.
(Microsoft, "Naming Files, Paths, and Namespaces".)"""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._+-]*[A-Za-z0-9_+-])?")


def check_name(name: str) -> None:
    """Refuse a name that is no folder name on every system.

    Raises:
        UsageError: what is allowed.
    """
    if name in RESERVED:
        raise UsageError(
            f"{name!r} cannot be the name of a baseline: `prefbench history --against {name}` means something else."
        )
    if DEVICES.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a baseline: it becomes a folder, and Windows keeps this name for a device. Give "
            "another, for example sd15-2026-11."
        )
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}… ({len(name)} characters)"
        raise UsageError(
            f"{shown!r} cannot be the name of a baseline: it becomes a folder. Use 1 to {LONGEST} letters, digits and . _ + - "
            "beginning with a letter or digit and not ending with a dot, for example sd15-2026-11."
        )


def save_baseline(
    run: Path,
    name: str,
    *,
    checkpoint: str | None = None,
    folder: Path = DEFAULT_FOLDER,
    replace: bool = False,
    now: datetime | None = None,
) -> StoredBaseline:
    """Store one checkpoint's scores of a run under a name, whole or not at all.

    Args:
        run: folder of `bench`, `compare` or `score`, or a scores table.
        name: of the baseline.
        checkpoint: which one; None where there is one only.
        folder: of baselines; made if it does not exist.
        replace: whether a baseline of this name may be replaced.
        now: time of saving, None for the clock's.

    Raises:
        DataError: scores that cannot be used or are missing.
        UsageError: an unknown checkpoint, a bad or taken name, or a folder with something else in it.
    """
    check_name(name)
    target = folder / name
    for there in names_in(folder) if folder.exists() else []:
        if there.casefold() == name.casefold() and (there != name or not replace):
            taken = (
                "is there already"
                if there == name
                else f"and {there!r} are one folder on systems that do not mind case"
            )
            remedy = "Give another name, or --replace." if there == name else "Give another name."
            raise UsageError(f"A baseline {name!r} {taken}, in {folder}. {remedy}")
    if target.is_dir():
        foreign = sorted(path.name for path in target.iterdir() if path.name not in (RECORD, SCORES))
        if foreign:
            raise UsageError(
                f"{target} holds something that `prefbench baseline save` did not write ({', '.join(foreign[:3])}). Move it away."
            )
    source = read_source(run)
    chosen = source.only_checkpoint(checkpoint)
    scores = checkpoint_rows(source, chosen, name)
    data = parquet_bytes(scores)
    record = record_of(name, source, chosen, scores, data, now)
    with atomic.new_folder(target) as work:
        atomic.write_bytes(work / SCORES, data)
        atomic.write_json(work / RECORD, record)
    return read_stored(target)


def names_in(folder: Path) -> list[str]:
    """Names of the baselines in a folder, sorted; hidden files and README* are passed over.

    Raises:
        DataError: there is no such folder.
        UsageError: it holds something else.
    """
    if folder.is_file():
        raise DataError(f"{folder} is a file. Give --folder a folder, new or with baselines in it.")
    if not folder.is_dir():
        raise DataError(
            f"There is no folder of baselines at {folder}. `prefbench baseline save RUN --name NAME --folder {folder}` makes it."
        )
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "README")))
    foreign = [path.name for path in entries if not (path / RECORD).is_file()]
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise UsageError(
            f"{folder} is no folder of baselines: {', '.join(foreign[:3])}{more} in it "
            f"{'is' if len(foreign) == 1 else 'are'} none. Keep baselines in a folder of their own (hidden files and a README "
            "may lie there too)."
        )
    return [path.name for path in entries]


def load_baseline(name_or_path: str | Path, folder: Path = DEFAULT_FOLDER) -> StoredBaseline:
    """A stored baseline, checked.

    Args:
        name_or_path: its name in `folder`, or the path of its own folder (recognised by a separator).
        folder: of baselines.

    Raises:
        UsageError: no baseline of this name, or a path that is none.
        DataError: a baseline that is damaged, was changed, or is of a newer format.
    """
    text = str(name_or_path)
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or len(path.parts) > 1 or text in (".", ".."):
        if not path.exists():
            raise DataError(
                f"There is no baseline at {path}. Give the folder that `prefbench baseline save` made."
            )
        return read_stored(path)
    check_name(text)
    known = names_in(folder)
    if text not in known:
        raise unknown_name(f"baseline in {folder}", text, known)
    return read_stored(folder / text)


def find_baselines(given: Sequence[str], folder: Path = DEFAULT_FOLDER) -> list[StoredBaseline]:
    """Baselines by name, by path, and all of a folder of them; each once, however often it is named.

    Raises:
        UsageError: an unknown name, or two different baselines of one name.
        DataError: as `load_baseline`.
    """
    found: dict[Path, StoredBaseline] = {}
    for text in given:
        path = Path(text)
        named = len(path.parts) == 1 and (folder / text / RECORD).is_file()
        if not named and path.is_dir() and not (path / RECORD).is_file():
            paths = [path / name for name in names_in(path)]
        elif named or len(path.parts) > 1 or (path / RECORD).is_file():
            paths = [folder / text if named else path]
        else:
            raise unknown_name(f"baseline in {folder}", text, names_in(folder))
        for each in paths:
            found.setdefault(each.resolve(), load_baseline(each))
    names = [stored.name for stored in found.values()]
    for stored in found.values():
        if names.count(stored.name) > 1:
            raise UsageError(
                f"Two different baselines are called {stored.name}. Save one of them under another name."
            )
    return list(found.values())
