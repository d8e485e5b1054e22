"""Methods over their trainings: which checkpoints belong together, and what results, terminal and commands say of them."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.exceptions import UsageError
from prefbench.bench.resamples import stream
from prefbench.bench.results import summarise
from prefbench.bench.results_file import read_results
from prefbench.bench.run import run_suite
from prefbench.bench.scores_table import check_scores
from prefbench.bench.suite import load_suite, with_limit
from prefbench.bench.tally.two_level import method_win_rates
from prefbench.bench.terminal import print_results
from prefbench.bench.training_groups import training_groups

COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]


def card(method="dpo", seed=0, lr=1e-4, **loop):
    """A training card as far as it decides anything."""
    return {
        "method": method,
        "recipe": "miniature",
        "seed": seed,
        "created": f"at {seed}",
        "config": {
            "method": {"name": method},
            "loop": {"lr": lr, "seed": seed} | loop,
            "data": {"sha256": "d" if not loop else f"d{seed}"},
        },
    }


def infos(**cards):
    return {name: {"training": given} for name, given in cards.items()}


def grouped(**cards):
    return [(group.name, group.checkpoints, group.seeds) for group in training_groups(infos(**cards))]


def table(shifts, prompts=60, scorers="xyz", seed=0):
    """Scores of checkpoints whose quality is `shifts`; every scorer sees the picture with a noise of its own."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, shift in shifts.items():
        picture = shift + rng.normal(size=prompts)
        for scorer in scorers:
            scores = picture + 0.5 * rng.normal(size=prompts)
            rows += [(name, f"p{p}", f"text {p}", 0, scorer, scores[p]) for p in range(prompts)]
    return check_scores(pd.DataFrame(rows, columns=COLUMNS))


SHIFTS = {"base": 0.0, "dpo_0": 0.4, "dpo_1": 0.9, "dpo_2": 1.2, "sft_0": 0.2, "sft_1": 0.3, "sft_2": 0.6}
SEEDS = {name: {"training": None if name == "base" else card(name[:3], int(name[-1]))} for name in SHIFTS}


def results(checkpoints=SEEDS, scores=None, **options):
    options = {"electorate": {"voters": ["x", "y", "z"]}, "resamples": 1000} | options
    return summarise(table(SHIFTS) if scores is None else scores, checkpoints=checkpoints, **options)


@pytest.fixture(scope="module")
def found():
    return results()


def of(found, a, b, scorer="majority"):
    entries = [
        entry
        for entry in found["methods"]["comparisons"]
        if (entry["a"], entry["b"], entry["scorer"]) == (a, b, scorer)
    ]
    assert len(entries) == 1
    return entries[0]


def test_trainings_that_differ_in_their_seed_alone_are_one_method():
    cards = {"one": card(seed=0), "two": card(seed=1), "base": None, "other": card("sft", seed=0)}
    assert grouped(**cards) == [("dpo", ("one", "two"), (0, 1)), ("other", ("other",), (0,))]


def test_another_constant_is_another_method_and_is_named():
    cards = {f"{lr}_{seed}": card(seed=seed, lr=lr) for lr in (1e-4, 2e-4) for seed in (0, 1)}
    assert [name for name, _, _ in grouped(**cards)] == ["dpo (lr 0.0001)", "dpo (lr 0.0002)"]


def test_a_constant_that_is_null_is_as_one_that_the_card_does_not_know():
    newer = card(seed=1)
    newer["config"]["loop"]["weights"] = None
    assert len(grouped(a=card(seed=0), b=newer)) == 1


def test_data_drawn_for_the_seed_may_differ_and_other_data_may_not():
    """With flipped labels or a random subset every seed has data of its own, and the other seeds go with it."""
    drawn = {f"s{seed}": card(seed=seed, flip=0.3, flip_seed=seed) for seed in (0, 1)}
    assert [name for name, _, _ in grouped(**drawn)] == ["dpo"]
    foreign = card(seed=1)
    foreign["config"]["data"]["sha256"] = "other"
    assert len(grouped(a=card(seed=0), b=foreign)) == 2


def test_the_same_training_under_another_name_is_no_second_training():
    assert grouped(a=card(seed=0), b=card(seed=1), again=card(seed=1)) == [("dpo", ("a", "b"), (0, 1))]


def test_a_method_does_not_take_the_name_of_a_checkpoint():
    assert grouped(dpo=card(seed=0), two=card(seed=1))[0][0] == "dpo (method)"


def test_cards_without_a_config_are_told_apart_by_what_they_have():
    bare = {"method": "dpo", "recipe": "sd15", "lora_rank": 8}
    cards = {"a": bare | {"seed": 0}, "b": bare | {"seed": 1}, "c": bare | {"seed": 2, "lora_rank": 4}}
    assert [members for _, members, _ in grouped(**cards)] == [("a", "b"), ("c",)]


