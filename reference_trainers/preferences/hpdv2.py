"""HPD v2 (Wu et al., arXiv 2306.09341): train.json and test.json of the published archive.

    train.json  [{"prompt", "file_path" or "image_path": [...], "human_preference": [1, 0], ...}]   1 = preferred
    test.json   [{"prompt", "image_path": [...], "rank": [...], ...}]                               1 = best

The schema is that of the data set's card (hub ymhao/HPDv2) and of tgxs002/HPSv2@866735e README. The card and
HPSv2's src/training/data.py write file_path, the hub's loading script and its users image_path: both are read. Images
lie in the folder train/ or test/ beside the file; where there is none, beside the file.

Of test.json the averaged `rank` is read; the annotators' own rankings (raw_annotations) are not, because we could not
see a file that holds them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.reference_trainers.preferences.rankings import Rankings, check_rankings

__all__ = ["is_hpdv2", "load_hpdv2"]

PATHS = ("file_path", "image_path")
LABELS = ("human_preference", "rank")


def _key(entry: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in entry), None)


def is_hpdv2(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a JSON list looks like HPD v2."""
    return _key(entry, PATHS) is not None and _key(entry, LABELS) is not None


def _rows(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[object, object, object]]:
    for entry in entries:
        paths, label = _key(entry, PATHS), _key(entry, LABELS)
        ranks = entry[label] if label else None
        if label == "human_preference":
            # 1 is preferred, so it ranks above 0; anything else is no label.
            values: list[Any] = ranks if isinstance(ranks, list) else [None]
            ranks = [2 - value for value in values] if all(value in (0, 1) for value in values) else None
        yield entry.get("prompt"), entry[paths] if paths else None, ranks


def load_hpdv2(path: Path, entries: Sequence[Mapping[str, Any]], folder: Path | None = None) -> Rankings:
    """Rankings of the entries that were read from `path`.

    Args:
        path: of train.json or test.json.
        entries: its content.
        folder: of the images; None for the published layout.

    Raises:
        DataError: entries that cannot be used, each named.
    """
    beside = path.parent / path.stem
    return check_rankings(str(path), folder or (beside if beside.is_dir() else path.parent), _rows(entries))
