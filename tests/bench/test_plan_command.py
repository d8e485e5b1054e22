"""`prefbench plan` as typed: answers, where their numbers come from, refusals; and the pilot it measures."""

import json

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from prefbench.bench.commands.plan import plan_command
from prefbench.bench.exceptions import DataError, PrefbenchError, UsageError
from prefbench.bench.importers.imagereward_benchmark import read_results
from prefbench.bench.paired_samples import arrange, cast_votes
from prefbench.bench.pilot import read_pilot
from prefbench.bench.power_plan import Request, make_power_plan
from prefbench.bench.scores_table import write_scores
from prefbench.bench.tally.agreement import vote_correlation
from prefbench.bench.tally.seed_correlation import seed_correlation

APP = typer.Typer()
APP.command()(plan_command)
COLUMNS = ["checkpoint", "prompt_id", "prompt", "seed", "scorer", "score"]


def plan(*options):
    """What is printed at 80 columns, blanks folded; no line may be longer."""
    found = CliRunner().invoke(APP, list(map(str, options)), env={"COLUMNS": "80", "TERM": "dumb"})
    if isinstance(found.exception, PrefbenchError):
        raise found.exception
    assert found.exit_code == 0, found.output
    assert max(map(len, found.output.splitlines())) <= 80
    return " ".join(found.output.split())


def small_table(votes, *, scorers=("one",)):
    """A scores table of checkpoints base and mine; votes[scorer][prompt][seed] in 1, 0, -1 is mine against base."""
    rows = []
    for scorer, of_scorer in zip(scorers, votes, strict=True):
        for p, of_prompt in enumerate(of_scorer):
            for seed, vote in enumerate(of_prompt):
                about = (f"p{p}", f"a cat, number {p}", seed, scorer)
                rows += [("base", *about, 0.0), ("mine", *about, float(vote))]
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def table(tmp_path):
    """Three prompts x two seeds, one scorer: wins both, splits, loses both. Seed correlation 1/2 (test_power.py)."""
    path = tmp_path / "small.csv"
    small_table([[[1, 1], [1, -1], [-1, -1]]]).to_csv(path, index=False)
    return path


def test_prompts_for_a_win_rate_at_one_two_and_four_seeds():
    """Ties 10 %, rho .3: V = .225 (.3 + .7 / S) = .225, .14625, .106875; times (2.8016 / .05)^2 = 3139.5."""
    output = plan("--win-rate", 0.55)
    assert output.startswith(
        "It takes 707 prompts with 1 seed each to tell a true win rate of 55.0 % from 50 % with power 80.0 %: "
        "1,414 images, 707 of each checkpoint."
    )
    assert "1 707 707 1,414 2 460 920 1,840 4 336 1,344 2,688" in output
    assert "No number of seeds brings it below 212 prompts." in output  # .225 * .3 * 3139.5 = 211.9


def test_every_default_is_called_one_and_what_is_given_is_not():
    output = plan("--win-rate", 0.55)
    assert "ties 10.0 % (default); correlation of a prompt's seeds 0.30 (default); 95 % interval" in output
    assert "A default is a guess" in output
    output = plan("--win-rate", 0.55, "--tie-rate", 0, "--seed-correlation", 0)
    assert "It takes 785 prompts" in output
    assert "ties 0.0 % (given); correlation of a prompt's seeds 0.00 (given)" in output
    assert "default" not in output
    assert "No number of seeds" not in output


def test_the_reverse_gives_the_smallest_win_rate_and_the_interval():
    """The table of a design without ties: 1,632 prompts detect 53.5 % and have a half-width of 2.4 points."""
    output = plan("--prompts", 1632, "--tie-rate", 0)
    assert output.startswith(
        "1,632 prompts with 1 seed each tell a true win rate of 53.5 % or more (or 46.5 % or less) from 50 % "
        "with power 80.0 % (3,264 images, 1,632 of each checkpoint)."
    )
    assert "1 1,632 1,632 3,264 53.5 % 2.4 %" in output


def test_both_give_the_power():
    output = plan("--prompts", 785, "--win-rate", 0.55, "--tie-rate", 0)
    assert "785 prompts with 1 seed each tell a true win rate of 55.0 % from 50 % with power 80.0 %" in output


