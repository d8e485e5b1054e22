"""Votes, sort keys and the choice of pictures, on numbers small enough to check by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.exceptions import DataError
from prefbench.bench.results import summarise
from prefbench.reports.view_facts import VOTE, read_facts
from prefbench.reports.view_headline import focus
from prefbench.reports.view_pictures import pictures
from prefbench.reports.view_sorting import most_telling, score_cube, sort_keys


def table(values: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """{checkpoint: {scorer: scores by prompt}} as a scores table."""
    return pd.DataFrame(
        [
            {"checkpoint": c, "prompt_id": f"p{i}", "prompt": f"text {i}", "seed": 0, "scorer": s, "score": v}
            for c, scorers in values.items()
            for s, scores in scorers.items()
            for i, v in enumerate(scores)
        ]
    )


HAND = {
    "base": {"one": [0.0, 0.0, 2.0, 0.0], "two": [0.0, 4.0, 0.0, 0.0], "truth": [0.0, 1.0, 0.0, 0.0]},
    "tuned": {"one": [2.0, 2.0, 0.0, 0.0], "two": [4.0, 0.0, 0.0, 0.0], "truth": [0.0, 0.0, 1.0, 0.0]},
}


def hand_facts(directions: dict[str, str] | None = None) -> Any:
    infos = {name: {"direction": way} for name, way in (directions or {}).items()}
    results = summarise(
        table(HAND),
        electorate={"voters": ["one", "two"], "held_out": ["truth"]},
        checkpoints=["base", "tuned"],
        scorers=infos,
        resamples=1000,
    )
    return read_facts(results)


def test_votes_and_keys_by_hand() -> None:
    """Scores of `one` over all samples: 0 0 2 0 2 2 0 0, mean 3/4, variance 12/8 - 9/16 = 15/16.

    `two` is 0 4 0 0 4 0 0 0: mean 1, variance 32/8 - 1 = 3. `truth` is 0 1 0 0 0 0 1 0: mean 1/4, variance
    1/4 - 1/16 = 3/16. Differences tuned - base: one +2 +2 -2 0; two +4 -4 0 0; truth 0 -1 +1 0.
    """
    facts = hand_facts()
    cube = score_cube(facts, table(HAND))
    keys = sort_keys(cube, 1, 0, facts)
    one, two, truth = 2 / np.sqrt(15 / 16), 4 / np.sqrt(3), 1 / np.sqrt(3 / 16)
    assert keys.votes.tolist() == [[1, 1, -1, 0], [1, -1, 0, 0], [0, -1, 1, 0]]
    assert keys.majority.tolist() == [1, 0, -1, 0]
    assert keys.margin == pytest.approx([(one + two) / 2, (one - two) / 2, -one / 2, 0])
    assert keys.doubt == pytest.approx([0, min(one, two), 0, 0])
    assert keys.against == pytest.approx([0, 0, truth, 0])


def test_a_scorer_whose_lower_values_are_better_votes_the_other_way() -> None:
    facts = hand_facts({"one": "lower"})
    keys = sort_keys(score_cube(facts, table(HAND)), 1, 0, facts)
    assert keys.votes[0].tolist() == [-1, -1, 1, 0]
    assert keys.votes[1].tolist() == [1, -1, 0, 0]


def test_most_telling_takes_worst_best_doubt_and_contradiction_in_turn() -> None:
    """Worst loss is prompt 2 (-1.03), clearest win 0, deepest doubt 1; 3, where all tie, is left."""
    facts = hand_facts()
    keys = sort_keys(score_cube(facts, table(HAND)), 1, 0, facts)
    assert most_telling([keys], 4) == [2, 0, 1, 3]


def test_votes_on_the_page_add_up_to_the_results(example: Any) -> None:
    """Two ways to the same numbers: counting the page's votes gives wins, ties and losses of results.json."""
    facts = read_facts(example.results)
    data = pictures(facts, example.scores, None).data
    names = [scorer["name"] for scorer in data["scorers"]]
    for key, pair in data["pairs"].items():
        later, earlier = (facts.checkpoints[int(place)] for place in key.split(","))
        for name, votes in [(VOTE, pair["vote"]), *zip(names, pair["votes"], strict=True)]:
            row = facts.get(later, earlier, name)
            assert (votes.count("+"), votes.count("0"), votes.count("-")) == (row.wins, row.ties, row.losses)


def test_a_hole_in_the_scores_is_an_error_that_names_it(example: Any) -> None:
    holed = example.scores.drop(index=example.scores.index[5])
    with pytest.raises(
        DataError, match=r"no score for checkpoint 'sft', prompt_id 'p000', seed 0, scorer 'clip'"
    ):
        pictures(read_facts(example.results), holed, None)


def test_without_pictures_the_section_lists_every_prompt(example: Any) -> None:
    section = pictures(read_facts(example.results), example.scores, None)
    assert section.title == "Prompts"
    assert len(section.data["units"]) == 24
    assert section.data["images"] == [None] * 24
    assert section.notes == ("This report was made from a table of scores: there are no pictures to show.",)


def test_the_budget_keeps_whole_prompts_and_says_how_many(example: Any) -> None:
    facts = read_facts(example.results)
    whole = pictures(facts, example.scores, example.images)
    sizes = [sum(map(len, row)) for row in whole.data["images"]]
    part = pictures(facts, example.scores, example.images, max_picture_bytes=sum(sizes) // 3)
    kept = [row for row in part.data["images"] if row]
    assert 0 < len(kept) < 24
    assert all(len(row) == 3 and all(row) for row in kept)
    assert sum(map(len, [uri for row in kept for uri in row])) <= sum(sizes) // 3
    assert f"Pictures of {len(kept)} of 24 prompts are embedded" in part.notes[0]
    assert len(part.data["units"]) == 24


def test_beyond_the_cap_the_most_telling_units_stay(example: Any) -> None:
    facts = read_facts(example.results)
    section = pictures(facts, example.scores, None, max_units=5)
    cube = score_cube(facts, example.scores)
    keys = sort_keys(cube, facts.checkpoints.index(focus(facts)), 0, facts)
    opening = [int(np.argmin(keys.margin)), int(np.argmax(keys.margin))]
    listed = [unit["id"] for unit in section.data["units"]]
    assert len(listed) == 5
    assert {cube.units[place][0] for place in opening} <= set(listed)
    assert section.notes[0].startswith("5 of 24 prompts are listed")


def test_a_picture_that_cannot_be_read_is_an_error(example_of: Callable[..., Any], tmp_path: Path) -> None:
    small = example_of(tmp_path, prompts=["a", "b"])
    (tmp_path / "0-1.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"0-1\.png: the report needs this picture"):
        pictures(read_facts(small.results), small.scores, small.images)
