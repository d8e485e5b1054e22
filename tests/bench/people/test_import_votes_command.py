"""`prefbench import-votes` as a person meets it: files, terminal, what compare makes of them, refusals."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from simulated_annotators import judgements
from typer.testing import CliRunner, Result

from prefbench.bench.cli import app
from prefbench.bench.exceptions import PrefbenchError
from prefbench.bench.judges.people import PERSON
from prefbench.bench.people.columns import COLUMNS
from prefbench.bench.scores_table import read_scores

VOTES_CSV = """prompt_id,prompt,checkpoint_a,checkpoint_b,annotator,choice,note
p1,a red cube,mine,base,anna,a,
p1,a red cube,base,mine,ben,mine,
p1,a red cube,mine,base,cleo,b,hm
p2,two cats,mine,base,anna,tie,
p2,two cats,base,mine,ben,b,
p3,a house,mine,base,anna,a,
p3,a house,mine,base,ben,b,
p4,a sun,base,mine,cleo,a,
"""

SCORES_CSV = """checkpoint,prompt_id,prompt,seed,scorer,score
mine,p1,a red cube,0,clip,3
base,p1,a red cube,0,clip,1
mine,p2,two cats,0,clip,1
base,p2,two cats,0,clip,3
mine,p3,a house,0,clip,1
base,p3,a house,0,clip,3
mine,p4,a sun,0,clip,1
base,p4,a sun,0,clip,3
mine,p5,a moon,0,clip,1
base,p5,a moon,0,clip,3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "votes.csv").write_text(VOTES_CSV)
    (tmp_path / "scores.csv").write_text(SCORES_CSV)
    return tmp_path


def run(command: str, *arguments: object, fails: bool = False) -> Result:
    result = CliRunner().invoke(app, [command, *map(str, arguments)])
    if not fails and result.exception:
        raise result.exception
    return result


def refusal(*arguments: object) -> str:
    error = run("import-votes", *arguments, fails=True).exception
    assert isinstance(error, PrefbenchError), error
    return str(error)


def people_of(out: Path) -> dict:
    return json.loads((out / "people.json").read_text())


def test_people_become_a_scorer_whose_vote_is_the_human_majority(folder: Path) -> None:
    """p1: two of three for mine; p2: a tie and mine, 3/4; p3: one each; p4: base. Won, won, tied, lost: 62.5 %."""
    out = folder / "out"
    run("import-votes", folder / "votes.csv", "--scores", folder / "scores.csv", "--out", out)
    table = read_scores(out / "scores.parquet")
    people = table[table["scorer"] == "people"].set_index(["checkpoint", "prompt_id"])["score"]
    assert people["mine"].to_dict() == {"p1": 2 / 3, "p2": 3 / 4, "p3": 1 / 2, "p4": 0}
    assert people["base"].to_dict() == {"p1": 1 / 3, "p2": 1 / 4, "p3": 1 / 2, "p4": 1}
    found = people_of(out)
    assert found["table"] == {"a": "mine", "b": "base", "scorer": "people", "samples": 4, "not_judged": 1}
    (said,) = found["comparisons"]
    assert [said[key] for key in ("wins", "ties", "losses", "win_rate")] == [2, 1, 1, 0.625]
    for role in ("--held-out", "--electorate"):
        compared = folder / role
        run(
            "compare", out / "scores.parquet", "--a", "mine", "--b", "base", role, "people", "--out", compared
        )
        entries = json.loads((compared / "results.json").read_text())["comparisons"]
        (entry,) = [e for e in entries if e["scorer"] == "people" and e["slice"] == "all"]
        assert [entry[key] for key in ("wins", "ties", "losses", "win_rate")] == [2, 1, 1, 0.625]
        (vote,) = [e for e in entries if e["scorer"] == "majority" and e["slice"] == "all"]
        assert vote["win_rate"] == (0.25 if role == "--held-out" else 0.625)


def test_scorers_are_held_against_these_people(folder: Path) -> None:
    """clip prefers mine on p1 and base elsewhere: right on p1 and p4, wrong on p2; people tie p3, so 2 of 3, or 2.5 of 4."""
    out = folder / "out"
    ran = run("import-votes", folder / "votes.csv", "--scores", folder / "scores.csv", "--out", out)
    accuracy = {entry["ties"]: entry["accuracy"] for entry in people_of(out)["scorers"]["accuracy"]}
    assert accuracy["left_out"] == pytest.approx(2 / 3)
    assert accuracy["half"] == pytest.approx(2.5 / 4)
    assert "clip" in ran.output
    assert all(len(line) <= 80 for line in ran.output.splitlines()[:-1]), "but for the path"


def test_what_people_say_of_one_another_by_hand(folder: Path) -> None:
    """Anna and ben: p1 alike, p2 half, p3 opposed; each with cleo on p1: opposed. 1.5 of 5, both ways round."""
    out = folder / "out"
    ran = run("import-votes", folder / "votes.csv", "--out", out)
    found = people_of(out)
    assert found["people"]["one"]["who"]["a person"]["agreement"] == pytest.approx(1.5 / 5)
    assert found["votes"]["judgements"] == 8
    assert found["votes"]["judgements_a_pair"] == [1, 3]
    assert found["votes"]["ties"] == 1
    assert found["votes"]["unread"] == ["note"]
    assert found["scorers"] is None
    assert not (out / "scores.parquet").exists()
    assert "Columns not read: note." in ran.output
    votes = pd.read_parquet(out / "votes.parquet")
    assert list(votes.columns) == list(COLUMNS)
    assert votes["choice"].tolist() == ["a", "b", "b", "tie", "b", "a", "b", "a"]
    lines = pd.read_csv(out / "annotators.csv")
    assert lines["name"].tolist() == ["anna", "ben", "cleo"]
    assert lines["judgements"].tolist() == [3, 3, 2]


