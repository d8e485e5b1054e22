"""ImageReward's human rankings (Xu et al., arXiv 2304.05977): train.json, valid.json, test.json.

    [{"id", "prompt", "generations": [paths], "ranking": [1, 2, 5, 3]}]     1 = best, ties allowed

As in THUDM/ImageReward@c1392c6 data/test.json. Its training code takes image paths relative to a folder of its own
(`image_base: images` in train/src/config/config.yaml): `image_folder` names it, else they lie beside the file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench.reference_trainers.preferences.rankings import Rankings, check_rankings

__all__ = ["is_imagereward", "load_imagereward"]

KEYS = ("generations", "ranking")


def is_imagereward(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a JSON list looks like ImageReward's."""
    return all(key in entry for key in KEYS)


def load_imagereward(
    path: Path, entries: Sequence[Mapping[str, Any]], folder: Path | None = None
) -> Rankings:
    """Rankings of the entries that were read from `path`.

    Args:
        path: of the JSON file.
        entries: its content.
        folder: of the images; None for that of `path`.

    Raises:
        DataError: entries that cannot be used, each named.
    """
    rows = ((entry.get("prompt"), entry.get("generations"), entry.get("ranking")) for entry in entries)
    return check_rankings(str(path), folder or path.parent, rows)
