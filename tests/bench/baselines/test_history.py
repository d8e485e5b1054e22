"""The course over releases: hand-checked numbers, who is held against whom, and where a course breaks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import stored_runs

from prefbench.bench.baselines.course import in_order
from prefbench.bench.baselines.folder import save_baseline
from prefbench.bench.baselines.history import make_history, write_history
from prefbench.bench.baselines.stored import StoredBaseline
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.tally.votes import TIE_RULES
from prefbench.bench.verdict import MAJORITY

Save = Callable[..., StoredBaseline]
OFF = [[0], [0], [0], [0]]
"""Scores of a release that others are held against: four prompts, one seed."""


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Stores a release: scores by scorer, prompt and seed; the n-th is saved on 1 + n January."""
    count = 0

    def saved(
        name: str,
        scores: Mapping[str, Sequence[Sequence[float]]],
        texts: Sequence[str] | None = None,
        **options: Any,
    ) -> StoredBaseline:
        nonlocal count
        count += 1
        frame = stored_runs.table({"mine": scores, "copy": scores}, texts)
        run = stored_runs.write_run(tmp_path / f"run{count}", frame, **options)
        now = datetime(2026, 1, count, tzinfo=UTC)
        return save_baseline(run, name, checkpoint="mine", folder=tmp_path / "baselines", now=now)

    return saved


def history(*releases: StoredBaseline, **options: Any) -> dict[str, Any]:
    return make_history(releases, **{"resamples": 1000} | options)


def found(told: Mapping[str, Any], scorer: str = MAJORITY) -> dict[str, tuple[str, float]]:
    """Release -> (what it is held against, win rate)."""
    return {
        each["a"]: (each["b"], each["win_rate"]) for each in told["comparisons"] if each["scorer"] == scorer
    }


def test_win_rates_and_means_by_hand(save: Save) -> None:
    """v2 wins prompts 0, 1, 3 and loses 2: 3/4, mean (1+1-1+1)/4 = .5. v3 wins 0, ties three: (1 + 1.5)/4, mean .25."""
    told = history(
        save("v1", {"pick": OFF}),
        save("v2", {"pick": [[1], [1], [-1], [1]]}),
        save("v3", {"pick": [[1], [0], [0], [0]]}),
    )
    assert found(told) == {"v2": ("v1", 0.75), "v3": ("v1", 0.625)}
    assert {each["release"]: each["mean"] for each in told["means"]} == {"v1": 0.0, "v2": 0.5, "v3": 0.25}
    differences = {
        each["a"]: each["mean_difference"] for each in told["comparisons"] if each["scorer"] == "pick"
    }
    assert differences == {"v2": 0.5, "v3": 0.25}
    assert (told["breaks"], told["missing"], told["notes"]) == ([], [], [])


def test_the_interval_of_a_mean_is_over_prompts(save: Save) -> None:
    """Two prompts of means 0 and 1 (seeds of one prompt go together): a resample's mean is 0, .5 or 1 with 1/4, 1/2, 1/4."""
    told = history(save("v1", {"pick": [[-1, 1], [0, 2]]}), save("v2", {"pick": [[5, 5], [5, 5]]}))
    assert told["means"][0] == {"release": "v1", "scorer": "pick", "mean": 0.5, "ci95": [0.0, 1.0]}
    assert told["means"][1]["ci95"] == [5.0, 5.0]
    alone = history(save("w1", {"pick": [[0, 1]]}), save("w2", {"pick": [[1, 1]]}))
    assert alone["means"][0] == {"release": "w1", "scorer": "pick", "mean": 0.5, "ci95": None}


def test_each_release_is_held_against_the_first_the_previous_or_one_by_name(save: Save) -> None:
    """Scores 0, 1, -1 on every prompt: v2 beats both others, v3 loses to both."""
    releases = [save(f"v{i}", {"pick": [[value]] * 4}) for i, value in enumerate((0, 1, -1), start=1)]
    assert found(history(*releases)) == {"v2": ("v1", 1.0), "v3": ("v1", 0.0)}
    assert found(history(*releases, against="previous")) == {"v2": ("v1", 1.0), "v3": ("v2", 0.0)}
    assert found(history(*releases, against="v2")) == {"v1": ("v2", 0.0), "v3": ("v2", 0.0)}
    with pytest.raises(UsageError, match="Did you mean 'previous'"):
        history(*releases, against="previus")


def test_releases_go_by_the_date_saved_unless_an_order_is_given(save: Save) -> None:
    releases = [save(name, {"pick": OFF}) for name in ("b", "a", "c")]
    assert [each.name for each in in_order(releases[::-1])] == ["b", "a", "c"]
    assert [each.name for each in in_order(releases, ["c", "b", "a"])] == ["c", "b", "a"]
    for order, words in (
        (["c", "b"], "lacks a"),
        (["a", "b", "c", "d"], "names d"),
        (["a", "a", "b", "c"], "names a twice"),
    ):
        with pytest.raises(UsageError, match=words):
            in_order(releases, order)
    with pytest.raises(UsageError, match="two baselines or more, not b"):
        in_order(releases[:1])