def test_passing_or_failing_a_margin():
    """By hand in test_power.py: 2,181 prompts for an equal checkpoint, and as many for one at 44 %."""
    options = ("--margin", 0.03, "--tie-rate", 0)
    assert (
        "It takes 2,181 prompts with 1 seed each to pass a true win rate of 50.0 % at a margin of 3 points "
        "(lower limit above 47.0 %) with power 80.0 %"
    ) in plan("--win-rate", 0.5, *options)
    assert "to fail a true win rate of 44.0 % at a margin of 3 points (upper limit below 47.0 %)" in plan(
        "--win-rate", 0.44, *options
    )
    assert (
        "2,181 prompts with 1 seed each pass a true win rate of 50.0 % or more at a margin of 3 points"
        in plan("--prompts", 2181, *options)
    )


def test_another_number_of_seeds_is_in_the_sentence_and_in_the_table():
    """Three seeds: V = .225 (.3 + .7 / 3) = .12; 376.7 prompts, so 377, and 377 x 3 images."""
    output = plan("--win-rate", 0.55, "--seeds", 3)
    assert "377 prompts with 3 seeds each" in output
    assert "3 377 1,131 2,262 4 336" in output


def test_the_vote_of_several_scorers_needs_fewer_prompts_than_one_of_them():
    """Five independent judges, each right 65 %: a vote right 76.5 %, so .25 (2.8016 / .2648)^2 = 27.98 prompts."""
    options = ("--win-rate", 0.65, "--tie-rate", 0)
    together = plan(*options, "--voters", 5, "--scorer-correlation", 0)
    assert "It takes 28 prompts" in together
    assert "65.0 % by each of 5 scorers, so 76.5 % by their vote" in together
    assert "Under 30 prompts the approximation is rough" in together
    assert "It takes 88 prompts" in plan(*options)  # .25 (2.8016 / .15)^2 = 87.2
    assert "correlation of two scorers' votes 0.40 (default)" in plan(*options, "--voters", 5)


