"""How much longer the candidate samples than the baseline: the ratio of median times for an image.

A run's ledger records how long each batch took (`DrawingRow`). The time for an image is the batch's over its size, and the
first batch after loading is left out: caches fill, kernels are chosen. What is compared is the median batch of each, so
that a pause of the machine counts little. Limits need no model of the times: each median lies between two order statistics
with probability 1 - alpha / 2 at least (the sign test turned round, a binomial with p = 1/2), so the ratio lies between the
quotients of opposite ends with 1 - alpha. That takes 7 batches of each at alpha = 0.05. Assumed: batches of one checkpoint are
exchangeable, on a machine that did nothing else.

Times of other hardware, another batch size or other versions are no times of the checkpoint: only batches drawn alike are
compared, and where there are none of both, it is refused.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy import special

from prefbench.bench.exceptions import DataError
from prefbench.bench.gate.evidence import Floats
from prefbench.bench.gate.material import Material
from prefbench.bench.gate.needed import Needed
from prefbench.bench.store.ledger import DrawingRow, Ledger

__all__ = ["SamplingRatio", "median_limits", "ratio_of", "sampling_ratio"]


@dataclass(frozen=True)
class SamplingRatio:
    """Candidate over baseline."""

    ratio: float | None
    """Of the medians; None where one of them has warm-up batches alone."""
    limits: tuple[float, float] | None
    """None with too few batches."""
    batches: tuple[int, int]
    """Of candidate and baseline, warm-up left out."""
    fewest: int
    """Batches of each that limits take."""
    note: str

    def needed(self, threshold: float) -> Needed:
        """What would decide an open claim: limits narrow with the root of the batches."""
        have = min(self.batches)
        if self.limits is None or self.ratio is None:
            more = self.fewest - have
            return Needed(
                None, None, None, f"Limits take {self.fewest} batches of each besides the first: {more} more, by more "
                "prompts or seeds, or a smaller --batch-size in a new run."
            )  # fmt: skip
        distance = abs(math.log(self.ratio / threshold))
        if distance < 1e-9:
            return Needed(None, None, None, "The ratio is on the threshold: no number of batches decides it.")
        low, high = (abs(math.log(limit / self.ratio)) for limit in self.limits)
        wide = high if self.ratio < threshold else low
        total = max(have + 1, math.ceil(have * (wide / distance) ** 2))
        return Needed(
            None,
            None,
            None,
            f"If the ratio is the {self.ratio:.2f} seen, about {total:,} batches of each decide it: {total - have:,} more, by "
            "more prompts or seeds.",
        )


def sampling_ratio(material: Material, *, alpha: float) -> SamplingRatio:
    """The ratio for the two checkpoints of a gate.

    Raises:
        DataError: no times are recorded for one of them, or none that can be compared.
    """
    if material.run is None:
        what = (
            "a stored baseline keeps scores alone" if material.stored else f"{material.source.path} is no run"
        )
        raise DataError(
            f"A rule `slowdown` needs the times in the ledger of one run that drew both checkpoints; {what}. Gate the folder of "
            "a `prefbench bench` with both, or leave the rule out."
        )
    with Ledger(material.run, read_only=True) as ledger:
        drawings = ledger.drawings()
    return ratio_of(drawings, material.candidate, material.baseline, alpha=alpha, source=str(material.run))


def ratio_of(
    drawings: list[DrawingRow], candidate: str, baseline: str, *, alpha: float, source: str
) -> SamplingRatio:
    """The ratio from recorded batches; arguments and errors as for `sampling_ratio`."""
    of = {name: [row for row in drawings if row.checkpoint == name] for name in (candidate, baseline)}
    for name, rows in of.items():
        if not rows:
            raise DataError(
                f"{source} has no sampling times of {name!r}: they are recorded while images are drawn, and its images are "
                "finished ones, shared with another checkpoint, or from before times were recorded. Draw it in a new run, or "
                "leave the rule `slowdown` out."
            )
    ways = [Counter((row.hardware, row.made_with) for row in rows) for rows in of.values()]
    shared = set(ways[0]) & set(ways[1])
    if not shared:
        (first, _), (second, _) = (max(found) for found in ways)
        told = (
            f"{first} and {second}"
            if first != second
            else f"{first} both, with other batch sizes or versions"
        )
        raise DataError(
            f"{source}: {candidate} and {baseline} were not drawn alike ({told}), so their times are not comparable. Draw both "
            "in one new run, or leave the rule `slowdown` out."
        )
    way = max(shared, key=lambda each: (min(found[each] for found in ways), each))
    times = [
        np.sort(
            [
                row.seconds / row.images
                for row in rows
                if (row.hardware, row.made_with) == way and not row.warm_up
            ]
        )
        for rows in of.values()
    ]
    batches = len(times[0]), len(times[1])
    fewest = _fewest(alpha / 2)
    if not min(batches):
        note = f"{batches[0]} and {batches[1]} batches besides the first of each: no times to compare."
        return SamplingRatio(None, None, batches, fewest, note)
    medians = [float(np.median(each)) for each in times]
    ratio = medians[0] / medians[1]
    ends = [median_limits(each, alpha / 2) for each in times]
    note = (
        f"{medians[0]:.4g} s and {medians[1]:.4g} s an image (medians of {batches[0]} and {batches[1]} batches, first ones left "
        f"out; {way[0]})."
    )
    if ends[0] is None or ends[1] is None:
        return SamplingRatio(ratio, None, batches, fewest, note)
    limits = ends[0][0] / ends[1][1], ends[0][1] / ends[1][0]
    return SamplingRatio(ratio, limits, batches, fewest, note)


def median_limits(ordered: Floats, alpha: float) -> tuple[float, float] | None:
    """Limits of the median at level 1 - alpha at least: the k-th smallest and k-th largest; None with too few values.

    >>> median_limits(np.arange(1.0, 8.0), 0.025)  # 2 (1/2)^7 = .0156; with the second ones it would be .125
    (1.0, 7.0)
    """
    n = len(ordered)
    tails = special.bdtr(np.arange(n), n, 0.5)  # P(B <= 0), P(B <= 1), ...
    k = int(np.searchsorted(tails, alpha / 2, side="right"))  # the largest with P(B < k) <= alpha / 2
    return (float(ordered[k - 1]), float(ordered[n - k])) if k else None


def _fewest(alpha: float) -> int:
    """Values that a median's limits take: 2 (1/2)^n is alpha at most."""
    return math.ceil(math.log2(2 / alpha) - 1e-12)
