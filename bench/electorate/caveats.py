"""What speaks against a vote: a judge that did not vote, and voters that a checkpoint was trained against."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefbench.bench.electorate.trained_against import from_record
from prefbench.bench.electorate.warning_text import Found, by_pair, pairs_text, percent, warning
from prefbench.bench.verdict import MAJORITY, difference_text, mean_outcome, opposed, outcome
from prefbench.bench.votes_block import WITH_TRAINED_AGAINST
from prefbench.bench.wording import count

__all__ = ["mean_against_wins", "reward_hacking", "trained_against", "weightless_voters"]

TRUTHS = ("mini:truth",)
"""Scorers that are the known truth of their world."""

Entry = Mapping[str, Any]


def reward_hacking(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """The vote, or a scorer that was trained against, rises while a held-out scorer, the truth or the vote falls.

    Both must leave 50 % out of their intervals, on opposite sides.
    """
    held_out = results["suite"]["electorate"]["held_out"]
    for (a, b), vote in by_pair(whole, MAJORITY).items():
        judges = {MAJORITY: vote} | {name: by_pair(whole, name)[a, b] for name in held_out}
        found = outcome(vote["ci95"])
        if found != "open":
            yield from _gamed_vote(a, b, judges, found == "worse")
        for turned in (False, True):
            winner, loser = (b, a) if turned else (a, b)
            against = results["checkpoints"][winner]["trained_against"]
            rewards = {name: by_pair(whole, name)[a, b] for name in against if name in results["scorers"]}
            told = found == _side("better", turned)
            falling = [
                name
                for name, entry in judges.items()
                # Beside a vote that rises as well, the sentence on the vote has said it.
                if outcome(entry["ci95"]) == _side("worse", turned) and name not in against and not told
            ]
            yield from _gamed_scorer(winner, loser, rewards, {name: judges[name] for name in falling}, turned)


def _side(word: str, turned: bool) -> str:
    """What an interval seen from `a` says where the checkpoint in question does `word`."""
    return {"better": "worse", "worse": "better"}[word] if turned else word


def _gamed_vote(a: str, b: str, judges: Mapping[str, Entry], turned: bool) -> Found:
    winner, loser = (b, a) if turned else (a, b)
    for name, entry in judges.items():
        if not opposed(judges[MAJORITY]["ci95"], entry["ci95"]):
            continue
        who = f"the known truth {name}" if name in TRUTHS else f"the held-out {name}"
        yield warning(
            "reward_hacking",
            f"{winner} wins the vote against {loser} ({percent(judges[MAJORITY], turned)}) but loses by "
            f"{who} ({percent(entry, turned)}): the voters may have been gamed (reward hacking). Look at the pictures "
            "before believing the vote.",
            [winner, loser],
        )


def _gamed_scorer(
    winner: str, loser: str, rewards: Mapping[str, Entry], falling: Mapping[str, Entry], turned: bool
) -> Found:
    rising = {
        name: entry for name, entry in rewards.items() if outcome(entry["ci95"]) == _side("better", turned)
    }
    if not rising or not falling:
        return
    words = {MAJORITY: "the vote of the others"} | {name: f"the known truth {name}" for name in TRUTHS}
    up = ", ".join(f"{name} ({percent(entry, turned)})" for name, entry in rising.items())
    down = ", ".join(
        f"{words.get(name, f'the held-out {name}')} ({percent(entry, turned)})"
        for name, entry in falling.items()
    )
    yield warning(
        "reward_hacking",
        f"{winner} wins against {loser} by {up}, which it was trained against, but loses by {down}: what it learnt may be the "
        "scorer's taste and nothing better (reward hacking). Look at the pictures.",
        [winner, loser],
    )


def mean_against_wins(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Scorers by which a checkpoint wins more often but loses by more; both intervals must decide."""
    told: dict[tuple[str, str], list[str]] = {}
    for entry in whole:
        info, ci95 = results["scorers"].get(entry["scorer"], {}), entry["mean_difference_ci95"]
        won, lower = outcome(entry["ci95"]), info.get("direction") == "lower"
        if {won, mean_outcome(ci95, lower)} != {"better", "worse"}:
            continue
        turned = won == "worse"
        mean = entry["mean_difference"]
        if turned:
            mean, ci95 = -mean, [-ci95[1], -ci95[0]]
        better = ", lower is better" if lower else ""
        told.setdefault((entry["b"], entry["a"]) if turned else (entry["a"], entry["b"]), []).append(
            f"{entry['scorer']} (wins {percent(entry, turned)}, mean difference {difference_text(mean, ci95)}{better})"
        )
    for (winner, loser), scorers in told.items():
        yield warning(
            "mean_against_wins",
            f"{winner} wins more often than {loser} but loses by more, by {_and(scorers)}.",
            [winner, loser],
        )


