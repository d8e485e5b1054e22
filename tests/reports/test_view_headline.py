"""What the first screen says, for every way a run can end; results written by hand."""

from typing import Any

import pytest

from prefbench.bench.exceptions import DataError
from prefbench.reports.view_facts import read_facts
from prefbench.reports.view_headline import focus, headline
from prefbench.reports.view_numbers import NARROW
from prefbench.reports.view_verdicts import verdict_cards

BETTER, WORSE, OPEN = (0.8, [0.75, 0.85]), (0.3, [0.25, 0.35]), (0.51, [0.45, 0.57])
BEST = (0.81, [0.76, 0.86])
WORDS = {BETTER[0]: "better", BEST[0]: "better", WORSE[0]: "worse", OPEN[0]: "open"}


def entry(
    a: str, b: str, scorer: str, rate: tuple[float, list[float] | None], mean: Any = None
) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "scorer": scorer,
        "slice": "all",
        "prompts": 200,
        "pairs": 200,
        "wins": 100,
        "ties": 20,
        "losses": 80,
        "win_rate": rate[0],
        "ci95": rate[1],
        "ci_method": "bootstrap",
        "mean_difference": None if mean is None else mean[0],
        "mean_difference_ci95": None if mean is None else mean[1],
        "p_value": 0.01,
    }


def run(
    comparisons: list[dict[str, Any]], held_out: tuple[str, ...] = ("truth",), **more: Any
) -> dict[str, Any]:
    names = ["base", *dict.fromkeys(row["a"] for row in comparisons if row["a"] != "base")]
    voters = list(
        dict.fromkeys(r["scorer"] for r in comparisons if r["scorer"] not in ("majority", *held_out))
    )
    return {
        "schema": 1,
        "suite": {"electorate": {"voters": voters, "held_out": list(held_out), "tie_rule": ""}},
        "checkpoints": {name: {} for name in names},
        "scorers": {name: {"direction": "higher"} for name in (*voters, *held_out)},
        "comparisons": comparisons,
        "verdicts": [
            {"a": r["a"], "b": r["b"], "outcome": WORDS[r["win_rate"]]}
            for r in comparisons
            if r["scorer"] == "majority"
        ],
        "warnings": [],
    } | more


def against_base(name: str, vote: Any, clip: Any, truth: Any, mean: Any = None) -> list[dict[str, Any]]:
    return [
        entry(name, "base", "majority", vote),
        entry(name, "base", "clip", clip, (0.1, [0.05, 0.15])),
        entry(name, "base", "truth", truth, mean or (0.1, [0.05, 0.15])),
    ]


