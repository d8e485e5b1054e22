"""Names that other tools give to the columns and the choices of a table of votes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prefbench.bench.exceptions import DataError

__all__ = ["ALIASES", "CHOICES", "COLUMNS", "meanings", "named_columns"]

COLUMNS = ("prompt_id", "prompt", "seed", "checkpoint_a", "checkpoint_b", "annotator", "choice")
"""Of a table of votes; one of prompt_id and prompt, and seed, may be missing."""

NEEDED = ("checkpoint_a", "checkpoint_b", "annotator", "choice")

ALIASES: Mapping[str, tuple[str, ...]] = {
    "prompt_id": ("question_id",),
    "prompt": ("caption",),
    "seed": (),
    "checkpoint_a": ("model_a",),
    "checkpoint_b": ("model_b",),
    "annotator": ("annotator_id", "rater", "rater_id", "judge", "worker_id", "workerid", "user_id"),
    "choice": ("winner", "vote", "preference"),
}
"""Column -> other names for it: those of Chatbot Arena's votes, of Mechanical Turk's results, and plain words."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "a": ("a", "model_a", "checkpoint_a", "left"),
    "b": ("b", "model_b", "checkpoint_b", "right"),
    "tie": ("tie", "tie (bothbad)"),
}
"""What was chosen -> how it may be written; besides, the name of the checkpoint."""


def named_columns(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Column of a table of votes -> its name in this file; capitals and spaces at the ends do not matter.

    Raises:
        DataError: a column is missing, or could be two of the file's.
    """
    plain = {name: name.strip().lower() for name in names}
    found: dict[str, str] = {}
    for column in COLUMNS:
        meant = [name for name, text in plain.items() if text == column or text in ALIASES[column]]
        if len(meant) > 1:
            raise DataError(
                f"{path}: the columns {' and '.join(map(repr, meant))} could each be {column!r}. Keep one of them, or rename "
                "the other."
            )
        if meant:
            found[column] = meant[0]
    missing = [column for column in NEEDED if column not in found]
    if "prompt_id" not in found and "prompt" not in found:
        missing = ["prompt_id (or prompt)", *missing]
    if missing:
        known = "; ".join(
            f"{column} may be called {' or '.join(ALIASES[column])}" for column in NEEDED if column in missing
        )
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}; it has {', '.join(map(repr, names))}. A table of votes has one row "
            f"a judgement, with the columns {', '.join(COLUMNS)}{f'; {known}' if known else ''}."
        )
    return found


def meanings(choice: str, checkpoint_a: str, checkpoint_b: str) -> list[str]:
    """Which of "a", "b" and "tie" a choice can mean, as it is written; one, if it is clear.

    >>> meanings("base", "mine", "base"), meanings("b", "b", "c"), meanings("neither", "mine", "base")
    (['b'], ['a', 'b'], [])
    """
    word, shown = choice.strip().lower(), {"a": checkpoint_a, "b": checkpoint_b, "tie": None}
    return [side for side, words in CHOICES.items() if word in words or choice.strip() == shown[side]]