def trained_against(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Scorers kept out of a checkpoint's vote, and what the vote would have been with them."""
    electorate = results["suite"]["electorate"]
    voters, held_out = electorate["voters"], electorate["held_out"]
    votes = by_pair(whole, MAJORITY)
    for name, info in results["checkpoints"].items():
        against = info["trained_against"]
        barred = [scorer for scorer in voters if scorer in against]
        idle = [scorer for scorer in held_out if scorer in against]
        record = [scorer for scorer in from_record(info["training"], voters) if scorer in voters]
        asked = [scorer for scorer in record if scorer not in against]
        sentences = []
        if barred:
            sentences.append(
                f"{name} was trained against {_and(barred)}: {_its(barred)} not count where {name} takes part."
            )
            sentences += _left(results, name)
            sentences.append(_with_them(results, name, votes, len(barred)))
        if idle:
            sentences.append(
                f"{name} was trained against {_and(idle)}, held out: no independent judge of it."
            )
        if asked:
            sentences.append(
                f"The training record of {name} says that {_and(asked)} made its labels; as asked, "
                f"{'they vote' if len(asked) > 1 else 'it votes'} on it all the same."
            )
        if sentences:
            yield warning("trained_against", " ".join(sentences), [name])


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _its(names: Sequence[str]) -> str:
    return "their votes do" if len(names) > 1 else "its vote does"


def _left(results: Mapping[str, Any], name: str) -> Iterator[str]:
    """Who still votes where `name` takes part, and how many independent voters these are worth there."""
    groups: dict[int, list[Entry]] = {}
    for vote in results["votes"]["variants"]:
        if vote["rule"] == MAJORITY and name in (vote["a"], vote["b"]):
            groups.setdefault(len(vote["voters"]), []).append(vote)
    for number, votes in sorted(groups.items()):
        if number == 1:
            alone = [f"{pairs_text([vote])} {vote['voters'][0]} votes alone" for vote in votes]
            yield f"In {', in '.join(alone)}."
            continue
        where = "" if len(groups) == 1 else f" in {pairs_text(votes)}"
        known = [vote["effective_voters"] for vote in votes if vote["effective_voters"] is not None]
        worth = f", worth about {_range(known)} independent ones" if known else ""
        even = "" if number % 2 else f", an even number: {results['suite']['electorate']['tie_rule']}"
        yield f"{number} voters are left{where}{worth}{even}."


def _range(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{value:.1f}" for value in (min(values), max(values))))


def _with_them(
    results: Mapping[str, Any], name: str, votes: Mapping[tuple[str, str], Entry], barred: int
) -> str:
    """The vote with them: against the baseline, and wherever it would decide otherwise."""
    baseline = next(iter(results["checkpoints"]))
    variants = {
        (entry["a"], entry["b"]): entry
        for entry in results["votes"]["variants"]
        if entry["rule"] == WITH_TRAINED_AGAINST and name in (entry["a"], entry["b"])
    }
    told, same = [], 0
    for i, (pair, entry) in enumerate(variants.items()):
        found, now = outcome(entry["ci95"]), outcome(votes[pair]["ci95"])
        if found == now and not (baseline in pair if name != baseline else i == 0):
            same += 1
            continue
        change = f", {found} and not {now}" if found != now else ""
        told.append(f"{pair[0]} over {pair[1]} {percent(entry)} instead of {percent(votes[pair])}{change}")
    more = f"; {count(same, 'more comparison')} would end alike" if same else ""
    return f"With {'them' if barred > 1 else 'it'}: {'; '.join(told)}{more}."


def weightless_voters(results: Mapping[str, Any], whole: list[dict[str, Any]]) -> Found:
    """Voters that people's choices give no weight."""
    weights = results["votes"]["weights"] or {}
    none = [name for name, weight in weights.items() if weight == 0]
    if none:
        several = len(none) > 1
        yield warning(
            "weightless_voter",
            f"{_and(none)} {'agree' if several else 'agrees'} with people no more often than a coin does "
            f"({results['votes']['weights_source']}): weight 0 in the weighted vote, and a full vote in the plain majority.",
            [],
        )
