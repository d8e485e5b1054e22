"""VotingOptions: the rules of a vote as the command line gives them, before the table's scorers are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prefbench.bench.electorate.accuracies import read_accuracies
from prefbench.bench.electorate.rules import VotingRules
from prefbench.bench.electorate.tolerances import parse_tolerances
from prefbench.bench.exceptions import UsageError
from prefbench.bench.named_values import named_lists
from prefbench.bench.registry import unknown_name
from prefbench.bench.tally.votes import TIE_RULES, TieRule

__all__ = ["VotingOptions", "parse_trained_against", "tie_rule_named"]

OPTION = "--trained-against"


@dataclass(frozen=True)
class VotingOptions:
    """What the user says; the defaults are those of `VotingRules`."""

    tie_rule: TieRule = "tie"
    tie_tolerance: Sequence[str] = ()
    """Each SCORER=VALUE or the path of a .toml file (`tolerances.parse_tolerances`)."""
    trained_against: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Checkpoint -> scorers."""
    accuracy: Path | None = None
    """File of accuracies (`accuracies.read_accuracies`)."""

    def rules(self, scorers: Sequence[str], checkpoints: Sequence[str]) -> VotingRules:
        """The rules for a table.

        Args:
            scorers: of the table.
            checkpoints: of the table, also those that are not compared.

        Raises:
            UsageError: an unknown scorer or checkpoint, or a tolerance that is none.
            DataError: a file that cannot be used.
        """
        for name in self.trained_against:
            if name not in checkpoints:
                raise unknown_name(f"checkpoint in {OPTION}", name, list(checkpoints))
        return VotingRules(
            self.tie_rule,
            parse_tolerances(self.tie_tolerance, scorers),
            self.trained_against,
            None if self.accuracy is None else read_accuracies(self.accuracy),
        )


def tie_rule_named(text: str) -> TieRule:
    """The rule of that name.

    Raises:
        UsageError: there is none.
    """
    for name in TIE_RULES:
        if name == text:
            return name
    raise unknown_name("tie rule", text, list(TIE_RULES))


def parse_trained_against(texts: Sequence[str]) -> dict[str, list[str]]:
    """`NAME=SCORER[,SCORER]` options; `NAME=none` for an empty list.

    Raises:
        UsageError: another form, or a checkpoint or scorer given twice.
    """
    given = named_lists(OPTION, "NAME=SCORER,SCORER or NAME=none", texts)
    for name, scorers in given.items():
        if "none" in scorers and len(scorers) > 1:
            raise UsageError(f"{OPTION} {name}={','.join(scorers)}: none stands alone.")
    return {name: [] if scorers == ["none"] else list(scorers) for name, scorers in given.items()}
