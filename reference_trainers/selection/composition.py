"""What a recipe says about labels and selection: which scorers vote, which pairs stay, against which control.

    labels:  human | scorer:NAME | majority | random | vanilla | normalised | file:PATH
    select:  none | qsd | fifa | margin | random | file:PATH

Labels come first, then flips, then the selection, which therefore orders winner and loser by the labels in force.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from prefbench.bench.exceptions import UsageError
from prefbench.bench.named_values import named_values
from prefbench.bench.registry import unknown_name

__all__ = ["AGGREGATIONS", "SELECTIONS", "Composition", "Keep", "parse_keep"]

AGGREGATIONS = ("majority", "random", "vanilla", "normalised")
"""Rules that make one label of an electorate's scores."""
SELECTIONS = ("qsd", "fifa", "margin", "random")
"""Rules that rank pairs; "file:PATH" takes the rows of a table instead."""
EXAMPLES = {
    "keep": "5% or 4000",
    "keep_of": "pairs",
    "select_scorer": "pickscore",
    "psi_scale": "cosine",
    "text_quality": "llm:MODEL (with --llm-url), file:RATINGS.csv or, in the miniature world, grammar",
}
KEEP = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<percent>%?)")


@dataclass(frozen=True)
class Keep:
    """How many pairs stay: a share (exact) or a number."""

    share: Fraction | None
    count: int | None

    def of(self, total: int) -> int:
        """Pairs that stay of `total`; a share is rounded down, so that "0.5 %" is never more."""
        return self.count if self.count is not None else math.floor(self.share * total)  # type: ignore[operator]


def parse_keep(text: str | int) -> Keep:
    """Read "5.33%" or "4000".

    Raises:
        UsageError: anything else: 0.05 could be meant as a share or be a mistake for 5 pairs.

    >>> parse_keep("5.33%").of(10000), parse_keep("5.33 %").of(30), parse_keep(7).of(10000)
    (533, 1, 7)
    """
    found = KEEP.fullmatch(str(text).strip())
    if found and found["percent"] and 0 < Fraction(found["number"]) <= 100:
        return Keep(Fraction(found["number"]) / 100, None)
    if found and not found["percent"] and "." not in found["number"] and int(found["number"]) > 0:
        return Keep(None, int(found["number"]))
    raise UsageError(
        f"keep = {text!r} is neither a share nor a number of pairs. Write 5.33% for a share of the data, or 4000 for "
        "so many pairs."
    )


