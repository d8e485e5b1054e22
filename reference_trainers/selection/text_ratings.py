"""Ratings of prompts, 0 to 10: by a language model, from a file, or by the miniature world's grammar.

    llm:MODEL    an OpenAI-compatible server rates clarity, structure and harmlessness; the rating is their mean
    file:PATH    CSV or Parquet with prompt, rating and, if known, harmlessness
    grammar      no LLM: in the miniature world a prompt that asks for a scene is 10, junk is 0, because the world knows

A prompt without a rating is left out of the selection and counted, with the reason; it is never a 0.

That FiFA (arXiv 2410.10166) rates the quality of prompts with an LLM is published [ABS]; the line below which a prompt is
counted as harmful or of low quality is ours.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.registry import unknown_name
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.stages import Stages, silent

__all__ = [
    "UNSAFE_BELOW",
    "TextRatings",
    "rate_by_grammar",
    "rate_texts",
    "read_ratings",
    "reasons_counted",
]

LOWEST, HIGHEST = 0.0, 10.0
UNSAFE_BELOW = 5.0
"""A prompt whose harmlessness (or rating) is below counts as harmful (or of low quality) in the summary (ours)."""


@dataclass(frozen=True)
class TextRatings:
    """Ratings of P distinct prompts.

    Attributes:
        source: who rated.
        rating: (P,) float64 in [0, 10], NaN where there is none.
        harmlessness: (P,) float64 in [0, 10], NaN where nobody said.
        reason: P texts, "" where there is a rating.
    """

    source: str
    rating: np.ndarray
    harmlessness: np.ndarray
    reason: list[str]


def read_ratings(path: Path, prompts: Sequence[str]) -> TextRatings:
    """Finished ratings; a prompt that the file does not have is left out.

    Raises:
        DataError: no such file or column, a prompt that stands twice with different ratings, or a rating outside 0 to 10.
    """
    if not path.is_file():
        raise DataError(f"text_quality: there is no file {path}. Check the path.")
    table = _table(path)
    absent = [name for name in ("prompt", "rating") if name not in table.columns]
    if absent:
        raise DataError(
            f"{path} has no column {', '.join(absent)}. Ratings need prompt and rating, and may have harmlessness."
        )
    columns = [name for name in ("rating", "harmlessness") if name in table.columns]
    for name in columns:
        numbers = pd.to_numeric(table[name], errors="coerce")
        # Only harmlessness may be left out, and only by an empty cell.
        empty = table[name].isna() | (table[name].astype(str).str.strip() == "")
        bad = ~numbers.between(LOWEST, HIGHEST) & ~(empty & (name == "harmlessness"))
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"{path} row {at + 1}: {name} is '{table[name].iloc[at]}', not a number from 0 to 10. Mend it."
            )
        table[name] = numbers
    table = table[["prompt", *columns]].drop_duplicates()
    twice = table["prompt"][table["prompt"].duplicated()]
    if len(twice):
        raise DataError(
            f"{path} rates the prompt {twice.iloc[0][:80]!r} twice, differently. Keep one rating."
        )
    chosen = table.set_index("prompt").reindex(list(prompts))
    rating = chosen["rating"].to_numpy(np.float64)
    harmless = (
        chosen["harmlessness"].to_numpy(np.float64)
        if "harmlessness" in columns
        else np.full(len(rating), np.nan)
    )
    reasons = ["not among the given ratings" if np.isnan(value) else "" for value in rating]
    return TextRatings(f"ratings in {path.name}", rating, harmless, reasons)


def _table(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, encoding="utf-8-sig", keep_default_na=False, dtype=str)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DataError(
            f"text_quality {path} cannot be read as CSV or Parquet ({error}). Write it again."
        ) from None


def rate_by_grammar(prompts: Sequence[str]) -> TextRatings:
    """The miniature world's own rule: 10 where the caption asks for a scene, 0 where it asks for none. No LLM.

    Raises:
        UsageError: none of the prompts is of the miniature world.
    """
    from prefbench.bench.miniature.scenes import parse_caption

    asks = np.array([parse_caption(prompt) is not None for prompt in prompts])
    if not asks.any():
        raise UsageError(
            "text_quality = grammar is the rule of the miniature world, and no prompt here is one of its captions. Use "
            "text_quality=llm:MODEL with llm_url, or file:PATH."
        )
    unknown = np.full(len(asks), np.nan)
    return TextRatings(
        "the miniature world's grammar (a rule, no LLM)",
        np.where(asks, HIGHEST, LOWEST),
        unknown,
        [""] * len(asks),
    )


def reasons_counted(ratings: TextRatings) -> dict[str, int]:
    """Prompts without a rating, by reason."""
    return dict(Counter(reason for reason in ratings.reason if reason).most_common())


def rate_texts(
    prompts: Sequence[str], cfg: Composition, cache: MeasureCache, stages: Stages = silent
) -> TextRatings:
    """Ratings of P distinct prompts from the source that `cfg.text_quality` names.

    Raises:
        UsageError: a source that does not exist; and as the source itself.
        DataError: no prompt got a rating.
    """
    source = cfg.text_quality or ""
    kind, _, rest = source.partition(":")
    if source == "grammar":
        ratings = rate_by_grammar(prompts)
    elif kind == "file" and rest:
        ratings = read_ratings(Path(rest).expanduser(), prompts)
    elif kind == "llm" and rest and cfg.llm_url:
        from prefbench.bench.chat_server import ChatServer
        from prefbench.reference_trainers.selection.llm_ratings import rate_by_llm

        server = ChatServer(
            cfg.llm_url,
            rest,
            cfg.llm_attempts,
            cfg.llm_timeout_s,
            address_in="llm_url",
            model_in="text_quality=llm:MODEL",
        )
        ratings = rate_by_llm(prompts, server, cache, concurrency=cfg.llm_concurrency, stages=stages)
    else:
        raise unknown_name("text_quality", source, ["llm:MODEL", "file:PATH", "grammar"])
    if np.isnan(ratings.rating).all():
        commonest = Counter(ratings.reason).most_common(1)[0][0]
        raise DataError(
            f"None of {len(prompts)} prompts got a rating from {ratings.source}; the commonest reason: {commonest}. Look at "
            "the source of the ratings."
        )
    return ratings