def test_a_rate_that_ties_leave_no_room_for_is_said_to_be_out_of_reach():
    output = plan("--prompts", 5, "--tie-rate", 0.8)
    assert output.startswith(
        "5 prompts with 1 seed each settle no win rate with power 80.0 %: ties leave no room"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--win-rate", "0"], "--win-rate is 0; it must be between 0 and 1"),
        (["--win-rate", "1"], "--win-rate is 1;"),
        (["--win-rate", "55"], "--win-rate is 55;"),
        (["--win-rate", "nan"], "--win-rate is nan;"),
        (["--win-rate", "0.5"], "A win rate of 0.5 is the very rate"),
        (["--win-rate", "0.47", "--margin", "0.03"], "A win rate of 0.47 is the very rate"),
        (["--win-rate", "0.98"], "--win-rate 0.98 can not be: with ties of 10.0 %"),
        (["--win-rate", "0.6", "--power", "1"], "--power is 1;"),
        (["--win-rate", "0.6", "--power", "0.2"], "--power is 0.2;"),
        (["--win-rate", "0.6", "--alpha", "0"], "--alpha is 0;"),
        (["--win-rate", "0.6", "--tie-rate", "1"], "--tie-rate is 1;"),
        (
            ["--win-rate", "0.6", "--seed-correlation", "1.5"],
            "--seed-correlation is 1.5; it must be from 0 to 1",
        ),
        (["--win-rate", "0.6", "--margin", "0.5"], "--margin is 0.5;"),
        (["--win-rate", "0.6", "--seeds", "0"], "--seeds is 0;"),
        (["--win-rate", "0.6", "--voters", "100"], "--voters is 100; it must be from 1 to 99"),
        (["--win-rate", "0.6", "--scorer-correlation", "0.2"], "Give --voters"),
        (["--prompts", "1"], "--prompts is 1; it must be 2 or more"),
        (["--prompts", "100", "--voters", "3"], "leave --voters out"),
        ([], "Nothing to plan"),
        (["--win-rate", "0.6", "--a", "mine"], "Give --pilot too"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_exit_code_2(options, message):
    with pytest.raises(UsageError) as error:
        plan(*options)
    assert message in str(error.value)
    assert error.value.exit_code == 2


def test_a_pilot_measures_ties_and_correlations(tmp_path):
    """Two scorers, four prompts x two seeds.

    one:  1 1 | 1 0 | -1 -1 | 1 -1       two: 1 1 | 0 0 | -1 1 | 1 -1
    vote: 1 1 | 1 0 | -1  0 | 1 -1: ties 2 of 8; outcomes 1 1 | 1 .5 | 0 .5 | 1 0, mean 5 / 8.
    SSB = 2 (9 + 1 + 9 + 1) / 64 = 5/8, MSB 5/24; SSW = 0 + 1/8 + 1/8 + 1/2 = 3/4, MSW 3/16.
    rho = (10 - 9) / (10 + 9) = 1/19. A scorer ties 1 and 2 of 8 pairs: 3/16.
    Votes: sum of products 1+1+0+0+1-1+1+1 = 4, sums 1 and 2: covariance 4 - 2/8 = 15/4;
    squares 7 - 1/8 = 55/8 and 6 - 4/8 = 44/8: correlation 30 / sqrt(55 * 44) = .6098.
    """
    one = [[1, 1], [1, 0], [-1, -1], [1, -1]]
    two = [[1, 1], [0, 0], [-1, 1], [1, -1]]
    path = tmp_path / "pilot.parquet"
    write_scores(small_table([one, two], scorers=("one", "two")), path)
    found = read_pilot(path, "mine", "base")
    assert (found.prompts, found.pairs, found.voters) == (4, 8, 2)
    assert (found.win_rate, found.tie_rate, found.scorer_tie_rate) == (5 / 8, 2 / 8, 3 / 16)
    assert found.seeds.value == pytest.approx(1 / 19)
    assert found.vote_correlation == pytest.approx(30 / np.sqrt(55 * 44))
    assert read_pilot(path, "base", "mine").tie_rate == found.tie_rate
    output = plan("--win-rate", 0.55, "--pilot", path, "--voters", 2)
    assert "mine over base, 4 prompts, 8 pairs, 2 voters; the vote's win rate 62.5 %, ties 25.0 %" in output
    assert "ties of a scorer 18.8 % (pilot); correlation of a prompt's seeds 0.05 (pilot)" in output
    assert "correlation of two scorers' votes 0.61 (pilot)" in output
    assert "default" not in output


def test_an_option_goes_before_the_pilot(table):
    output = plan("--win-rate", 0.55, "--pilot", table, "--tie-rate", 0.2)
    assert "ties 20.0 % (given); correlation of a prompt's seeds 0.50 (pilot)" in output


def test_one_seed_a_prompt_tells_no_correlation_and_the_default_is_said_to_stand_in(tmp_path):
    path = tmp_path / "one_seed.csv"
    small_table([[[1], [-1], [0], [1]]]).to_csv(path, index=False)
    output = plan("--win-rate", 0.55, "--pilot", path)
    assert "seeds 0.30 (default: the pilot has one seed a prompt, or one outcome throughout)" in output
    assert "ties 25.0 % (pilot)" in output


def test_a_negative_correlation_is_set_to_0_and_said_so(tmp_path):
    path = tmp_path / "repel.csv"
    small_table([[[1, -1], [1, -1], [-1, 1]]]).to_csv(path, index=False)
    assert "seeds 0.00 (pilot: measured -1.00, set to 0)" in plan("--win-rate", 0.55, "--pilot", path)


def test_the_error_of_a_pilot_is_told_by_the_answer_at_its_unfavourable_end(tmp_path):
    """10 ties of 20: a resample has Bin(20, 1/2) ties, at most 6 with probability .058 and 7 with .132: 10 % lie up to 7 / 20.

    V = .65 / 4 there: .1625 x 3139.5 = 510.2 prompts, where .125 x 3139.5 = 392.4 stand above.
    """
    path = tmp_path / "ties.csv"
    small_table([[[0]] * 10 + [[1]] * 5 + [[-1]] * 5]).to_csv(path, index=False)
    output = plan("--win-rate", 0.55, "--pilot", path)
    assert "It takes 393 prompts" in output
    assert "(bootstrap over its prompts; ties 35.0 %, correlation of a prompt's seeds 0.30)" in output
    assert "it takes 511 prompts" in output
    assert "the smallest win rate is" in plan("--prompts", 400, "--pilot", path)
    assert "the power is" in plan("--prompts", 400, "--win-rate", 0.55, "--pilot", path)
    assert "room for error" not in plan("--win-rate", 0.55, "--tie-rate", 0.1, "--pilot", path), "unused"


def test_the_unfavourable_end_has_higher_correlations_and_is_not_told_by_a_handful_of_prompts(
    table, tmp_path
):
    path = tmp_path / "two_seeds.csv"
    alike = [[1, 1], [-1, -1], [1, -1], [1, 1]] * 3
    small_table([alike, [[1, 0]] * 6 + alike[6:]], scorers=("one", "two")).to_csv(path, index=False)
    found = read_pilot(path)
    assert found.seeds.value < found.unfavourable.seeds.value <= 1
    assert found.vote_correlation < found.unfavourable.vote_correlation <= 1
    assert found.unfavourable.tie_rate < found.tie_rate
    assert read_pilot(path).unfavourable == found.unfavourable, "the draws are always the same"
    assert read_pilot(table).unfavourable is None
    assert "A pilot of 3 prompts is too small to tell" in plan("--win-rate", 0.55, "--pilot", table)


def test_a_prompt_listed_under_two_ids_is_one_prompt(tmp_path):
    frame = small_table([[[1, 1], [1, 1], [-1, -1]]])
    frame["prompt"] = frame["prompt"].replace("a cat, number 1", "a cat, number 0")
    path = tmp_path / "twice.csv"
    frame.to_csv(path, index=False)
    assert (read_pilot(path).prompts, read_pilot(path).pairs) == (2, 6)


def test_of_a_comparison_its_electorate_and_directions_count(tmp_path):
    """compare's folder: the held-out scorer does not vote, and a scorer whose lower value is better is turned round."""
    from prefbench.bench.comparison import compare_scores

    votes = [[[1, 1], [1, -1], [-1, -1]], [[-1, -1]] * 3]
    path = tmp_path / "scores.csv"
    small_table(votes, scorers=("one", "judge")).to_csv(path, index=False)
    out = tmp_path / "out"
    compare_scores(path, "mine", "base", out, held_out=["judge"], resamples=1000)
    for given in (out, out / "results.json", out / "scores.parquet"):
        found = read_pilot(given)
        assert (found.a, found.b, found.voters, found.win_rate) == ("mine", "base", 1, 0.5)
    results = json.loads((out / "results.json").read_text())
    results["suite"]["electorate"] = {"voters": ["judge"], "held_out": ["one"]}
    assert read_after(out, results).win_rate == 0.0
    results["scorers"]["judge"]["direction"] = "lower"
    assert read_after(out, results).win_rate == 1.0


def test_prompts_that_the_tie_rule_leaves_out_are_drawn_too(tmp_path):
    """197 prompts must count. Two voters agree on 12 of 20: 197 x 20 / 12 = 328.3.

    A resample has Bin(20, .6) that count, up to 8 with probability .057 and 9 with .128: 10 % lie up to 9. 197 x 20 / 9 = 437.8.
    Of 329 prompts 197 count: Phi(.1 sqrt(197 / .25) - 1.96) = Phi(.8471) = .8015.
    """
    from prefbench.bench.comparison import compare_scores
    from prefbench.bench.electorate.options import VotingOptions

    path, out = tmp_path / "scores.csv", tmp_path / "out"
    votes = [[[1]] * 7 + [[-1]] * 13, [[1]] * 7 + [[-1]] * 5 + [[1]] * 8]
    small_table(votes, scorers=("one", "two")).to_csv(path, index=False)
    compare_scores(path, "mine", "base", out, resamples=1000, voting=VotingOptions(tie_rule="abstain"))
    output = plan("--win-rate", 0.6, "--pilot", out)
    assert output.startswith("It takes 329 prompts")
    assert "in the pilot 60.0 % count" in output
    assert "45.0 % of pairs count) it takes 438 prompts" in output
    both = plan("--win-rate", 0.6, "--prompts", 329, "--pilot", out)
    assert "with power 80.2 %" in both
    assert "of pairs count" not in plan("--win-rate", 0.6, "--pilot", out, "--voters", 2)


def read_after(folder, results):
    (folder / "results.json").write_text(json.dumps(results))
    return read_pilot(folder)


def test_pilots_that_can_not_be_used_are_refused(table, tmp_path):
    with pytest.raises(UsageError, match="'mein'. Did you mean 'mine'"):
        read_pilot(table, "mein", "base")
    with pytest.raises(UsageError, match="--b is missing"):
        read_pilot(table, "mine")
    with pytest.raises(UsageError, match="both name 'mine'"):
        read_pilot(table, "mine", "mine")
    one = pd.read_csv(table).query("prompt_id == 'p0'")
    one.to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(DataError, match="has one prompt on which mine and base get a vote.*--tie-rate"):
        read_pilot(tmp_path / "one.csv")
    with pytest.raises(DataError, match=r"nothing at .*none\.csv"):
        read_pilot(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"lacks scores\.parquet"):
        read_pilot(tmp_path)
    pd.read_csv(table).to_parquet(tmp_path / "scores.parquet")
    with pytest.raises(DataError, match=r"no results\.json: who votes there.*as a bare table"):
        read_pilot(tmp_path)
    frame = pd.read_csv(table)
    third = frame[frame["checkpoint"] == "mine"].assign(checkpoint="third")
    pd.concat([frame, third]).to_csv(tmp_path / "three.csv", index=False)
    with pytest.raises(UsageError, match="has 3 checkpoints"):
        read_pilot(tmp_path / "three.csv")
    frame.iloc[:-1].to_csv(tmp_path / "hole.csv", index=False)
    with pytest.raises(DataError, match="scores are missing.*prefbench compare"):
        read_pilot(tmp_path / "hole.csv")


def test_a_pilot_of_ties_only_leaves_nothing_to_plan_from(tmp_path):
    path = tmp_path / "ties.csv"
    small_table([[[0, 0], [0, 0]]]).to_csv(path, index=False)
    with pytest.raises(UsageError, match="Every pair of the pilot ties"):
        make_power_plan(Request(win_rate=0.6), read_pilot(path))


def test_the_defaults_lie_where_real_scores_say(reference_data, tmp_path):
    """Six models x 100 prompts x 10 images by two scorers, 15 pairs of models: figures of docs/statistics.md."""
    frame = read_results(reference_data / "real_scores_imagereward_benchmark")
    names = sorted(frame["checkpoint"].unique())
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    samples = arrange(frame, names, ["ImageReward-v1.0", "CLIP"], [])
    texts = samples.about["prompt"].to_numpy().astype(str)
    ballots = cast_votes(samples, pairs, set())
    by_seed = np.array([[seed_correlation((1 + v) / 2, texts).value for v in pair] for pair in ballots])
    assert (by_seed.min(), by_seed.max()) == (pytest.approx(0.066, abs=1e-3), pytest.approx(0.401, abs=1e-3))
    assert np.median(by_seed, axis=0) == pytest.approx([0.183, 0.258], abs=1e-3)
    by_voters = [vote_correlation(pair) for pair in ballots]
    assert (min(by_voters), max(by_voters)) == (
        pytest.approx(0.189, abs=1e-3),
        pytest.approx(0.349, abs=1e-3),
    )

    path = tmp_path / "two_models.parquet"
    write_scores(frame[frame["checkpoint"].isin(["sd2-1", "sd1-4"])], path)
    pilot = read_pilot(path, "sd2-1", "sd1-4")
    here = ballots[pairs.index(("sd1-4", "sd2-1"))]
    assert (pilot.prompts, pilot.pairs, pilot.voters) == (100, 1000, 2)
    assert pilot.vote_correlation == pytest.approx(vote_correlation(here))
    assert pilot.tie_rate == pytest.approx((here.sum(axis=0) == 0).mean())
