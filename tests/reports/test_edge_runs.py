"""Runs at the edge of what a report must bear: one prompt, only ties, two checkpoints, five, one voter."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefbench.bench.importers.imagereward_benchmark import read_results
from prefbench.bench.results import summarise
from prefbench.reports.html import write_report
from prefbench.reports.view import build_view

TWO = ("base", "dpo")


def text_of(view: Any) -> str:
    return "".join(span.text for span in (*view.headline.title, *view.headline.lead))


def test_one_prompt_has_no_interval_and_says_so(example_of: Callable[..., Any], tmp_path: Path) -> None:
    run = example_of(checkpoints=TWO, prompts=["only one"])
    view = build_view(run.results, run.scores)
    assert "dpo against base stays open" in text_of(view)
    assert "no interval (1 prompt)" in text_of(view)
    assert all(row.mark.low is None for row in view.verdicts[0].voters)
    html = write_report(run.results, run.scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b|None", html.split("<main>")[1].split("</main>")[0])


def test_only_ties_is_open_at_one_half(example_of: Callable[..., Any], tmp_path: Path) -> None:
    run = example_of(checkpoints=TWO, noise=0.0, qualities={"clip": [0, 0], "pick": [0, 0], "truth": [0, 0]})
    view = build_view(run.results, run.scores)
    card = view.verdicts[0]
    assert card.phrase == "cannot be told apart from"
    assert {row.rate for row in (card.vote, *card.voters, *card.held_out)} == {"50.0"}
    assert "The vote was tied on 24 of 24 pairs" in card.notes[-1]
    assert "not defined" in view.judges.sentence
    write_report(run.results, run.scores, tmp_path / "r.html")


@pytest.mark.parametrize("number", [2, 5])
def test_any_number_of_checkpoints(number: int, example_of: Callable[..., Any], tmp_path: Path) -> None:
    names = tuple(f"checkpoint_{index}" for index in range(number))
    run = example_of(tmp_path, checkpoints=names)
    view = build_view(run.results, run.scores, run.images)
    assert len(view.verdicts) == number - 1
    assert len(view.matrix.rows) == number
    assert len(view.pictures.data["pairs"]) == number * (number - 1) // 2
    write_report(run.results, run.scores, tmp_path / "r.html", run.images)


def test_one_voter_and_nobody_held_out(example_of: Callable[..., Any], tmp_path: Path) -> None:
    run = example_of(checkpoints=TWO, qualities={"clip": [0.0, 5.0]}, held_out=())
    view = build_view(run.results, run.scores)
    assert "By clip alone" in text_of(view)
    assert "no second opinion" in view.judges.sentence
    assert not view.pictures.has_held_out
    page = write_report(run.results, run.scores, tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'value="against"' not in page


def test_pairs_that_were_not_compared_are_said_to_be_missing(example: Any, tmp_path: Path) -> None:
    results = summarise(
        example.scores,
        electorate={"voters": ["pick", "clip", "looks"], "held_out": ["truth"]},
        checkpoints=["base", "sft", "dpo"],
        pairs=[("sft", "base")],
        resamples=1000,
    )
    view = build_view(results, example.scores)
    assert [card.name.text for card in view.verdicts] == ["sft"]
    cell = view.matrix.rows[2][0]
    assert cell is not None
    assert (cell.number, cell.interval) == ("n/a", "not compared")
    write_report(results, example.scores, tmp_path / "r.html")


def test_a_pair_stored_baseline_first_is_read_the_other_way_round(example: Any) -> None:
    """compare --a base --b dpo stores base over dpo; the page reads it as dpo over base."""

    def view(pair: tuple[str, str]) -> Any:
        results = summarise(
            example.scores,
            electorate={"voters": ["pick", "clip", "looks"], "held_out": ["truth"]},
            checkpoints=["base", "dpo"],
            pairs=[pair],
            resamples=1000,
        )
        return build_view(results, example.scores)

    forward, backward = view(("dpo", "base")), view(("base", "dpo"))
    assert forward.verdicts[0].vote.rate == backward.verdicts[0].vote.rate
    assert forward.pictures.data == backward.pictures.data


def test_several_seeds_are_listed_one_by_one(example: Any) -> None:
    twice = example.scores.copy()
    twice["seed"] = 1
    scores = pd.concat([example.scores, twice], ignore_index=True)
    results = summarise(
        scores,
        electorate={"voters": ["pick", "clip", "looks"], "held_out": ["truth"]},
        checkpoints=["base", "sft", "dpo"],
        resamples=1000,
    )
    view = build_view(results, scores)
    assert len(view.pictures.data["units"]) == 48
    assert {unit["seed"] for unit in view.pictures.data["units"]} == {"0", "1"}
    assert "24 prompts (48 pairs)" in text_of(view)


def test_real_scores_of_six_models_give_a_report(reference_data: Path, tmp_path: Path) -> None:
    """Means of the paper's Table 1: ImageReward 0.26145 (openjourney) and -1.23756 (cogview2)."""
    scores = read_results(reference_data / "real_scores_imagereward_benchmark")
    results = summarise(
        scores,
        electorate={"voters": ["CLIP", "ImageReward-v1.0"], "held_out": []},
        checkpoints=["sd1-4", "cogview2", "versatile-diffusion", "dalle2", "sd2-1", "openjourney"],
        resamples=1000,
    )
    view = build_view(results, scores)
    means = {row.name.text: [cell[0] for cell in row.cells] for row in view.means}
    assert means["openjourney"][1] == "0.26"
    assert means["cogview2"][1] == "−1.24"
    assert "100 prompts (1,000 pairs)" in text_of(view)
    assert write_report(results, scores, tmp_path / "r.html").stat().st_size < 2_000_000
