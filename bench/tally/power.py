"""How many prompts settle a comparison, and what a given number of prompts can settle.

A prompt gives one number: the mean over its S seeds of win 1, tie 1/2, loss 0. A comparison is settled when the
1 - alpha interval of the mean over prompts leaves out a threshold c: 1/2 for "better or worse", 1/2 - margin for
"not worse by more than the margin" (the gate's question). By the normal approximation, with true win rate w,

    power = Phi(|w - c| sqrt(N / V) - z(1 - alpha / 2)),    N = V ((z(1 - alpha / 2) + z(power)) / (w - c))^2.

V is the variance of a prompt's number. One outcome with tie rate t has w(1 - w) - t/4, at most (1 - t) / 4; S outcomes
with correlation rho have

    V = (1 - t) / 4 * (rho + (1 - rho) / S),

which is the same as (1 - t) / 4 * (1 + (S - 1) rho) / S. Seeds wear out: below rho (1 - t) / 4 no number of them leads.

* Miller, "Adding Error Bars to Evals" (arXiv 2411.00640): clustered and paired errors, power from them.
* Ours: the variance at w = 1/2 is taken for every w. It is the largest that the tie rate allows, so the answer errs
  on the safe side, by little near 1/2 (4 % of the prompts at w = .6); and it makes the answer the same for w and
  1 - w. The wrong end of the two-sided interval is not counted as success.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

__all__ = ["Design", "half_width", "power_at", "required_prompts", "smallest_win_rate"]

FEWEST = 2
"""One prompt has no interval."""


@dataclass(frozen=True)
class Design:
    """What a comparison draws and how it decides.

    Raises:
        ValueError: a value out of its range.
    """

    tie_rate: float
    """t, share of pairs that tie, in [0, 1)."""
    seeds: float
    """S, pairs a prompt, at least 1; math.inf gives what no number of seeds can better."""
    seed_correlation: float
    """rho, correlation of two outcomes of one prompt, in [0, 1]."""
    alpha: float
    """One minus the interval's level, both ends together, in (0, 0.5]."""
    margin: float = 0.0
    """The interval must leave out 1/2 - margin; in [0, 0.5)."""

    def __post_init__(self) -> None:
        ranges = (
            ("tie_rate", 0 <= self.tie_rate < 1, "in [0, 1)"),
            ("seeds", self.seeds >= 1, "at least 1"),
            ("seed_correlation", 0 <= self.seed_correlation <= 1, "in [0, 1]"),
            ("alpha", 0 < self.alpha <= 0.5, "in (0, 0.5]"),
            ("margin", 0 <= self.margin < 0.5, "in [0, 0.5)"),
        )
        for name, fits, wanted in ranges:
            if not fits:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)}.")

    @property
    def threshold(self) -> float:
        """c, the win rate that the interval must leave out."""
        return 0.5 - self.margin

    @property
    def prompt_variance(self) -> float:
        """V, the variance of one prompt's mean outcome at w = 1/2.

        >>> Design(tie_rate=0.2, seeds=4, seed_correlation=0.5, alpha=0.05).prompt_variance  # .2 (.5 + .125)
        0.125
        """
        shared = self.seed_correlation + (1 - self.seed_correlation) / self.seeds
        return (1 - self.tie_rate) / 4 * shared


def required_prompts(win_rate: float, design: Design, *, power: float) -> int:
    """Prompts that settle the comparison with probability `power` if `win_rate` is the truth.

    Args:
        win_rate: true win rate w, ties half; above the threshold the comparison is to be won, below it lost.
        design: ties, seeds, interval and margin.
        power: in [0.5, 1).

    Raises:
        ValueError: no such win rate with these ties, the threshold itself, or a power out of range.

    >>> required_prompts(0.6, Design(tie_rate=0, seeds=1, seed_correlation=0, alpha=0.05), power=0.8)
    197
    """
    distance = _distance(win_rate, design)
    if distance == 0:
        raise ValueError(f"A win rate of {win_rate} is the threshold: no number of prompts tells them apart.")
    needed = design.prompt_variance * (_z_sum(design, power) / distance) ** 2
    return max(FEWEST, math.ceil(needed - 1e-9))


def smallest_win_rate(prompts: int, design: Design, *, power: float) -> float | None:
    """The smallest true win rate above the threshold that `prompts` settle with probability `power`.

    Returns:
        Its ties count half; None where ties leave no room for a win rate so high. Without a margin, 1 minus it is the
        largest win rate that is settled as a loss.

    >>> found = smallest_win_rate(100, Design(tie_rate=0, seeds=1, seed_correlation=0, alpha=0.05), power=0.8)
    >>> round(found, 3)
    0.64
    """
    _check_prompts(prompts)
    rate = design.threshold + _z_sum(design, power) * math.sqrt(design.prompt_variance / prompts)
    return rate if rate <= 1 - design.tie_rate / 2 else None


def power_at(win_rate: float, prompts: int, design: Design) -> float:
    """Probability that `prompts` settle the comparison, on the right side, if `win_rate` is the truth.

    Raises:
        ValueError: no such win rate with these ties, or fewer than two prompts.
    """
    _check_prompts(prompts)
    distance = _distance(win_rate, design)
    if design.prompt_variance == 0:
        return 1.0 if distance else 0.0
    return NormalDist().cdf(distance * math.sqrt(prompts / design.prompt_variance) - _z_interval(design))


def half_width(prompts: int, design: Design) -> float:
    """Half of the interval's width near 1/2: 0.024 for 1,632 prompts with one seed and no ties."""
    _check_prompts(prompts)
    return _z_interval(design) * math.sqrt(design.prompt_variance / prompts)


def _z(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _z_interval(design: Design) -> float:
    return -_z(design.alpha / 2)  # from the near end: 1 - alpha / 2 would round


def _z_sum(design: Design, power: float) -> float:
    if not 0.5 <= power < 1:
        raise ValueError(f"power must be in [0.5, 1), got {power}.")
    return _z_interval(design) + _z(power)


def _distance(win_rate: float, design: Design) -> float:
    low, high = design.tie_rate / 2, 1 - design.tie_rate / 2
    rounding = 1e-9
    if not low - rounding <= win_rate <= high + rounding:
        raise ValueError(
            f"With ties of {design.tie_rate} a win rate lies in [{low}, {high}], not at {win_rate}."
        )
    return abs(win_rate - design.threshold)


def _check_prompts(prompts: int) -> None:
    if prompts < FEWEST:
        raise ValueError(f"Needs at least {FEWEST} prompts, got {prompts}.")