def test_other_sampling_settings_break_every_course_and_it_starts_again(save: Save) -> None:
    """v3 and v4 have 50 steps: v4 is held against v3, and v5, drawn as v1 was, against v1 again."""
    other = stored_runs.SAMPLING | {"steps": 50}
    releases = [
        save("v1", {"pick": OFF}),
        save("v2", {"pick": [[1]] * 4}),
        save("v3", {"pick": OFF}, sampling=other),
        save("v4", {"pick": [[-1]] * 4}, sampling=other),
        save("v5", {"pick": [[1]] * 4}),
    ]
    told = history(*releases)
    assert found(told) == {"v2": ("v1", 1.0), "v4": ("v3", 0.0), "v5": ("v1", 1.0)}
    assert [(each["after"], each["before"], each["kind"]) for each in told["breaks"]] == [
        ("v2", "v3", "sampling"),
        ("v4", "v5", "sampling"),
    ]
    assert told["breaks"][0]["text"] == "steps is 50 in v3 and 30 in v2"
    assert told["breaks"][0]["judges"] == [MAJORITY, "pick"]
    joined = history(*releases, allow=["sampling"])
    assert set(found(joined).values()) == {("v1", 1.0), ("v1", 0.5), ("v1", 0.0)}
    assert joined["breaks"] == []
    assert (
        joined["notes"][0] == "Allowed between v2 and v3: Sampling differs: steps is 50 in v3 and 30 in v2."
    )


def test_a_release_that_may_not_be_held_against_the_named_one_says_why(save: Save) -> None:
    """Every release against v1: v2 was drawn with 50 steps, v3 as v1 was."""
    other = stored_runs.SAMPLING | {"steps": 50}
    told = history(
        save("v1", {"pick": OFF}),
        save("v2", {"pick": OFF}, sampling=other),
        save("v3", {"pick": [[1]] * 4}),
        against="v1",
    )
    assert found(told) == {"v3": ("v1", 1.0)}
    reason = "steps is 50 in v2 and 30 in v1"
    assert [each for each in told["missing"] if each["scorer"] == MAJORITY] == [
        {"release": "v2", "scorer": MAJORITY, "reason": reason}
    ]


def test_another_fingerprint_breaks_that_scorer_and_the_vote_alone(save: Save) -> None:
    """Held-out clip changed in v2: pick and the vote, which is pick's, go on. Voter pick changed in v3: clip goes on."""
    infos = {"pick": stored_runs.info("pick"), "clip": stored_runs.info("clip")}
    second = infos | {"clip": stored_runs.info("clip", "2")}
    third = second | {"pick": stored_runs.info("pick", "2")}
    told = history(
        *(
            save(name, {"pick": [[i]] * 4, "clip": [[i]] * 4}, infos=told, held_out=["clip"])
            for i, (name, told) in enumerate((("v1", infos), ("v2", second), ("v3", third)))
        )
    )
    assert found(told) == {"v2": ("v1", 1.0)}
    assert found(told, "pick") == {"v2": ("v1", 1.0)}
    assert found(told, "clip") == {"v3": ("v2", 1.0)}
    assert [(each["before"], each["judges"]) for each in told["breaks"]] == [
        ("v2", ["clip"]),
        ("v3", [MAJORITY, "pick"]),
    ]


def test_a_scorer_that_a_release_lacks_leaves_a_gap_that_is_said(save: Save) -> None:
    both = {"pick": OFF, "clip": OFF}
    releases = [save("v1", both), save("v2", {"pick": [[1]] * 4}), save("v3", both)]
    told = history(*releases)
    assert found(told) == {"v3": ("v1", 0.5)}
    assert found(told, "pick") == {"v2": ("v1", 1.0), "v3": ("v1", 0.5)}
    assert [(each["release"], each["scorer"], each["reason"]) for each in told["missing"]] == [
        ("v2", MAJORITY, "v2 was not scored by clip"),
        ("v2", "clip", "v2 was not scored by clip"),
    ]
    assert [each["kind"] for each in history(*releases, allow=["scorers"])["breaks"]] == [
        "scorers",
        "scorers",
    ], "what is not there cannot be allowed"
    alone = history(*releases, voters=["pick"])
    assert found(alone)["v2"] == ("v1", 1.0)
    assert (
        alone["notes"][0]
        == "The vote is that of the scorers you named; the electorate of v1, v3 was another."
    )


def test_allowed_prompts_are_cut_to_what_all_releases_have(save: Save) -> None:
    """v1 has prompts 0-3, v2 rewords prompt 3: three are left, on which v2 wins one and ties two: (1 + 1) / 3."""
    texts = [f"a cat, number {i}" for i in range(4)]
    releases = [save("v1", {"pick": OFF}), save("v2", {"pick": [[1], [0], [0], [9]]}, [*texts[:3], "a dog"])]
    assert found(history(*releases)) == {}
    told = history(*releases, allow=["prompts"])
    assert found(told) == {"v2": ("v1", 2 / 3)}
    assert told["means"][1]["mean"] == 1 / 3
    assert told["notes"][0].startswith(
        "Prompts or seeds differ and were allowed to: all numbers are over the 3 (prompt, seed)"
    )
    apart = save("v3", {"pick": OFF}, ["w", "x", "y", "z"])
    with pytest.raises(UsageError, match=r"no \(prompt, seed\) in common"):
        history(*releases, apart, allow=["prompts"])


