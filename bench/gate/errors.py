"""How often a gate errs at most, and what it takes to err no oftener and still to be able to fail a slice (docs/gate.md)."""

import math
from collections.abc import Sequence
from typing import Any

from prefbench.bench.exceptions import UsageError
from prefbench.bench.gate.claims import Claim
from prefbench.bench.resamples import MOST_RESAMPLES
from prefbench.bench.wording import count

__all__ = ["check_resamples", "errors_of"]


def errors_of(claims: Sequence[Claim], alpha: float) -> dict[str, Any]:
    """The block "errors" of gate.json.

    "wrong_pass": the largest probability that a release passes which breaks one of the claims. "wrong_fail": that one fails
    which keeps to them, the sum over the claims, the slices as one. Both are about the claims whose error is known, and None
    where there is none; "not_bounded" names the others. A cap on failures is counted and errs on neither side.

    Args:
        claims: of the gate.
        alpha: one minus the level of every interval.
    """
    known = [claim for claim in claims if claim.error_is_known and claim.kind != "failure_cap"]
    chances = sum(not claim.in_family for claim in known) + any(claim.in_family for claim in known)
    return {
        "wrong_pass": alpha / 2 if known else None,
        "wrong_fail": min(1.0, chances * alpha / 2) if known else None,
        "not_bounded": [claim.name for claim in claims if not claim.error_is_known],
        "planned_slices": sum(claim.in_family for claim in claims),
    }


def check_resamples(family: int, resamples: int, alpha: float, source: str) -> None:
    """Refuse planned slices of which none could ever fail.

    No bootstrap p-value is below 1 / (resamples + 1), and Holm multiplies the smallest by the number of slices.

    Args:
        family: planned slices.
        resamples: bootstrap samples that there are.
        alpha: one minus the level of every interval; a slice fails at alpha / 2.
        source: what is gated, for the message.

    Raises:
        UsageError: naming how many samples it takes.
    """
    fewest = math.ceil(2 * family / alpha)
    if resamples >= fewest:
        return
    again = f"Compare again with `prefbench compare ... --resamples {fewest}` or more and gate that folder, or ask"
    raise UsageError(
        f"The gate of {source} has {count(family, 'planned slice')}, corrected for their number, and {resamples:,} bootstrap "
        f"samples. No p-value is below 1/{resamples + 1}, and {family} times that is above {alpha / 2:g}: no slice could ever "
        f"fail. {again if fewest <= MOST_RESAMPLES else 'Ask'} about fewer slices."
    )
