"""A judge that fails on some pictures: a run stops or leaves them out as it is told; `judges` counts the pairs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scripted_server import Answer, ScriptedServer, chat, running
from typer.testing import CliRunner

from prefbench.bench.cli import app
from prefbench.bench.exceptions import DataError
from prefbench.bench.gaps import drop_incomplete
from prefbench.bench.gate.rules import default_rules
from prefbench.bench.gate.sequential import Settings, sequential_claims
from prefbench.bench.gate.sequential_run import gate_suite
from prefbench.bench.run import run_suite
from prefbench.bench.run_report import rewrite_report
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite, parse_suite
from prefbench.scorers.judge import ChatJudge

SUITE = """
name = "judged"
prompts = ["{prompts}"]
seeds = [0, 1]

[sampling]
steps = 1
width = 16
height = 16
guidance = 2.0

[electorate]
voters = ["judge:{url}"]
held_out = ["mini:clip"]
"""


@contextmanager
def judging(refused: list[str]) -> Iterator[ScriptedServer]:
    """A server that gives 5, but no score where one of `refused` is in the prompt."""

    def answer(message: str, before: int) -> Answer:
        return Answer(chat("no" if any(word in message for word in refused) else '{"score": 5}'))

    with running(answer) as scripted:
        scripted.models = ["tiny"]
        yield scripted


def suite_of(scripted: ScriptedServer, folder: Path) -> Suite:
    prompts = folder / "prompts.csv"
    prompts.write_text("prompt\na red circle\na blue square\na green star\n")
    return parse_suite(SUITE.format(prompts=prompts, url=scripted.url), where="test")


def test_a_run_keeps_what_was_scored_refuses_the_gap_and_leaves_it_out_on_request(
    tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path
) -> None:
    """Of 2 checkpoints x 3 prompts x 2 seeds, the 4 pictures of one prompt have no score: 2 of 6 samples go."""
    checkpoints = {"base": str(tiny_pipeline), "other": str(other_pipeline)}
    out = tmp_path / "run"
    with judging(["blue"]) as scripted:
        suite, name = suite_of(scripted, tmp_path), f"judge:{scripted.url}"
        with pytest.raises(
            DataError, match=r"no score for 4 images: 4 x no score in the reply.*--drop-incomplete"
        ):
            run_suite(suite, checkpoints, out, device="cpu", resamples=1000)
        assert not (out / "results.json").exists()
        gate = Settings(sequential_claims(default_rules(), suite.electorate.scorers), block=3)
        with pytest.raises(
            DataError,
            match=r"no score for 4 images.*A gate by blocks leaves no .*without --sequential, with a rule",
        ):
            gate_suite(suite, checkpoints, tmp_path / "gate", "other", "base", gate, device="cpu")
        with Ledger(out, read_only=True) as ledger:
            assert len(ledger.samples()) == 12
        asked = len(scripted.requests)
        results = run_suite(suite, checkpoints, out, device="cpu", resamples=1000, incomplete="drop")
        assert len(scripted.requests) == asked + 4
    missing = {"base": {name: 2}, "other": {name: 2}}
    assert results["suite"]["left_out"] == {"samples": 2, "of": 6, "missing": missing}
    assert results["suite"]["prompts"] == 2
    assert {entry["pairs"] for entry in results["comparisons"]} == {4}
    assert any(warning["kind"] == "left_out" for warning in results["warnings"])
    assert set(pd.read_parquet(out / "scores.parquet")["prompt"]) == {"a red circle", "a green star"}
    page = rewrite_report(out).read_text(encoding="utf-8")
    assert "2 of 6 samples are left out for all checkpoints" in page


def test_a_prompt_that_fails_everywhere_is_counted_though_no_score_names_it(
    tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path
) -> None:
    """The judge is the only scorer, so the ledger has no score at all of the two samples of one prompt."""
    checkpoints = {"base": str(tiny_pipeline), "other": str(other_pipeline)}
    with judging(["blue"]) as scripted:
        suite = suite_of(scripted, tmp_path)
        alone = suite.model_copy(update={"electorate": suite.electorate.model_copy(update={"held_out": []})})
        results = run_suite(
            alone, checkpoints, tmp_path / "run", device="cpu", resamples=1000, incomplete="drop"
        )
    name = f"judge:{scripted.url}"
    missing = {"base": {name: 2}, "other": {name: 2}}
    assert results["suite"]["left_out"] == {"samples": 2, "of": 6, "missing": missing}


def test_a_scorer_that_keeps_nothing_on_the_way_loses_nothing(
    tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keep` is an offer to a scorer; the scores that it returns are recorded all the same."""
    asked = ChatJudge.score_or_reason
    monkeypatch.setattr(
        ChatJudge, "score_or_reason", lambda self, images, prompts, keep=None: asked(self, images, prompts)
    )
    checkpoints = {"base": str(tiny_pipeline), "other": str(other_pipeline)}
    with judging([]) as scripted:
        suite = suite_of(scripted, tmp_path)
        results = run_suite(suite, checkpoints, tmp_path / "run", device="cpu", resamples=1000)
    assert results["suite"]["left_out"] is None
    assert set(pd.read_parquet(tmp_path / "run" / "scores.parquet")["scorer"]) == {
        f"judge:{scripted.url}",
        "mini:clip",
    }


