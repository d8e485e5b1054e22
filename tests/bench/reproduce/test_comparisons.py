"""Tables of verdicts from numbers made by hand."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from prefbench.bench.reproduce.arms import ARMS
from prefbench.bench.reproduce.comparisons import compare_runs, verdict
from prefbench.bench.reproduce.sweep import FACTORS, choose_factor
from prefbench.bench.reproduce.table import markdown, print_reproduction, statements

VOTERS, TRUTH = ["a", "b", "c"], "mini:truth"


def scores(better: list[bool], truth: float = 0.5) -> pd.DataFrame:
    """One row a prompt and scorer: every voter gives 1 where `better`, else -1; the truth gives `truth`."""
    return pd.DataFrame(
        {
            "checkpoint": "x",
            "prompt_id": f"{k:03d}",
            "prompt": f"prompt {k}",
            "seed": 0,
            "scorer": scorer,
            "score": truth if scorer == TRUTH else 1.0 if won else -1.0,
            "category": "one object",
        }
        for k, won in enumerate(better)
        for scorer in (*VOTERS, TRUTH)
    )


def middle(prompts: int) -> pd.DataFrame:
    """What is between winning and losing."""
    table = scores([True] * prompts)
    table.loc[table["scorer"] != TRUTH, "score"] = 0.0
    return table


def compare(runs: dict[int, pd.DataFrame], others: dict[int, pd.DataFrame]) -> dict[str, dict]:
    found = compare_runs("arm", runs, "other", others, voters=VOTERS, held_out=[TRUTH], resamples=1000)
    return {entry["judge"]: entry for entry in found}


def test_seeds_are_further_pairs_of_the_same_prompts_with_their_own_rates_beside() -> None:
    """Seed 0 wins 30 of 40 prompts and seed 1 all 40: 70 of 80 pairs, over 40 prompts, 75 % and 100 %."""
    base = middle(40)
    found = compare({0: scores([k % 4 > 0 for k in range(40)]), 1: scores([True] * 40)}, {0: base, 1: base})
    vote = found["majority"]
    assert (vote["pairs"], vote["prompts"], vote["wins"], vote["losses"]) == (80, 40, 70, 10)
    assert vote["win_rate"] == 0.875
    assert vote["per_seed"] == {"0": 0.75, "1": 1.0}
    assert vote["verdict"] == "beats"
    truth = found[TRUTH]
    assert (truth["win_rate"], truth["ties"], truth["verdict"]) == (0.5, 80, "ties")


def test_the_interval_resamples_prompts_so_a_repeated_seed_adds_no_certainty() -> None:
    """Three times the same training: the same interval as once; three times the pairs as independent would narrow it."""
    base, won = middle(40), scores([k % 3 > 0 for k in range(40)])
    once = compare({0: won}, {0: base})["majority"]
    thrice = compare(dict.fromkeys(range(3), won), dict.fromkeys(range(3), base))["majority"]
    assert thrice["ci95"] == pytest.approx(once["ci95"])
    assert thrice["pairs"] == 3 * once["pairs"]


def test_an_arm_meets_its_control_seed_by_seed_and_a_diverged_seed_is_left_out() -> None:
    """Seed 1 of the control diverged: only seed 0 is compared, which the arm loses throughout."""
    found = compare({0: scores([False] * 40), 1: scores([True] * 40)}, {0: middle(40)})["majority"]
    assert found["per_seed"] == {"0": 0.0}
    assert (found["win_rate"], found["verdict"]) == (0.0, "loses")
    assert compare({0: middle(4)}, {1: middle(4)}) == {}


def test_the_interval_over_trainings_is_the_one_over_prompts_widened_by_student_and_none_for_one_training() -> (
    None
):
    """Rates 75 % and 100 %: mean 87.5 %, sd 0.1768, standard error 0.125, t(1) = 12.706: 87.5 % -+ 159 %, cut to [0, 1].

    Three equal trainings have no spread: the interval over prompts stays.
    """
    base, won, all_won = middle(40), scores([k % 4 > 0 for k in range(40)]), scores([True] * 40)
    apart = compare({0: won, 1: all_won}, {0: base, 1: base})["majority"]
    assert apart["trainings_ci95"] == (0.0, 1.0)
    alike = compare(dict.fromkeys(range(3), won), dict.fromkeys(range(3), base))["majority"]
    assert alike["trainings_ci95"] == pytest.approx(alike["ci95"])
    assert compare({0: won}, {0: base})["majority"]["trainings_ci95"] is None


def test_a_verdict_needs_the_interval_and_every_seed_on_one_side() -> None:
    assert verdict([0.52, 0.6], {0: 0.55, 1: 0.57}) == "beats"
    assert verdict([0.52, 0.6], {0: 0.62, 1: 0.49}) == "ties"
    assert verdict([0.49, 0.6], {0: 0.55, 1: 0.57}) == "ties"
    assert verdict([0.40, 0.48], {0: 0.45, 1: 0.43}) == "loses"
    assert verdict([0.40, 0.48], {0: 0.51, 1: 0.30}) == "ties"
    assert verdict(None, {0: 1.0}) == "ties"


def test_the_sweep_takes_the_highest_truth_and_never_a_diverged_training() -> None:
    assert choose_factor({0.5: 0.50, 1.0: 0.52, 2.0: 0.53}) == 2.0
    assert choose_factor({0.5: 0.50, 1.0: 0.40, 2.0: None}) == 0.5
    assert choose_factor({0.5: None, 1.0: 0.01, 2.0: None}) == 1.0
    # Equals: nearest 1, then the smaller; log 2 either way.
    assert choose_factor(dict.fromkeys(FACTORS, 0.5)) == 1.0
    assert choose_factor({0.5: 0.5, 1.0: 0.4, 2.0: 0.5}) == 0.5
    assert choose_factor(dict.fromkeys(FACTORS)) == 1.0


def results() -> dict:
    """Two arms: one beats base and ties its control by the vote; the other loses, and one training of it diverged."""
    base, rng = middle(60), np.random.default_rng(0)
    three = range(3)

    def arm(name: str, share: float, controls: list[str], diverged: dict[str, str]) -> dict:
        runs = {seed: scores((rng.random(60) < share).tolist(), truth=share) for seed in three}
        entries = [
            entry
            for other in ("base", *controls)
            for entry in compare_runs(
                name, runs, other, dict.fromkeys(three, base), voters=VOTERS, held_out=[TRUTH], resamples=1000
            )
        ]
        return {
            "name": name, "method": name, "only_control": False, "settings": {"flip": 0.3}, "why": "the same labels",
            "controls": controls, "factor": 0.5, "lr": 5e-5, "mean_truth": share, "diverged": diverged,
            "seconds_a_training": 61.0, "comparisons": entries, "stability": None,
        }  # fmt: skip

    return {
        "prefbench": "0",
        "whole": True,
        "training_seeds": [0, 1, 2],
        "electorate": {"voters": VOTERS, "held_out": [TRUTH]},
        "sweep": {"rule": "r", "base": 0.5, "arms": {"good_arm_of_long_name": {"0.5": 0.6, "1": None}}},
        "base": {"mean_truth": 0.5},
        "arms": [
            arm("good_arm_of_long_name", 0.9, ["diffusion_dpo_flip30"], {}),
            arm("bad_arm", 0.1, [], {"2": "Step 3: the loss is nan."}),
        ],
    }


def test_statements_name_what_held_and_what_did_not() -> None:
    lines = " ".join(statements(results()))
    assert "1 of 2 arms beat or tie the base and every control: good_arm_of_long_name (beats base" in lines
    assert "these do not: bad_arm (1 training diverged)" in lines
    assert (
        "By the majority vote, the interval over prompts tells 1 of 1 comparisons with a control apart"
        in lines
    )
    assert "three training seeds" not in lines
    assert "mean nothing" not in lines
    cut = results() | {"whole": False, "training_seeds": [0]}
    assert "mean nothing" in " ".join(statements(cut))
    assert "Fewer than three training seeds" in " ".join(statements(cut))


def test_the_table_fits_80_columns_and_shows_every_rate_range_and_verdict() -> None:
    buffer = io.StringIO()
    found = results()
    print_reproduction(Console(file=buffer, width=80), found)
    text = buffer.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "1 training diverged" in text
    assert max(len(arm.name) for arm in ARMS) <= len("good_arm_of_long_name")
    vote = found["arms"][0]["comparisons"][0]
    seeds = vote["per_seed"].values()
    assert f"{100 * vote['win_rate']:.0f} [" in text
    assert f"{100 * min(seeds):.0f}-{100 * max(seeds):.0f} beats" in text


def test_the_markdown_page_has_every_comparison_the_settings_and_the_sweep() -> None:
    page = markdown(results())
    assert (
        "60 prompts, 3 training seeds, learning rates chosen on other prompts. Mean truth of the base: 0.500."
        in page
    )
    assert "| good_arm_of_long_name | diffusion_dpo_flip30 |" in page
    assert "| bad_arm | base |" in page
    assert "| flip = 0.3 | 5.0e-05 (x0.5) |" in page
    assert "| good_arm_of_long_name | 0.600 | diverged |" in page
