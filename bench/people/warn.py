"""What a reader of people.json must know besides the numbers."""

from collections.abc import Mapping
from typing import Any

from prefbench.bench.caveats import FEW_PROMPTS
from prefbench.bench.judges.wording import listed, people_statements
from prefbench.bench.wording import count

__all__ = ["warnings_of"]


def warnings_of(results: Mapping[str, Any]) -> list[str]:
    """Sentences, the gravest first; `results` as people.json has them, without warnings."""
    votes, found = results["votes"], []
    flagged = [each["name"] for each in results["annotators"] if each["flagged"]]
    if results["dropped"]:
        who = [f"{each['name']} ({each['verdict']})" for each in results["annotators"] if each["dropped"]]
        before = people_statements(results["people_before"])
        found.append(
            " ".join([f"Left out as flagged: {listed(who)}.", *(["Before that:", *before] if before else [])])
        )
    elif flagged:
        found.append(
            f"{count(len(flagged), 'annotator')} flagged ({listed(flagged)}), whose judgements count all the same; "
            "--drop-flagged leaves them out."
        )
    if results["people"] is None:
        found.append("No pair was judged by two annotators, so nothing can be said of how far they agree.")
    elif len(results["annotators"]) == 2:
        found.append(
            "Two annotators agree equally often with each other: if one of them answers at random, which one cannot be told."
        )
    sided = sum(each["sided"] for each in results["annotators"])
    if sided and all(each["p_side"] is None for each in results["annotators"]):
        found.append(
            "Everybody saw the two checkpoints in one order only (or preferred one always), so a habit of choosing one side "
            "cannot be told from a preference. Shuffle checkpoint_a and checkpoint_b from pair to pair."
        )
    if votes["prompts"] < FEW_PROMPTS and not results["scorers"]:  # else that is said with the scorers
        found.append(
            f"{count(votes['prompts'], 'prompt')}: intervals over so few are rough, and may be too narrow."
        )
    return found
