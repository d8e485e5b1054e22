"""An interval for a win rate that may be looked at after every prompt: a confidence sequence by betting.

An interval for a fixed number of prompts errs more often than it says if it is computed again and again until it
decides. A confidence sequence does not: with probability 1 - alpha it contains the true win rate after the first
prompt, the second, and all that follow *at once*. A release gate may therefore stop as soon as it decides.

For every candidate rate m two gamblers play against "the true rate is m": one bets that outcomes are higher, one
that they are lower,

    K+(m) = prod over prompts of (1 + min(l, c / m) (x - m)),    K-(m) = prod of (1 - min(l, c / (1 - m)) (x - m)).

If m is the truth, neither can be expected to gain. m is thrown out once max(K+, K-) / 2 reaches 1 / alpha (Ville's
inequality), and stays out. The bet l is fixed before its prompt is seen, from the earlier ones alone:

    l = sqrt(2 ln(2 / alpha) / (s2 t ln(t + 1))),  t = 1, 2, ...: number of this prompt
    mean = (1/2 + sum x) / (t + 1),  s2 = (1/4 + sum (x - mean then)^2) / (t + 1), both of the prompts before this one

* The paper's (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B, arXiv
  2010.09686, Theorem 3: the hedged capital process with predictable plug-in bets): all of the above. Its text was not at
  hand; three public implementations that cite the theorem agree on these formulas, c = 1/2 among them.
* The released code's (gostevehoward/confseq@0275a66 `src/confseq/betting.py`, @113f874 `betting_strategies.py`; read, not
  run): the same products, c = 1/2 and equal shares of both gamblers, and bets with ln(1 / alpha) in place of
  ln(2 / alpha). Any bet that does not look ahead is valid.
* Ours: sums of logarithms, so that nothing overflows; both limits straight from the grid. K+ falls and K- rises with
  m, so the lower limit is the *largest* m that K+ threw out (K+ throws out all below it too), and the grid costs at
  most one step of width and no validity.

What is assumed: prompts come in random order, as a random sample from the world of prompts that the release will
meet. The prompt set is finite and drawn without replacement, and a sharper sequence for the mean *of this set* exists
in the paper; we do not use it, because the claim is about the world and not about the set.
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["ConfidenceSequence", "bets"]

TRUNCATION = 0.5
"""c: no bet risks more than this share of a gambler's capital. As in the released code."""

BLOCK = 256
"""Outcomes taken at once; bounds memory at BLOCK x grid numbers and changes no result."""

Decision = Literal["above", "below", "open"]


def bets(outcomes: npt.ArrayLike, *, alpha: float) -> npt.NDArray[np.float64]:
    """The predictable plug-in bets: entry t depends on the outcomes before t and on nothing else.

    Args:
        outcomes: in [0, 1], shape (..., prompts): one stream a row.
        alpha: error rate of the whole sequence.

    Returns:
        Positive bets, before truncation, the shape of `outcomes`.

    >>> bets([1.0, 1.0], alpha=0.05).round(3).tolist()  # s2 = 1/4, then (1/4 + (1 - 3/4)^2) / 2 = .15625
    [6.525, 4.636]
    """
    x = np.asarray(outcomes, dtype=np.float64)
    t = np.arange(1, x.shape[-1] + 1)
    mean = (0.5 + np.cumsum(x, axis=-1)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2, axis=-1)) / (t + 1)
    before = np.concatenate([np.full((*x.shape[:-1], 1), 0.25), variance[..., :-1]], axis=-1)
    return np.asarray(np.sqrt(2 * math.log(2 / alpha) / (before * t * np.log(t + 1))))