def said(results: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    first = headline(read_facts(results), results["warnings"])
    return "".join(s.text for s in first.title), "".join(s.text for s in first.lead), first.against


def test_a_clear_win_is_said_with_its_interval_and_that_nothing_contradicts_it() -> None:
    title, lead, against = said(run(against_base("dpo", BETTER, BETTER, BETTER)))
    assert title == f"dpo beats base, win rate 80.0{NARROW}%"
    assert lead == (
        f"By clip alone, over 200 prompts. 80.0{NARROW}% of pairs won, ties counted half; "
        f"95{NARROW}% interval 75.0 to 85.0{NARROW}%."
    )
    assert against == (
        "No contradiction was found: every voter and every held-out scorer sees the same one ahead.",
    )


def test_a_vote_that_the_held_out_scorer_contradicts_is_no_plain_win() -> None:
    title, _, against = said(run(against_base("dpo", BETTER, BETTER, WORSE)))
    assert title == "dpo wins the vote against base, but held-out truth says it got worse"
    assert f"truth, held out, sees base ahead: 30.0{NARROW}% (25.0–35.0)." in against


@pytest.mark.parametrize("truth", [BETTER, OPEN])
def test_a_falling_mean_of_the_held_out_scorer_is_said_and_contradicts_no_vote(truth: Any) -> None:
    """Votes count wins, and so does the rule by which the results warn: title and warning say the same."""
    results = run(against_base("dpo", BETTER, BETTER, truth, (-0.013, [-0.024, -0.001])))
    title, _, against = said(results)
    assert title == f"dpo beats base, win rate 80.0{NARROW}%"
    assert "By mean score truth, held out, got worse: −0.013 (−0.024 to −0.001)." in against
    card = verdict_cards(read_facts(results), [])[0]
    assert (card.phrase, card.cautions) == ("beats", ())


def test_results_without_their_warning_do_not_hide_that_a_held_out_scorer_falls() -> None:
    card = verdict_cards(read_facts(run(against_base("dpo", BETTER, BETTER, WORSE))), [])[0]
    assert card.phrase == "wins the vote against"
    assert card.cautions[0].startswith(
        f"The vote rose while it fell by the held-out truth, 30.0{NARROW}% (25.0–35.0)."
    )


def test_a_lower_is_better_scorer_got_better_where_its_mean_fell() -> None:
    results = run(against_base("dpo", BETTER, BETTER, OPEN, (-0.013, [-0.024, -0.001])))
    results["scorers"]["truth"]["direction"] = "lower"
    assert said(results)[0] == f"dpo beats base, win rate 80.0{NARROW}%"


@pytest.mark.parametrize(
    ("vote", "title"),
    [
        (WORSE, f"dpo loses to base, win rate 30.0{NARROW}%"),
        (OPEN, f"dpo against base stays open, win rate 51.0{NARROW}%"),
    ],
)
def test_losing_and_open_verdicts_have_their_own_words(vote: Any, title: str) -> None:
    assert said(run(against_base("dpo", vote, vote, vote)))[0] == title


def test_among_several_none_or_all_is_said_as_such() -> None:
    pair = [entry("b", "a", "majority", OPEN), entry("b", "a", "clip", OPEN), entry("b", "a", "truth", OPEN)]
    none = run(against_base("a", OPEN, OPEN, OPEN) + against_base("b", WORSE, WORSE, WORSE) + pair)
    everyone = run(against_base("a", WORSE, WORSE, WORSE) + against_base("b", WORSE, WORSE, WORSE) + pair)
    assert said(none)[0] == "None of 2 checkpoints beats base"
    assert said(everyone)[0] == "All 2 checkpoints lose to base"


def test_the_report_opens_with_a_win_that_stands_rather_than_a_higher_one_that_was_gamed() -> None:
    higher = (0.8, [0.79, 0.81])
    pair = [entry("gamed", "fair", name, OPEN) for name in ("majority", "clip", "truth")]
    results = run(
        against_base("fair", BETTER, BETTER, BETTER) + against_base("gamed", higher, BETTER, WORSE) + pair
    )
    assert focus(read_facts(results)) == "fair"


def test_the_report_opens_with_the_one_that_beats_the_others_rather_than_with_the_highest_rate() -> None:
    """b wins more often against the base (81 % and 80 %) and loses to a head to head."""
    pair = [entry("b", "a", name, WORSE) for name in ("majority", "clip", "truth")]
    results = run(against_base("a", BETTER, BETTER, BETTER) + against_base("b", BEST, BETTER, BETTER) + pair)
    assert focus(read_facts(results)) == "a"


def test_head_to_head_losses_are_said_beside_the_verdict() -> None:
    pair = [entry("b", "a", name, WORSE) for name in ("majority", "clip", "truth")]
    results = run(against_base("a", OPEN, OPEN, OPEN) + against_base("b", BETTER, BETTER, BETTER) + pair)
    _, lead, against = said(results)
    assert lead.endswith(" Head to head it loses to a.")
    assert f"Head to head, a beats it: 70.0{NARROW}% (65.0–75.0)." in against


def test_dissenting_and_undecided_voters_are_named_with_numbers() -> None:
    rows = [*against_base("dpo", BETTER, WORSE, BETTER), entry("dpo", "base", "looks", OPEN)]
    _, _, against = said(run(rows))
    assert f"clip sees base ahead: 30.0{NARROW}% (25.0–35.0)." in against
    assert f"looks cannot tell the two apart: 51.0{NARROW}% (45.0–57.0)." in against


def test_warnings_that_contradict_come_first_and_the_rest_is_counted() -> None:
    warnings = [
        {"kind": "few_prompts", "text": "few", "checkpoints": []},
        {"kind": "reward_hacking", "text": "gamed", "checkpoints": ["dpo", "base"]},
    ]
    results = run(against_base("dpo", BETTER, BETTER, WORSE), warnings=warnings)
    first = headline(read_facts(results), warnings)
    assert first.warnings == ("gamed",)
    assert first.more_warnings == "1 more warning below"
    assert first.against == ()  # the warning says it already


def test_without_a_held_out_scorer_the_page_says_what_it_cannot_show() -> None:
    rows = [entry("dpo", "base", "majority", BETTER), entry("dpo", "base", "clip", BETTER)]
    _, _, against = said(run(rows, held_out=()))
    assert "No scorer was held out" in against[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2"),
        ({"comparisons": []}, "nothing is compared with the first checkpoint, 'base'"),
        ({"checkpoints": {"base": {}}}, "needs at least two"),
        ({"scorers": {}}, "the electorate names the scorer 'clip'"),
        ({"verdicts": []}, "`verdicts` has no entry for 'dpo' against 'base'"),
    ],
)
def test_results_that_cannot_be_reported_are_refused(change: dict[str, Any], message: str) -> None:
    results = run(against_base("dpo", BETTER, BETTER, BETTER)) | change
    with pytest.raises(DataError, match=message):
        said(results)


def test_a_missing_field_is_named() -> None:
    results = run(against_base("dpo", BETTER, BETTER, BETTER))
    del results["comparisons"][0]["ties"]
    with pytest.raises(DataError, match="the field 'ties' is missing"):
        read_facts(results)