def test_the_votes_that_were_written_give_the_same_numbers(folder: Path) -> None:
    run("import-votes", folder / "votes.csv", "--out", folder / "one")
    run("import-votes", folder / "one" / "votes.parquet", "--out", folder / "two")
    first, again = people_of(folder / "one"), people_of(folder / "two")
    for found in (first, again):
        del found["created"]
        del found["votes"]["source"]
        del found["votes"]["unread"]
    assert first == again


def test_of_three_checkpoints_one_comparison_is_asked_for(folder: Path) -> None:
    more = VOTES_CSV + "p4,a sun,other,mine,anna,other,\n"
    (folder / "votes.csv").write_text(more)
    scores = SCORES_CSV + "other,p4,a sun,0,clip,5\n"
    (folder / "scores.csv").write_text(scores)
    every = run(
        "import-votes", folder / "votes.csv", "--scores", folder / "scores.csv", "--out", folder / "o"
    )
    assert "scores.parquet is not written: 2 comparisons" in every.output
    assert people_of(folder / "o")["scorers"]["data"]["pairs"] == 5, "scorers are held against all of them"
    assert not (folder / "o" / "scores.parquet").exists()
    options = ["--a", "base", "--b", "mine", "--out", folder / "o"]
    run("import-votes", folder / "votes.csv", "--scores", folder / "scores.csv", *options)
    found = people_of(folder / "o")
    assert (found["comparisons"][0]["a"], found["comparisons"][0]["win_rate"]) == ("base", 0.375)
    assert found["votes"]["left_out"] == {"of other comparisons": 1}
    assert set(read_scores(folder / "o" / "scores.parquet")["checkpoint"]) == {"mine", "base"}


def test_flagged_annotators_are_left_out_only_on_request(folder: Path) -> None:
    kinds = ["careful"] * 9 + ["first"]
    given = judgements(np.random.default_rng(3), kinds, pairs=200, a_pair=3)
    given.table[list(COLUMNS)].to_csv(folder / "crowd.csv", index=False)
    kept = run("import-votes", folder / "crowd.csv", "--out", folder / "kept")
    assert "1 annotator flagged (first 9), whose judgements count all the same" in " ".join(
        kept.output.split()
    )
    shown = run("import-votes", folder / "crowd.csv", "--drop-flagged", "--out", folder / "dropped")
    one, other = people_of(folder / "kept"), people_of(folder / "dropped")
    assert other["dropped"] == ["first 9"]
    theirs = next(each["judgements"] for each in one["annotators"] if each["name"] == "first 9")
    assert other["votes"]["judgements"] == one["votes"]["judgements"] - theirs
    assert other["votes"]["left_out"] == {"of flagged annotators": theirs}
    assert other["annotators"][0] | {"dropped": False} == one["annotators"][0], (
        "flags are decided once, on all"
    )
    assert other["krippendorff_alpha"] > one["krippendorff_alpha"]
    assert one["people_before"] is None
    assert other["people_before"] == one["people"] != other["people"]
    verdict = next(each["verdict"] for each in one["annotators"] if each["name"] == "first 9")
    share = f"{100 * one['people']['one']['who'][PERSON]['agreement']:.1f}"
    said = f"Left out as flagged: first 9 ({verdict}). Before that: Two annotators of a pair give the same answer in {share} ["
    assert said in " ".join(shown.output.split())


def test_people_may_have_another_name(folder: Path) -> None:
    options = ["--scores", folder / "scores.csv", "--out", folder / "o"]
    (folder / "scores.csv").write_text(SCORES_CSV.replace("clip", "people"))
    assert "has a scorer 'people' already" in refusal(folder / "votes.csv", *options)
    run("import-votes", folder / "votes.csv", *options, "--name", "experts")
    assert set(read_scores(folder / "o" / "scores.parquet")["scorer"]) == {"people", "experts"}


def test_images_that_a_scorer_has_no_score_of_are_left_out_for_all_scorers(folder: Path) -> None:
    """`other` scores p1 and p4 only, so clip is held against people on these two alone; p2 and p3 are counted."""
    other = [
        line.replace("clip", "other") for line in SCORES_CSV.splitlines() if ",p1," in line or ",p4," in line
    ]
    (folder / "scores.csv").write_text(SCORES_CSV + "\n".join(other) + "\n")
    run("import-votes", folder / "votes.csv", "--scores", folder / "scores.csv", "--out", folder / "o")
    data = people_of(folder / "o")["scorers"]["data"]
    assert data["pairs"] == 2
    assert data["left_out"] == {"pairs in which other has no score": 2}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--a", "mine"], "--a and --b go together"),
        (["--a", "mine", "--b", "mine"], "--a and --b both name 'mine'"),
        (["--a", "mine", "--b", "bass"], "bass"),
        (["--format", "tiff"], "tiff"),
        (["--resamples", "10"], "resamples is 10"),
        (["--name", " "], "--name is empty"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder: Path, options: list[str], told: str) -> None:
    assert told in refusal(folder / "votes.csv", *options, "--out", folder / "o")
    assert not (folder / "o").exists()


def test_another_commands_folder_is_left_alone(folder: Path) -> None:
    (folder / "o").mkdir()
    (folder / "o" / "results.json").write_text("{}")
    assert "holds something that `prefbench import-votes` did not write" in refusal(
        folder / "votes.csv", "--out", folder / "o"
    )
    assert (folder / "o" / "results.json").read_text() == "{}"