def test_every_two_methods_and_the_baseline_stand_once_with_every_scorer(found):
    assert found["methods"]["groups"] == {
        "base": ["base"],
        "dpo": ["dpo_0", "dpo_1", "dpo_2"],
        "sft": ["sft_0", "sft_1", "sft_2"],
    }
    entries = [(entry["a"], entry["b"], entry["scorer"]) for entry in found["methods"]["comparisons"]]
    compared = [("dpo", "base"), ("sft", "base"), ("sft", "dpo")]
    assert entries == [(a, b, scorer) for a, b in compared for scorer in ("majority", "x", "y", "z")]


def test_the_rates_of_single_trainings_are_those_of_the_comparisons(found):
    """With as many pairs each, the method's rate is their mean, and the spread their standard deviation."""
    votes = {(e["a"], e["b"]): e["win_rate"] for e in found["comparisons"] if e["scorer"] == "majority"}
    entry = of(found, "dpo", "base")
    singles = [votes[f"dpo_{seed}", "base"] for seed in range(3)]
    assert [single["win_rate"] for single in entry["per_seed"]] == pytest.approx(singles)
    assert entry["win_rate"] == pytest.approx(np.mean(singles))
    assert entry["seed_spread"] == pytest.approx(np.std(singles, ddof=1))
    assert (entry["training_seeds"], entry["paired"]) == ([3, None], False)


def test_methods_of_the_same_seeds_are_paired_seed_by_seed(found):
    votes = {(e["a"], e["b"]): e["win_rate"] for e in found["comparisons"] if e["scorer"] == "majority"}
    entry = of(found, "sft", "dpo")
    assert (entry["training_seeds"], entry["paired"]) == ([3, 3], True)
    assert [(single["a"], single["b"]) for single in entry["per_seed"]] == [
        (f"sft_{seed}", f"dpo_{seed}") for seed in range(3)
    ]
    singles = [votes[f"sft_{seed}", f"dpo_{seed}"] for seed in range(3)]
    assert [single["win_rate"] for single in entry["per_seed"]] == pytest.approx(singles)


def test_methods_of_other_seeds_stand_each_against_each():
    cards = {name: {"training": info["training"]} for name, info in SEEDS.items()}
    cards["sft_2"] = {"training": card("sft", 7)}
    entry = of(results(cards), "sft", "dpo")
    assert (entry["training_seeds"], entry["paired"], len(entry["per_seed"])) == ([3, 3], False, 9)
    rates = np.array([single["win_rate"] for single in entry["per_seed"]]).reshape(3, 3)
    expected = np.sqrt(rates.mean(axis=1).var(ddof=1) + rates.mean(axis=0).var(ddof=1))
    assert entry["seed_spread"] == pytest.approx(expected)


def test_the_order_of_checkpoints_turns_a_comparison_round_and_changes_nothing_else(found):
    turned = results(dict(reversed(SEEDS.items())))
    one, other = of(found, "sft", "dpo"), of(turned, "dpo", "sft")
    assert other["win_rate"] == pytest.approx(1 - one["win_rate"])
    assert other["seed_spread"] == pytest.approx(one["seed_spread"])
    assert other["ci95"] == pytest.approx([1 - one["ci95"][1], 1 - one["ci95"][0]], abs=0.02)


def test_the_interval_is_that_of_the_tally_on_the_votes(found):
    """The prompts' numbers are in the order of their texts, and every comparison has draws of its own name."""
    wide = table(SHIFTS).pivot(index="prompt", columns=["checkpoint", "scorer"], values="score").sort_index()
    votes = np.stack(
        [[np.sign(wide[f"dpo_{seed}"][list("xyz")] - wide["base"][list("xyz")])] for seed in range(3)]
    )
    plain = method_win_rates(
        votes.astype(np.int8), np.arange(60), resamples=1000, rng=stream(0, "methods dpo base")
    )
    for scorer, rate in zip("xyz", plain, strict=True):
        entry = of(found, "dpo", "base", scorer)
        assert (entry["win_rate"], tuple(entry["ci95"])) == (rate.win_rate, rate.ci95)
        assert entry["ci_method"] == "bootstrap+t"


def test_pairs_that_the_tie_rule_leaves_out_are_in_no_method_s_vote():
    """Two voters: where they contradict each other the pair abstains, so the vote's rate is that of the agreed pairs."""
    from prefbench.bench.electorate.rules import VotingRules

    scores = table(SHIFTS, scorers="xy")
    found = results(scores=scores, electorate={"voters": ["x", "y"]}, rules=VotingRules(tie_rule="abstain"))
    wide = {
        k: t.pivot(index="prompt", columns="checkpoint", values="score") for k, t in scores.groupby("scorer")
    }
    agreed = []
    for seed in range(3):
        x, y = (np.sign(wide[k][f"dpo_{seed}"] - wide[k]["base"]) for k in "xy")
        agreed.append((x[x == y] > 0).mean())
    assert [e["win_rate"] for e in of(found, "dpo", "base")["per_seed"]] == pytest.approx(agreed)


def test_without_several_trainings_there_is_no_block():
    single = {name: SEEDS[name] for name in ("base", "dpo_0", "sft_0")}
    found = results(single)
    assert found["methods"] is None
    assert "one_training_seed" in [w["kind"] for w in found["warnings"]]
    assert results(list(SHIFTS))["methods"] is None


