"""Sampling times: recorded while images are drawn, compared by medians, refused where they tell nothing."""

import json
import sqlite3

import numpy as np
import pytest
from scipy import stats

from prefbench.bench.exceptions import DataError
from prefbench.bench.gate.gating import gate_release
from prefbench.bench.gate.speed import median_limits, ratio_of
from prefbench.bench.run import run_suite
from prefbench.bench.store.ledger import CheckpointRow, DrawingRow, Ledger
from prefbench.bench.suite import load_suite


def batches(name, seconds, *, hardware="gpu", made_with="{}", size=4):
    """The first of them is the warm-up."""
    return [DrawingRow(name, made_with, hardware, k == 0, size, s) for k, s in enumerate(seconds)]


def ratio(mine, base, alpha=0.05, **of_mine):
    return ratio_of(
        batches("mine", mine, **of_mine) + batches("base", base),
        "mine",
        "base",
        alpha=alpha,
        source="the run",
    )


def test_the_ratio_is_that_of_median_batches_without_the_first():
    """Seven batches of 2.0 to 2.6 s and seven of 1.0 to 1.6 s; with n = 7 the limits of a median are the extremes."""
    found = ratio([90, *np.linspace(2.0, 2.6, 7)], [50, *np.linspace(1.0, 1.6, 7)])
    assert found.batches == (7, 7)
    assert found.ratio == pytest.approx(2.3 / 1.3)
    assert found.limits == pytest.approx((2.0 / 1.6, 2.6 / 1.0))
    assert "0.575 s and 0.325 s an image" in found.note


def test_with_fewer_than_seven_batches_there_are_no_limits_and_it_says_how_many_more():
    found = ratio([9, 2, 2, 2], [9, 1, 1, 1, 1])
    assert (found.ratio, found.limits) == (2.0, None)
    assert "take 7 batches of each besides the first: 4 more" in found.needed(1.1).text
    assert ratio([9], [9, 1]).ratio is None


def test_an_open_ratio_says_how_many_batches_would_decide():
    """Ratio 1, limits [.8, 1.25], maximum 1.1: (ln 1.25 / ln 1.1)^2 = 5.48 times the 7 batches: 39."""
    found = ratio([9, 0.8, 1, 1, 1, 1, 1, 1], [9, 1, 1, 1, 1, 1, 1, 0.8])
    assert found.limits == pytest.approx((0.8, 1.25))
    assert "about 39 batches of each decide it: 32 more" in found.needed(1.1).text


@pytest.mark.parametrize("n", [7, 8, 20, 51, 400])
def test_limits_of_a_median_are_those_of_the_sign_test(n):
    """The k-th smallest is the lower limit where scipy's binomial leaves 1.25 % below k, and k + 1 would leave more."""
    low, high = median_limits(np.arange(1.0, n + 1), 0.025)
    assert low + high == n + 1
    assert stats.binom.cdf(low - 1, n, 0.5) <= 0.0125 < stats.binom.cdf(low, n, 0.5)


def test_only_batches_drawn_alike_are_compared():
    """Half of mine were drawn on another machine, ten times as slow: they do not count."""
    rows = (
        batches("mine", [9] + [10] * 8, hardware="old")
        + batches("mine", [9] + [1] * 8)
        + batches("base", [9] + [1] * 8)
    )
    assert ratio_of(rows, "mine", "base", alpha=0.05, source="r").ratio == 1.0
    with pytest.raises(DataError, match="were not drawn alike \\(old and gpu\\)"):
        ratio([9, 1], [9, 1], hardware="old")
    with pytest.raises(DataError, match="other batch sizes or versions"):
        ratio([9, 1], [9, 1], made_with='{"batch_size": 1}')
    with pytest.raises(DataError, match="no sampling times of 'base'"):
        ratio([9, 1], [])


def test_times_of_a_checkpoint_that_was_replaced_under_its_name_are_not_its_own(tmp_path):
    with Ledger(tmp_path / "run") as ledger:
        ledger.set_checkpoints([CheckpointRow("base", "x", {"sha256": "1"})])
        (row,) = batches("base", [2.5])
        ledger.add_drawing(row)
        assert ledger.drawings() == [row]
        ledger.set_checkpoints([CheckpointRow("base", "x", {"sha256": "2"})])
        assert ledger.drawings() == []


def test_a_ledger_from_before_times_were_recorded_is_read_and_upgraded(tmp_path):
    with Ledger(tmp_path / "run") as ledger:
        ledger.set_checkpoints([CheckpointRow("base", "x", {})])
    database = sqlite3.connect(tmp_path / "run" / "ledger.sqlite")
    database.executescript("DROP TABLE drawings; PRAGMA user_version = 1")
    database.close()
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        assert ledger.drawings() == []
        assert [row.name for row in ledger.checkpoints()] == ["base"]
    with Ledger(tmp_path / "run") as ledger:
        ledger.add_drawing(batches("base", [1.0])[0])
        assert len(ledger.drawings()) == 1


def test_a_run_is_gated_with_its_times_and_pictures(
    tmp_path, tiny_pipeline, other_pipeline, suite_file, toy_plugin
):
    """10 images a checkpoint, one at a time: nine times each besides the first. The suite brings the rules."""
    rules = '\n[[gate.rules]]\nkind = "slowdown"\nmaximum = 1000\n[[gate.rules]]\nkind = "superiority"\n'
    suite_file.write_text(suite_file.read_text() + rules)
    checkpoints = {"base": str(tiny_pipeline), "mine": str(other_pipeline)}
    suite = load_suite(str(suite_file))
    results = run_suite(suite, checkpoints, tmp_path / "run", device="cpu", batch_size=1, resamples=1000)
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        drawings = ledger.drawings()
    assert [row.checkpoint for row in drawings] == ["base"] * 10 + ["mine"] * 10
    assert [row.warm_up for row in drawings] == ([True] + [False] * 9) * 2
    assert all(row.seconds > 0 and row.images == 1 for row in drawings)
    assert json.loads(drawings[0].made_with)["batch_size"] == 1
    whole = results["comparisons"][0]
    assert (whole["a"], whole["scorer"], whole["slice"]) == ("mine", "majority", "all")
    worse, better = ("mine", "base") if whole["win_rate"] < 0.5 else ("base", "mine")
    report = gate_release(tmp_path / "run", worse, better, tmp_path / "out")
    assert report["rules_from"] == "suite"
    assert report["rules"][0]["outcome"] == "pass"
    assert report["rules"][0]["interval_method"] == "order statistics"
    assert report["rules"][1]["outcome"] == "inconclusive", "5 prompts"
    pictures = [path for each in report["worst"] for path in each["pictures"].values()]
    assert pictures
    assert sorted(pictures) == sorted(
        f"pictures/{path.name}" for path in (tmp_path / "out" / "pictures").iterdir()
    )
    text = (tmp_path / "out" / "gate.md").read_text(encoding="utf-8")
    assert f"[candidate]({report['worst'][0]['pictures']['candidate']})" in text
    changed = suite_file.read_text().replace("maximum = 1000", "maximum = 0.001")
    suite_file.write_text(changed)
    run_suite(
        load_suite(str(suite_file)), checkpoints, tmp_path / "run", device="cpu", batch_size=1, resamples=1000
    )
    assert gate_release(tmp_path / "run", worse, better, tmp_path / "out")["rules"][0]["outcome"] == "fail", (
        "rules of a suite may change between runs into one folder"
    )
