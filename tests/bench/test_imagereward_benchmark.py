"""The importer, and the product's numbers on the real scores that it reads."""

import json
import subprocess
import sys

import pytest
from scipy import stats

from prefbench.bench.exceptions import DataError
from prefbench.bench.importers.imagereward_benchmark import read_results
from prefbench.bench.results import summarise
from prefbench.bench.scores_table import read_scores

# ImageReward (arXiv 2304.05977), Table 1: wins by human rankings, mean ImageReward, mean CLIP score.
TABLE_1 = {
    "openjourney": (507, 0.2614, 0.2726),
    "sd2-1": (463, 0.2458, 0.2683),
    "dalle2": (390, 0.2114, 0.2684),
    "sd1-4": (362, 0.1344, 0.2763),
    "versatile-diffusion": (340, -0.2470, 0.2606),
    "cogview2": (74, -1.2376, 0.2044),
}
MODULE = "prefbench.bench.importers.imagereward_benchmark"


@pytest.fixture(scope="module")
def table(reference_data):
    return read_results(reference_data / "real_scores_imagereward_benchmark")


@pytest.fixture(scope="module")
def results(table):
    return summarise(
        table,
        electorate={"voters": ["ImageReward-v1.0"], "held_out": ["CLIP"]},
        checkpoints=list(reversed(TABLE_1)),
    )


def win_rates(results, scorer):
    """(a, b) -> win rate with interval; a stands above b in Table 1."""
    return {
        (e["a"], e["b"]): (e["win_rate"], e["ci95"])
        for e in results["comparisons"]
        if e["scorer"] == scorer and e["slice"] == "all"
    }


def test_all_six_models_100_prompts_ten_images_two_scorers_are_read(table):
    assert len(table) == 6 * 100 * 10 * 2
    assert set(table["checkpoint"]) == set(TABLE_1)
    assert sorted(table["seed"].unique()) == list(range(10))


def test_means_are_those_of_the_paper(results):
    """The paper prints four decimals, not always rounded: within one unit of the last."""
    for model, (_, image_reward, clip) in TABLE_1.items():
        assert results["means"][model]["ImageReward-v1.0"] == pytest.approx(image_reward, abs=1e-4)
        assert results["means"][model]["CLIP"] == pytest.approx(clip, abs=1e-4)


def test_every_decided_comparison_by_imagereward_ranks_the_models_as_people_did(results):
    found = win_rates(results, "ImageReward-v1.0")
    assert len(found) == 15
    people = [model for model, _ in sorted(TABLE_1.items(), key=lambda item: -item[1][0])]
    decided = {pair for pair, (_, ci95) in found.items() if ci95[0] > 0.5 or ci95[1] < 0.5}
    assert len(decided) >= 12
    for a, b in decided:
        assert (found[a, b][0] > 0.5) == (people.index(a) < people.index(b))


def test_neighbours_that_cannot_be_told_apart_are_open_and_hold_the_only_inversion(results):
    """People put dalle2 (390 wins) above sd1-4 (362); by ImageReward it wins less than half, within noise."""
    verdicts = {(v["a"], v["b"]): v["outcome"] for v in results["verdicts"]}
    found = win_rates(results, "ImageReward-v1.0")
    inverted = [pair for pair, (rate, _) in found.items() if rate < 0.5]
    assert inverted == [("dalle2", "sd1-4")]
    assert verdicts["dalle2", "sd1-4"] == "open"
    assert {pair for pair, outcome in verdicts.items() if outcome == "open"} >= {
        ("openjourney", "sd2-1"),
        ("sd2-1", "dalle2"),
    }


def test_mean_win_rates_correlate_with_the_human_ranking_by_14_of_15_pairs(results):
    """One inversion among 15 pairs: Kendall's tau = (14 - 1) / 15."""
    total = dict.fromkeys(TABLE_1, 0.0)
    for (a, b), (rate, _) in win_rates(results, "ImageReward-v1.0").items():
        total[a] += rate
        total[b] += 1 - rate
    human = [wins for wins, _, _ in TABLE_1.values()]
    assert stats.kendalltau([total[model] for model in TABLE_1], human).statistic == pytest.approx(13 / 15)


def test_two_scorers_that_contradict_each_other_are_reported(results):
    """CLIP prefers sd1-4 to openjourney, ImageReward openjourney to sd1-4, both beyond their intervals."""
    contradicted = [w["checkpoints"] for w in results["warnings"] if w["kind"] == "reward_hacking"]
    assert ["openjourney", "sd1-4"] in contradicted


def test_the_documented_command_writes_a_table_that_reads_back_the_same(reference_data, table, tmp_path):
    folder = reference_data / "real_scores_imagereward_benchmark"
    command = [sys.executable, "-m", MODULE, str(folder), "--out", "scores.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "12,000 scores of 6 checkpoints, 100 prompts, 10 images each, by 2 scorers" in done.stdout
    assert read_scores(tmp_path / "scores.csv").equals(table)


def entry(**change):
    return {"id": "1", "prompt": "a cat", "mean_score": 0.5, "rewards": [0.25, 0.75]} | change


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no file named SCORER-benchmark-MODEL-result.json"),
        ({"CLIP-benchmark-results.json": {"sd": 0.1}}, "no file named"),
        ({"CLIP-benchmark-sd-result.json": "{"}, "is not JSON"),
        ({"CLIP-benchmark-sd-result.json": {"id": 1}}, "no list of prompts"),
        ({"CLIP-benchmark-sd-result.json": [{"id": "1"}]}, "entry 1 lacks one of"),
        ({"CLIP-benchmark-sd-result.json": [entry(rewards=["x"])]}, "not a list of numbers"),
        ({"CLIP-benchmark-sd-result.json": [entry(mean_score=0.4)]}, "mean 0.5 and not the mean_score 0.4"),
        ({"CLIP-benchmark-sd-result.json": [entry(), entry()]}, "given again"),
        (
            {
                "CLIP-benchmark-sd-result.json": [entry()],
                "CLIP-benchmark-dalle-result.json": [entry(id="2", prompt="a dog")],
            },
            "4 of 8 scores are missing",
        ),
    ],
)
def test_files_that_the_script_did_not_write_so_are_refused(tmp_path, files, says):
    for name, content in files.items():
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=says):
        read_results(tmp_path)


def test_names_with_hyphens_are_split_at_the_word_benchmark(tmp_path):
    (tmp_path / "ImageReward-v1.0-benchmark-sd1-4-result.json").write_text(json.dumps([entry()]))
    frame = read_results(tmp_path)
    assert frame[["checkpoint", "scorer", "seed", "score"]].values.tolist() == [
        ["sd1-4", "ImageReward-v1.0", 0, 0.25],
        ["sd1-4", "ImageReward-v1.0", 1, 0.75],
    ]


def test_the_command_ends_with_2_and_one_line_for_a_wrong_folder(tmp_path):
    command = [sys.executable, "-m", MODULE, str(tmp_path), "--out", str(tmp_path / "scores.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
