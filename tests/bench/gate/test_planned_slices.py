"""Planned slices of a gate at their edges: too few bootstrap samples to fail one, and a slice without a vote."""

from itertools import chain

import pytest
from gate_tables import outcomes, table

from prefbench.bench.comparison import compare_scores
from prefbench.bench.electorate.options import VotingOptions
from prefbench.bench.exceptions import UsageError
from prefbench.bench.gate.gating import gate_release
from prefbench.bench.gate.wording import basis_text

RULES = '[[rules]]\nkind = "slice_loss"\nslices = ["category"]\nmargin = 0.03\n'


@pytest.fixture
def gate(tmp_path):
    """gate(frame, **options of compare) -> report: compares "mine" with "base", and gates every category."""

    def run(frame, rules=RULES, **options):
        frame.to_csv(tmp_path / "s.csv", index=False)
        (tmp_path / "g.toml").write_text(rules)
        compare_scores(tmp_path / "s.csv", "mine", "base", tmp_path / "c", **options)
        return gate_release(tmp_path / "c", "mine", "base", tmp_path / "out", rules=tmp_path / "g.toml")

    return run


def test_a_slice_that_no_number_of_draws_could_fail_is_refused_with_the_number_that_can(gate):
    """Six slices at alpha .01: 6/1001 is above .005. 6/1201 is below it, and 7 wins of 60 have no draw at 47 %."""
    slices = [outcomes(wins=7, losses=53), *[outcomes(wins=2)] * 5]
    category = [f"c{k}" for k, of_slice in enumerate(slices) for _ in of_slice]
    frame = table([list(chain(*slices))], category=category)
    rules = f"alpha = 0.01\n{RULES}"
    with pytest.raises(UsageError, match=r"6 planned slices.*below 1/1001, and 6 times.*--resamples 1200`"):
        gate(frame, rules, resamples=1000)
    lost, *others = gate(frame, rules, resamples=1200)["rules"]
    assert (lost["outcome"], lost["p_adjusted"]) == ("fail", pytest.approx(6 / 1201))
    assert {entry["outcome"] for entry in others} == {"inconclusive"}


def test_prompts_needed_where_the_vote_abstains_are_prompts_to_draw(gate):
    """Of 100 prompts 38 count, 22 won: 57.9 %, d = .0789, N = 7.849 / 4 / .0789^2 = 314.8 that count, 315 / .38 = 828.9 drawn."""
    both = outcomes(wins=22, losses=16)
    frame = table([both + outcomes(wins=62), both + outcomes(losses=62)], scorers=("one", "two"))
    rules = '[[rules]]\nkind = "superiority"\n'
    report = gate(frame, rules, voting=VotingOptions(tie_rule="abstain"), resamples=1000)
    (entry,) = report["rules"]
    assert basis_text(report) == (
        "100 prompts (100 pairs), of which the tie rule counts 38 (38 pairs) for the vote"
    )
    needed = entry["needed"]
    assert (entry["prompts"], needed["prompts"], needed["more_prompts"], needed["seeds"]) == (
        38,
        829,
        729,
        None,
    )
    assert "729 more; the tie rule counts 38 of 100 pairs" in needed["text"]


def test_a_slice_without_a_vote_is_open_says_so_and_counts_for_holm(gate):
    """Two voters that agree on A and contradict each other on all of B, which `abstain` leaves out: Holm doubles A's p."""
    both = outcomes(wins=16, losses=24)
    frame = table(
        [both + outcomes(wins=10), both + outcomes(losses=10)],
        scorers=("one", "two"),
        category=["A"] * 40 + ["B"] * 10,
    )
    report = gate(frame, voting=VotingOptions(tie_rule="abstain"), resamples=2000)
    lost, silent = report["rules"]
    assert report["errors"]["planned_slices"] == 2
    assert lost["p_adjusted"] == pytest.approx(2 * lost["p_value_fail"])
    assert (silent["outcome"], silent["estimate"], silent["pairs"]) == ("inconclusive", None, 0)
    assert silent["note"].startswith("No vote: the voters split evenly on every pair")