def test_a_scorer_it_was_trained_against_has_no_vote_where_a_release_takes_part(save: Save) -> None:
    """pick says v2 wins, clip and hps that it loses; trained against clip and hps it wins the vote, by pick alone."""
    better, worse = [[1]] * 4, [[-1]] * 4
    v1 = save("v1", {"pick": OFF, "clip": OFF, "hps": OFF})
    gamed = {"mine": {"training": {"composition": {"labels": {"electorate": ["clip", "hps"]}}}}}
    v2 = save("v2", {"pick": better, "clip": worse, "hps": worse})
    v3 = save("v3", {"pick": better, "clip": worse, "hps": worse}, checkpoints=gamed)
    told = history(v1, v2, v3)
    assert found(told) == {"v2": ("v1", 0.0), "v3": ("v1", 1.0)}
    assert "v3 was trained against clip, hps: no vote for them where it takes part." in told["notes"]


def test_a_lower_score_is_the_better_one_where_the_scorer_says_so(save: Save) -> None:
    infos = {"loss": stored_runs.info("loss", direction="lower")}
    told = history(save("v1", {"loss": OFF}, infos=infos), save("v2", {"loss": [[-1]] * 4}, infos=infos))
    assert found(told) == {"v2": ("v1", 1.0)}
    assert told["scorers"]["loss"]["direction"] == "lower"


def test_one_prompt_and_constant_scores_are_drawn_without_intervals(save: Save, tmp_path: Path) -> None:
    """One prompt has no interval and decides nothing; the page says so, and a flat axis has room around it."""
    told = history(save("v1", {"pick": [[7]]}), save("v2", {"pick": [[7]]}))
    assert found(told) == {"v2": ("v1", 0.5)}
    write_history(told, tmp_path / "out")
    page = (tmp_path / "out" / "history.html").read_text(encoding="utf-8")
    assert "v2 cannot be told from v1" in page.replace('<span class="whole">', "").replace("</span>", "")
    assert "no interval (1 prompt)" in page


def test_the_same_baselines_give_the_same_numbers(save: Save) -> None:
    """And a release that is added changes no number of the others."""
    releases = [
        save(f"v{i}", {"pick": [[i], [2], [-i], [i]], "clip": [[1], [i], [0], [3]]}) for i in range(4)
    ]
    whole, part = history(*releases), history(*releases[:3])
    for block in ("means", "comparisons"):
        assert history(*releases)[block] == whole[block]
        assert part[block] == [each for each in whole[block] if "v3" not in each.values()]


def test_a_tie_rule_of_another_version_is_refused_and_not_guessed(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = save("v1", {"pick": OFF}), save("v2", {"pick": OFF})
    monkeypatch.setitem(TIE_RULES, "tie", "in other words")
    with pytest.raises(
        DataError, match="The electorate of v2 has a tie rule that this version .* does not know"
    ):
        history(*releases)


def test_a_folder_with_something_else_in_it_is_refused(save: Save, tmp_path: Path) -> None:
    told = history(save("v1", {"pick": OFF}), save("v2", {"pick": OFF}))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"did not write \(thesis\.tex\)"):
        write_history(told, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_history_as_typed(save: Save, tmp_path: Path) -> None:
    """The whole command: two files, tables of 80 columns with the numbers of history.json, the break and its reason."""
    save("release-candidate-v1", {"pick": OFF, "clip": OFF}, held_out=["clip"])
    save("release-candidate-v2", {"pick": [[1]] * 4, "clip": OFF}, held_out=["clip"])
    save(
        "release-candidate-v3",
        {"pick": OFF, "clip": OFF},
        held_out=["clip"],
        sampling=stored_runs.SAMPLING | {"steps": 9},
    )
    command = [
        sys.executable,
        "-m",
        "prefbench.bench.cli",
        "history",
        "baselines",
        "--out",
        "course",
        "--resamples",
        "1000",
    ]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80"},
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in (tmp_path / "course").iterdir()) == ["history.html", "history.json"]
    told = json.loads((tmp_path / "course" / "history.json").read_text())
    assert found(told) == {"release-candidate-v2": ("release-candidate-v1", 1.0)}
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    printed = " ".join(ran.stdout.split())
    low, high = (100 * end for end in told["comparisons"][0]["ci95"])
    assert printed.startswith("Win rate over release-candidate-v1, in per cent of pairs")
    assert f"release-candidate-v2 2026-01-02 100.0 [{low:.1f}, {high:.1f}] 0.0" in printed
    assert "are not compared by anything (sampling): steps is 9 in release-candidate-v3 and 30 in" in printed
    assert printed.endswith("History: course/history.html")
