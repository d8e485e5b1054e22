"""What a scorer says about itself."""

from dataclasses import asdict, dataclass, field
from typing import Any

from prefbench.scorers.fingerprint import fingerprint_of

__all__ = ["MINIATURE_LICENCE", "ScorerInfo"]

MINIATURE_LICENCE = "Apache-2.0 (made by prefbench)"


@dataclass(frozen=True)
class ScorerInfo:
    """The description of one loaded scorer, printed in every report and stored with every score."""

    name: str
    """As the user typed it, variant included: "hpsv2.1@legacy-noaa". It is the scorer's name in a scores
    table."""
    variant: str | None
    """Which of several computations under one name, or None where there is one only."""
    licence: str
    """Of the weights, as seen on their page; "none stated" where the page names none."""
    scale: str
    """What one unit is and where scores usually lie."""
    trained_on: str
    """Data whose preferences or ratings the weights have seen: needed to flag contamination."""
    identity: dict[str, Any] = field(repr=False)
    """All that decides the number; its hash is the fingerprint."""
    token_limit: int | None = None
    """Tokens of a prompt that are read, specials included; None for a prompt-blind scorer."""
    prompt_blind: bool = False
    direction: str = "higher"
    """"higher": a larger score is a better image."""
    backbone: str | None = None
    """The pretrained network that it was made from, None where that is not known. Scorers that say the same are one
    family: they tend to err together. Of ours `load_scorer` fills it in (`scorers/backbones.py`); a plug-in says its own."""

    @property
    def fingerprint(self) -> str:
        """sha256 of the identity, 64 hex digits."""
        return fingerprint_of(self.identity)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, fingerprint included."""
        return {**asdict(self), "fingerprint": self.fingerprint}