class ConfidenceSequence:
    """Limits on the mean of outcomes in [0, 1] that hold after every prompt at once.

    Args:
        alpha: largest probability that the limits ever leave the truth out.
        step: distance of candidate means; its inverse is a whole number.

    Attributes:
        lower: the mean is above this; 0 at the start.
        upper: the mean is below this; 1 at the start.
        prompts: outcomes seen.
        contradicted: every candidate is thrown out. Where the assumptions hold that happens with probability alpha at
            most; else prompts were not in random order or outcomes drifted. The limits stay as they were before.

    Raises:
        ValueError: alpha outside (0, 1), or a step that does not divide 1.

    >>> sequence = ConfidenceSequence(alpha=0.05)
    >>> sequence.add([1.0] * 10)  # (1/2 + 1/2 / m)^10 / 2 = 20 at m = .5285; 9 wins would leave .5 in
    (0.528, 1.0)
    >>> sequence.decide(0.5)
    'above'
    """

    def __init__(self, *, alpha: float, step: float = 0.001) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must lie between 0 and 1, got {alpha}.")
        parts = round(1 / step) if 0 < step <= 0.5 else 0
        if parts < 2 or abs(parts * step - 1) > 1e-9:
            raise ValueError(f"step must be 1 over a whole number from 2 on, got {step}.")
        self.alpha = alpha
        self.lower, self.upper = 0.0, 1.0
        self.contradicted = False
        self._candidates = np.arange(1, parts) / parts
        self._seen = np.empty(0)
        self._higher = np.zeros(parts - 1)
        """ln K+ of every candidate."""
        self._smaller = np.zeros(parts - 1)
        """ln K- of every candidate."""

    @property
    def prompts(self) -> int:
        """Outcomes seen so far."""
        return len(self._seen)

    def add(self, block: npt.ArrayLike) -> tuple[float, float]:
        """Take the outcomes of further prompts, in the order in which they were drawn.

        How outcomes are cut into blocks does not matter: limits move after every single one, and only inwards.

        Args:
            block: mean outcome of each prompt over its seeds (win 1, tie 1/2, loss 0), shape (prompts,); may be empty.

        Returns:
            Lower and upper limit.

        Raises:
            ValueError: not one-dimensional, or an outcome outside [0, 1].
        """
        x = np.asarray(block, dtype=np.float64)
        if x.ndim != 1 or not ((x >= 0) & (x <= 1)).all():
            raise ValueError(f"Outcomes must lie in [0, 1] in shape (prompts,), got shape {x.shape}.")
        self._seen = np.concatenate([self._seen, x])
        stakes = bets(self._seen, alpha=self.alpha)[len(self._seen) - len(x) :]
        for start in range(0, len(x), BLOCK):
            self._play(x[start : start + BLOCK, None], stakes[start : start + BLOCK, None])
        return self.lower, self.upper

    def decide(self, threshold: float) -> Decision:
        """On which side of `threshold` the mean is: "above", "below", or "open" while both are possible.

        The first answer that is not "open" may be acted on at once, and no later one contradicts it. A threshold
        between two candidates takes a step more of evidence than one on the grid.
        """
        rounding = 1e-9  # 0.5 - 0.03 is meant to be the candidate 0.47
        if self.lower >= threshold - rounding:
            return "above"
        return "below" if self.upper <= threshold + rounding else "open"

    def _play(self, x: npt.NDArray[np.float64], stakes: npt.NDArray[np.float64]) -> None:
        """Let both gamblers bet on outcomes of shape (prompts, 1), and draw the limits in."""
        m = self._candidates
        risk = TRUNCATION
        higher = self._higher + np.cumsum(np.log1p(np.minimum(stakes, risk / m) * (x - m)), axis=0)
        smaller = self._smaller + np.cumsum(np.log1p(-np.minimum(stakes, risk / (1 - m)) * (x - m)), axis=0)
        self._higher, self._smaller = higher[-1], smaller[-1]
        if self.contradicted:
            return
        enough = math.log(2 / self.alpha)
        lows = np.where(higher >= enough, m, self.lower).max(axis=1)
        highs = np.where(smaller >= enough, m, self.upper).min(axis=1)
        lows, highs = np.maximum.accumulate(lows), np.minimum.accumulate(highs)
        lows, highs = np.maximum(lows, self.lower), np.minimum(highs, self.upper)
        kept = len(lows)
        if (lows >= highs).any():
            kept, self.contradicted = int((lows >= highs).argmax()), True
        if kept:
            self.lower, self.upper = float(lows[kept - 1]), float(highs[kept - 1])