def test_samples_that_the_table_does_not_know_are_missed_if_they_are_named() -> None:
    whole = table([[[True, True], [True, True]]])
    kept, left_out = drop_incomplete(whole, samples=[("p0", 0), ("p1", 0)])
    assert len(kept) == 4
    assert left_out == {
        "samples": 1,
        "of": 2,
        "missing": {"c0": {"s0": 1, "s1": 1}, "c1": {"s0": 1, "s1": 1}},
    }


def test_a_complete_run_leaves_nothing_out_whichever_way_it_was_asked(
    tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path
) -> None:
    checkpoints = {"base": str(tiny_pipeline), "other": str(other_pipeline)}
    with judging([]) as scripted:
        suite = suite_of(scripted, tmp_path)
        results = run_suite(
            suite, checkpoints, tmp_path / "run", device="cpu", resamples=1000, incomplete="drop"
        )
    assert results["suite"]["left_out"] is None
    assert not any(warning["kind"] == "left_out" for warning in results["warnings"])


def table(present: list[list[list[bool]]]) -> pd.DataFrame:
    """Rows of (sample, checkpoint, scorer) that are present."""
    rows: list[dict[str, Any]] = [
        {
            "checkpoint": f"c{c}",
            "prompt_id": f"p{s}",
            "prompt": f"p{s}",
            "seed": 0,
            "scorer": f"s{k}",
            "score": 1.0,
        }
        for s, sample in enumerate(present)
        for c, checkpoint in enumerate(sample)
        for k, there in enumerate(checkpoint)
        if there
    ]
    return pd.DataFrame(rows)


@given(
    st.lists(
        st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_complete_samples_stay_whole_and_every_missing_score_is_counted(
    present: list[list[list[bool]]],
) -> None:
    """One more sample is complete, so that every checkpoint and scorer is known and something is left."""
    present = [[[True, True], [True, True]], *present]
    kept, left_out = drop_incomplete(table(present))
    whole = [k for k, sample in enumerate(present) if np.all(sample)]
    assert sorted(set(kept["prompt"])) == sorted(f"p{k}" for k in whole)
    assert len(kept) == 4 * len(whole)
    if len(whole) == len(present):
        assert left_out is None
        return
    # A sample without any row is not known to the table at all.
    known = [sample for sample in present if np.any(sample)]
    if len(known) == len(whole):
        assert left_out is None
        return
    assert left_out is not None
    assert (left_out["samples"], left_out["of"]) == (len(known) - len(whole), len(known))
    counted = sum(n for scorers in left_out["missing"].values() for n in scorers.values())
    assert counted == sum(not there for sample in known for row in sample for there in row)


def test_nothing_complete_is_an_error() -> None:
    with pytest.raises(DataError, match="not one of 2 samples"):
        drop_incomplete(table([[[True, True], [True, False]], [[False, True], [True, True]]]))


def test_judges_leave_out_the_pairs_of_an_image_without_a_score_for_every_scorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three prompts of three images are nine pairs; one prompt's three go with its images."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    data, lines = tmp_path / "data", ["instance,prompt,image,rank_a"]
    data.mkdir()
    for i, prompt in enumerate(("a red cat", "a blue dog", "a green bird")):
        for k in range(3):
            Image.new("RGB", (24, 24), (80 * i + 20 * k, 90, 10)).save(data / f"{i}{k}.png")
            lines.append(f"{i},{prompt},{i}{k}.png,{k + 1}")
    (data / "rankings.csv").write_text("\n".join(lines) + "\n")
    with judging(["blue"]) as scripted:
        name = f"judge:{scripted.url}"
        arguments = ["judges", str(data), "--scorer", name, "--scorer", "mini:clip", "--resamples", "1000"]
        shown = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, shown.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["scorers"][name]["failed"] == {"no score in the reply": 3}
    assert results["data"]["left_out"] == {f"pairs in which {name} has no score": 3}
    assert {entry["pairs"] for entry in results["accuracy"]} == {6}
    assert f"3 pairs in which {name} has no score" in " ".join(shown.output.split())
    assert results["kendall"][name]["groups"] + results["kendall"][name]["undefined"] == 3
