"""Votes brought to a scores table: prompts by id or text, seeds named or the only ones, and what does not fit."""

from pathlib import Path

import pandas as pd
import pytest

from prefbench.bench.exceptions import DataError
from prefbench.bench.people.matching import complete, match_scores
from prefbench.bench.people.votes_table import read_votes
from prefbench.bench.scores_table import check_scores

SOURCE = Path("scores.csv")


def scores(samples: list[tuple[str, str, int]]) -> pd.DataFrame:
    """Scores of mine and base by one scorer for (prompt_id, prompt, seed)."""
    rows = [
        {"checkpoint": name, "prompt_id": i, "prompt": text, "seed": seed, "scorer": "clip", "score": 0.5}
        for name in ("mine", "base")
        for i, text, seed in samples
    ]
    return check_scores(pd.DataFrame(rows))


def matched(folder: Path, votes: str, samples: list[tuple[str, str, int]]) -> pd.DataFrame:
    path = folder / "votes.csv"
    path.write_text(votes)
    return match_scores(read_votes(path), scores(samples), SOURCE).table


def refusal(folder: Path, votes: str, samples: list[tuple[str, str, int]]) -> str:
    with pytest.raises(DataError) as caught:
        matched(folder, votes, samples)
    return str(caught.value)


BY_TEXT = "prompt,checkpoint_a,checkpoint_b,annotator,choice\na red cube,mine,base,anna,a\n"
BY_ID = "prompt_id,checkpoint_a,checkpoint_b,annotator,choice\np7,mine,base,anna,a\n"
SEEDED = "prompt_id,seed,checkpoint_a,checkpoint_b,annotator,choice\np7,3,mine,base,anna,a\n"


@pytest.mark.parametrize("votes", [BY_TEXT, BY_ID, SEEDED])
def test_a_sample_is_found_by_text_or_id_with_the_tables_seed(tmp_path: Path, votes: str) -> None:
    table = matched(tmp_path, votes, [("p7", "a red cube", 3), ("p8", "two cats", 0)])
    assert table[["prompt_id", "prompt", "seed"]].to_numpy().tolist() == [["p7", "a red cube", 3]]


def test_a_text_with_two_ids_needs_an_id(tmp_path: Path) -> None:
    said = refusal(tmp_path, BY_TEXT, [("p7", "a red cube", 0), ("p9", "a red cube", 0)])
    assert "row 1: the prompt 'a red cube' has several ids in scores.csv: p7, p9; give prompt_id" in said
    both = BY_TEXT.replace("prompt,", "prompt_id,prompt,").replace("a red cube,mine", "p9,a red cube,mine")
    table = matched(tmp_path, both, [("p7", "a red cube", 0), ("p9", "a red cube", 0)])
    assert table["prompt_id"].tolist() == ["p9"]


def test_several_seeds_need_a_seed(tmp_path: Path) -> None:
    said = refusal(tmp_path, BY_ID, [("p7", "a red cube", 3), ("p7", "a red cube", 4)])
    assert "row 1: scores.csv has the seeds 3, 4 of prompt 'p7'; give the votes a column seed" in said


@pytest.mark.parametrize(
    ("votes", "told"),
    [
        (BY_ID.replace("base", "bass"), "row 1: checkpoint_b is 'bass', and scores.csv has 'base', 'mine'"),
        (BY_ID.replace("p7", "p6"), "row 1: scores.csv has no prompt_id 'p6'"),
        (BY_TEXT.replace("cube", "tube"), "row 1: scores.csv has no prompt 'a red tube'"),
        (SEEDED.replace(",3,", ",4,"), "row 1: scores.csv has no score of 'mine' for prompt 'p7', seed 4"),
        (
            BY_TEXT.replace("prompt,", "prompt_id,prompt,").replace("a red cube,mine", "p7,a blue cube,mine"),
            "row 1: the prompt of prompt_id 'p7' is 'a blue cube', in scores.csv it is 'a red cube'",
        ),
    ],
)
def test_what_the_scores_do_not_have_is_refused(tmp_path: Path, votes: str, told: str) -> None:
    assert told in refusal(tmp_path, votes, [("p7", "a red cube", 3)])


def test_without_scores_the_text_is_the_id(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(BY_TEXT)
    assert complete(read_votes(tmp_path / "votes.csv")).table["prompt_id"].tolist() == ["a red cube"]
