"""Which scorers a checkpoint was trained against: by its record, by the user, and what is left to vote."""

import pytest

from prefbench.bench.electorate.options import VotingOptions, parse_trained_against
from prefbench.bench.electorate.trained_against import from_record, refuse_without_voters, resolve
from prefbench.bench.exceptions import UsageError

SCORERS = ["pickscore", "hpsv2.1", "clip:a", "aesthetic.v2"]


def card(electorate=None, voters=None, method="rank_dpo"):
    """The part of prefbench.json that is read, as `training_card` and `composition_card` write it."""
    labels = {"labels": "human"} if electorate is None else {"labels": "majority", "electorate": electorate}
    constants = {} if voters is None else {"voters": {"value": voters, "source": "--voters"}}
    return {"composition": {"labels": labels}, "constants": constants, "method": method}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, []),
        ({}, []),
        ({"method": "sft", "composition": None}, []),
        (card(), []),
        (card(["clip:a", "pickscore"]), ["pickscore", "clip:a"]),
        (card(voters="hpsv2.1, pickscore"), ["pickscore", "hpsv2.1"]),
        (card(["clip:a"], voters="pickscore"), ["pickscore"]),
        (card(["clip:a"], voters="pickscore", method="semi_dpo"), ["clip:a"]),
        (card(voters="pickscore", method="semi_dpo"), []),
        (card(["imagereward", "clip:a"]), ["clip:a", "imagereward"]),
        (card(["hpsv2.1@fp16"]), ["hpsv2.1"]),
        (card(voters=None), []),
    ],
)
def test_a_record_names_whose_scores_made_the_labels(record, expected):
    assert from_record(record, SCORERS) == expected


def test_a_scorer_without_variant_in_the_record_is_every_variant_here():
    here = ["hpsv2.1", "hpsv2.1@legacy-noaa", "clip:a"]
    assert from_record(card(["hpsv2.1"]), here) == ["hpsv2.1", "hpsv2.1@legacy-noaa"]


def test_what_the_user_says_takes_the_place_of_the_record():
    trainings = {"base": None, "dpo": card(["pickscore"]), "sft": card(["clip:a"])}
    told = {"dpo": ["hpsv2.1", "hpsv2.1"], "base": [], "elsewhere": ["clip:a"]}
    assert resolve(trainings, told, SCORERS) == {"base": [], "dpo": ["hpsv2.1"], "sft": ["clip:a"]}
    assert resolve(trainings, {"dpo": []}, SCORERS)["dpo"] == []
    with pytest.raises(UsageError, match="'dpo' was trained against 'pikscore'. Did you mean 'pickscore'"):
        resolve(trainings, {"dpo": ["pikscore"]}, SCORERS)


def test_a_comparison_without_voters_says_who_could_vote_and_how_to_insist():
    against = {"a": ["x", "y"], "b": ["z"]}
    refuse_without_voters([("a", "base"), ("b", "base")], ["x", "y", "z"], ["truth"], against)
    with pytest.raises(UsageError) as caught:
        refuse_without_voters([("a", "base"), ("a", "b")], ["x", "y", "z"], ["truth"], against)
    for part in (
        "a against b: a and b were trained",
        "(x, y, z)",
        "held out now: truth",
        "--trained-against NAME=none",
    ):
        assert part in str(caught.value)


def test_options_name_scorers_or_none():
    assert parse_trained_against(["dpo=x,y", "sft=none"]) == {"dpo": ["x", "y"], "sft": []}
    assert parse_trained_against([]) == {}
    for bad, said in (("dpo", "form"), ("dpo=x,,y", "empty"), ("dpo=none,x", "none stands alone")):
        with pytest.raises(UsageError, match=said):
            parse_trained_against([bad])


def test_a_checkpoint_that_the_table_does_not_have_is_refused():
    with pytest.raises(UsageError, match="checkpoint in --trained-against 'dpp'. Did you mean 'dpo'"):
        VotingOptions(trained_against={"dpp": ["x"]}).rules(["x"], ["base", "dpo"])