def test_a_named_method_takes_the_place_of_the_records_and_of_the_warning():
    found = results(list(SHIFTS), methods={"mine": ["dpo_0", "dpo_1", "dpo_2"]})
    assert found["methods"]["groups"]["mine"] == ["dpo_0", "dpo_1", "dpo_2"]
    assert of(found, "mine", "base")["training_seeds"] == [3, None]
    assert of(found, "sft_0", "mine")["training_seeds"] == [None, 3]
    told = results(methods={"all": ["dpo_0", "sft_0"]})
    warned = [name for w in told["warnings"] if w["kind"] == "one_training_seed" for name in w["checkpoints"]]
    assert warned == []


def test_the_block_does_not_change_another_and_pairs_that_were_not_compared_leave_it_out(found):
    alone = results(list(SHIFTS))
    assert alone["comparisons"] == found["comparisons"]
    assert results(pairs=[("dpo_0", "base"), ("dpo_1", "base")])["methods"] is None


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"m": ["dpo_0", "dpo_9"]}, "Unknown checkpoint 'dpo_9'.*dpo_0"),
        ({"m": ["dpo_0"]}, "names 1 checkpoint"),
        ({"m": ["dpo_0", "dpo_0"]}, "twice"),
        ({"m": ["dpo_0", "dpo_1"], "n": ["dpo_1", "dpo_2"]}, "--method m already"),
        ({"base": ["dpo_0", "dpo_1"]}, "has this name"),
        ({"m": list(SHIFTS)}, "is the baseline"),
    ],
)
def test_methods_that_do_not_fit_are_refused(methods, message):
    with pytest.raises(UsageError, match=message):
        results(methods=methods)


def test_the_terminal_shows_rate_interval_trainings_and_spread_in_80_columns(found):
    out = io.StringIO()
    print_results(Console(file=out, width=80), found)
    text = out.getvalue()
    shown = text[text.index("Methods, over training seeds") :].splitlines()
    entry = of(found, "sft", "dpo")
    line = next(line for line in shown if line.startswith("sft over dpo"))
    singles = [single["win_rate"] for single in entry["per_seed"]]
    for value in (entry["win_rate"], *entry["ci95"], min(singles), max(singles), entry["seed_spread"]):
        assert f"{100 * value:.1f}" in line
    assert "3, paired" in line
    assert any(line.startswith("dpo over base") and "3 : -" in line for line in shown)
    assert max(map(len, text.splitlines())) <= 80


def test_compare_takes_methods_by_name(tmp_path):
    scores = tmp_path / "scores.csv"
    table(SHIFTS).to_csv(scores, index=False)
    arguments = ["compare", str(scores), "--out", str(tmp_path / "out"), "--resamples", "1000"]
    methods = ["--method", "dpo=dpo_0,dpo_1,dpo_2", "--method", "sft=sft_0, sft_1,sft_2"]
    done = CliRunner().invoke(app, [*arguments, "--all", *methods])
    assert done.exit_code == 0, done.output
    assert "Methods, over training seeds" in done.output
    block = read_results(tmp_path / "out" / "results.json")["methods"]
    assert list(block["groups"]) == ["base", "dpo", "sft"]
    assert block["comparisons"][-1]["paired"] is False, "a table tells no training seeds"
    for wrong, message in (
        (["--a", "dpo_0", "--b", "base", *methods], "--method goes with --all"),
        (["--all", "--method", "dpo=dpo_0,,dpo_1"], "empty name between commas"),
    ):
        refused = CliRunner().invoke(app, [*arguments, *wrong])
        assert isinstance(refused.exception, UsageError)
        assert message in str(refused.exception)


@pytest.mark.usefixtures("toy_plugin")
def test_bench_groups_by_the_records_of_the_trainings_and_tells_a_wrong_name_before_it_draws(
    suite_file, tiny_pipeline, other_pipeline, tmp_path
):
    specs = {"base": str(tiny_pipeline)}
    for seed, source in enumerate((tiny_pipeline, other_pipeline)):
        folder = shutil.copytree(source, tmp_path / f"dpo_{seed}")
        (folder / "prefbench.json").write_text(json.dumps(card(seed=seed) | {"kind": "pipeline"}))
        specs[folder.name] = str(folder)
    suite, out = with_limit(load_suite(str(suite_file)), 2), tmp_path / "run"
    with pytest.raises(UsageError, match="Unknown checkpoint 'dpo_2'"):
        run_suite(suite, specs, out, device="cpu", resamples=1000, methods={"dpo": ["dpo_0", "dpo_2"]})
    assert not list(out.glob("images/*/*.png"))
    found = run_suite(suite, specs, out, device="cpu", resamples=1000)
    assert found["methods"]["groups"] == {"base": ["base"], "dpo": ["dpo_0", "dpo_1"]}
    assert of(found, "dpo", "base")["training_seeds"] == [2, None]
