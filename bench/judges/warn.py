"""What a reader of the numbers must know besides."""

from collections.abc import Mapping
from typing import Any

from prefbench.bench.caveats import FEW_PROMPTS, MANY_TIES
from prefbench.bench.wording import count

__all__ = ["warnings_of"]


def warnings_of(results: Mapping[str, Any]) -> list[str]:
    """Sentences, the gravest first; `results` as `judge` makes it, without warnings."""
    data, scorers = results["data"], results["scorers"]
    found = []
    if data["ties"] == data["pairs"]:
        found.append("People tied every pair, so there is no accuracy with ties left out.")
    equal = dict(zip(results["agreement"]["scorers"], results["agreement"]["ties"], strict=True))
    constant = [name for name, share in equal.items() if share == 1]
    tying = [f"{name} ({100 * share:.0f} %)" for name, share in equal.items() if MANY_TIES < share < 1]
    if constant:
        found.append(f"The same score for both images of every pair, so no opinion: {', '.join(constant)}.")
    if tying:
        found.append(
            f"The same score for both images of many pairs, each half a point: {', '.join(tying)}. With ties left out these "
            "look worse than where they do decide."
        )
    cut = [
        f"{name} {info['truncated_prompts']:,} (after {info['token_limit']} tokens)"
        for name, info in scorers.items()
        if info.get("truncated_prompts")
    ]
    if cut:
        found.append(f"Of {count(data['prompts'], 'prompt')} these are cut: {', '.join(cut)}.")
    if data["prompts"] == 1:
        found.append("One prompt: nothing can be said of other prompts, so there are no intervals.")
    elif data["prompts"] < FEW_PROMPTS:
        found.append(f"{data['prompts']} prompts: intervals over so few are rough, and may be too narrow.")
    if len(scorers) > 2 and results["leads"]:
        found.append(
            "The most accurate of several scorers is lucky in part: its lead, chosen after the fact, is a little too large."
        )
    return found