@dataclass(frozen=True)
class Composition:
    """Labels and selection of a recipe; a setting without a value is one that this composition does not read."""

    labels: str = "human"
    """Who labels: human, scorer:NAME, majority, random, vanilla, normalised (of an electorate), or file:PATH."""
    electorate: str | None = None
    """Scorers that vote, separated by commas."""
    tie_rule: Literal["drop", "human", "human_votes"] | None = None
    """Where a majority vote ties: drop the pair, take the human label, or let the human be one more voter."""
    label_seed: int = 0
    """Which scorer labels which pair under labels = random."""
    select: str = "none"
    """Which pairs stay: none (all of them), qsd, fifa, margin, random, or file:PATH."""
    select_scorer: str | None = None
    """psi of QSD, the proxy reward of FiFA, the score behind a margin."""
    psi_scale: Literal["cosine", "hundredth", "minmax", "quantile"] | None = None
    """How a score becomes psi: raw cosine, a hundredth of the score, or normalised over the data."""
    keep: str | int | None = None
    """How many pairs stay: "5.33%" or 4000."""
    keep_of: Literal["pairs", "rows"] | None = None
    """What a share is of: pairs (ties left out) or rows of the source (ties included)."""
    control: Literal["none", "random", "margin"] = "none"
    """Instead of the selection, as many pairs at random, or those of the largest margin."""
    select_seed: int = 0
    """Which pairs a random selection or control draws."""
    quality_weight: float | None = None
    """FiFA: weight alpha of the text quality's z-score."""
    diversity_weight: float | None = None
    """FiFA: weight gamma of the text diversity's z-score."""
    neighbour: int | None = None
    """FiFA: k of the k-th nearest neighbour among the distinct prompts."""
    text_quality: str | None = None
    """Ratings of prompts, 0 to 10: llm:MODEL, file:PATH, or grammar (miniature world only, no LLM)."""
    text_embedding: str | None = None
    """clip:NAME_OR_FOLDER, or a sentence-transformers folder or hub id."""
    scores: str | None = None
    """Table of scores made elsewhere (CSV or Parquet: row, prompt, SCORER_0, SCORER_1) instead of scoring images."""
    weights: str | None = None
    """Local weights of scorers instead of the published ones: NAME=PATH, separated by commas."""
    llm_url: str | None = None
    """Base address of an OpenAI-compatible server, with its /v1."""
    llm_concurrency: int = 8
    """Prompts asked at once; changes no rating."""
    llm_attempts: int = 5
    """Tries a prompt, where the server is busy, slow or broken."""
    llm_timeout_s: float = 60.0
    """Seconds to wait for a reply."""

    def __post_init__(self) -> None:
        self._check_labels()
        self._check_selection()
        self.local_weights  # noqa: B018 - malformed ones are an error now
        for name in ("label_seed", "select_seed"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} = {getattr(self, name)} must not be negative.")
        for name in ("llm_concurrency", "llm_attempts", "llm_timeout_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name)} must be greater than 0.")

    @property
    def voters(self) -> tuple[str, ...]:
        """The electorate's scorers in order."""
        names = (name.strip() for name in (self.electorate or "").split(","))
        return tuple(name for name in names if name)

    @property
    def local_weights(self) -> dict[str, str]:
        """Scorer -> path of its weights."""
        texts = [] if self.weights is None else self.weights.split(",")
        return named_values("weights", "SCORER=PATH", [text.strip() for text in texts])

    @property
    def label_scorers(self) -> tuple[str, ...]:
        """Scorers that the labels need."""
        if self.labels.startswith("scorer:"):
            return (self.labels.partition(":")[2],)
        return self.voters if self.labels in AGGREGATIONS else ()

    @property
    def selection_scorers(self) -> tuple[str, ...]:
        """Scorers that the selection, or its control, needs."""
        needed = (
            self.select in ("qsd", "fifa", "margin") if self.control == "none" else self.control == "margin"
        )
        return (self.select_scorer,) if needed and self.select_scorer else ()

    @property
    def needs_texts(self) -> bool:
        """Whether prompts are rated and embedded: for FiFA itself, not for its controls."""
        return self.select == "fifa" and self.control == "none"

    def _check_labels(self) -> None:
        kind, colon, rest = self.labels.partition(":")
        known = ["human", "scorer:NAME", *AGGREGATIONS, "file:PATH"]
        if (kind in ("scorer", "file")) != bool(colon and rest) or kind not in {
            k.partition(":")[0] for k in known
        }:
            raise unknown_name("labels", self.labels, known)
        _check_scorers(self.label_scorers, f"labels = {self.labels}")
        if self.labels not in AGGREGATIONS:
            return
        voters = self.voters
        if not voters:
            raise UsageError(
                f"labels = {self.labels} needs an electorate. Name its scorers: electorate=pickscore,hpsv2.1,imagereward."
            )
        if len(set(voters)) != len(voters):
            raise UsageError(f"electorate = {self.electorate} names a scorer twice. A voter has one vote.")
        if self.labels != "majority":
            return
        if len(voters) % 2 == 0 and self.tie_rule is None:
            raise UsageError(
                f"An electorate of {len(voters)} scorers can tie, and there is no tie_rule. Set tie_rule=drop, human or "
                "human_votes, or add a scorer."
            )
        if len(voters) % 2 == 1 and self.tie_rule == "human_votes":
            raise UsageError(
                f"tie_rule = human_votes makes {len(voters) + 1} voters of {len(voters)} scorers, an even number that "
                "can tie. Add or remove a scorer, or use tie_rule=human or drop."
            )

    def _check_selection(self) -> None:
        select = self.select
        kind, colon, rest = select.partition(":")
        if (kind == "file") != bool(colon and rest) or kind not in ("none", *SELECTIONS, "file"):
            raise unknown_name("selection", select, ["none", *SELECTIONS, "file:PATH"])
        if select == "none":
            if self.control != "none":
                raise UsageError(
                    f"control = {self.control} is the control of a selection, and select = none."
                )
            return
        if kind != "file":
            self._need(select, ("keep",))
            if self.keep is not None and parse_keep(self.keep).share is not None:
                self._need(f"{select} with a share to keep", ("keep_of",))
        if select in ("qsd", "fifa", "margin") or self.control == "margin":
            self._need(select, ("select_scorer",))
            _check_scorers((self.select_scorer or "",), "select_scorer")
        if select == "qsd":
            self._need(select, ("psi_scale",))
        if self.needs_texts:
            texts = ("quality_weight", "diversity_weight", "neighbour", "text_quality", "text_embedding")
            self._need(select, texts)
            if (self.text_quality or "").startswith("llm:") and not self.llm_url:
                raise UsageError(
                    f"text_quality = {self.text_quality} needs llm_url, the address of an OpenAI-compatible server: "
                    "llm_url=http://127.0.0.1:8000/v1, say. Or give finished ratings: text_quality=file:ratings.csv."
                )
        kind, _, rest = (self.text_quality or "grammar").partition(":")
        if (kind in ("llm", "file")) != bool(rest) or kind not in ("llm", "file", "grammar"):
            raise unknown_name("text_quality", self.text_quality or "", ["llm:MODEL", "file:PATH", "grammar"])
        if self.neighbour is not None and self.neighbour < 1:
            raise UsageError(f"neighbour = {self.neighbour} must be at least 1.")
        for name in ("quality_weight", "diversity_weight"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} = {value} must be a number, 0 or greater.")

    def _need(self, what: str, names: Sequence[str]) -> None:
        absent = [name for name in names if getattr(self, name) is None]
        if absent:
            example = EXAMPLES.get(absent[0], "VALUE")
            raise UsageError(
                f"select = {what} needs a value for {', '.join(absent)}. Give it as --{absent[0].replace('_', '-')} {example}."
            )


def _check_scorers(names: Sequence[str], where: str) -> None:
    from prefbench.scorers.registry import REGISTRY

    for name in names:
        base = name.partition("@")[0]
        if base not in REGISTRY:
            error = unknown_name("scorer", base, REGISTRY.names())
            raise UsageError(f"{where}: {error}")
