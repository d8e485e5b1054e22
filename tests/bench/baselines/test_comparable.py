"""What may be compared: every difference that decides a number is named, and allowed by name only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import stored_runs
from hypothesis import given, settings
from hypothesis import strategies as st

from prefbench.bench.baselines.comparable import check_comparable, common_samples, common_scores
from prefbench.bench.baselines.differences import KINDS
from prefbench.bench.baselines.folder import save_baseline
from prefbench.bench.baselines.provenance import Provenance
from prefbench.bench.baselines.source import read_source
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.gate.material import gather
from prefbench.bench.scores_table import check_scores, write_scores


def provenance(source: str, **changes: Any) -> Provenance:
    """Three prompts x seeds 0 and 1, scorer pick, 30 steps."""
    texts = changes.pop("texts", {"p0": "a cat", "p1": "a dog", "p2": "a cow"})
    seeds: Sequence[int] = changes.pop("seeds", (0, 1))
    known: dict[str, Any] = {
        "checkpoint": "mine",
        "origin": source,
        "texts": texts,
        "samples": frozenset((key, seed) for key in texts for seed in seeds),
        "scorers": {"pick": stored_runs.info("pick")},
        "sampling": dict(stored_runs.SAMPLING),
    }
    return Provenance(source=source, **(known | changes))


OLD = provenance("the baseline old")


def refusal(candidate: Provenance, baseline: Provenance = OLD, allow: Sequence[str] = ()) -> str:
    with pytest.raises(UsageError) as error:
        check_comparable(candidate, baseline, allow)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_equal_records_are_comparable_and_nothing_is_said() -> None:
    assert check_comparable(provenance("the run new"), OLD) == []


def test_prompts_that_differ_are_counted_and_the_first_named() -> None:
    new = provenance("the run new", texts={"p0": "a cat", "p1": "a black dog", "p3": "a hen", "p4": "a pig"})
    text = refusal(new)
    assert "Prompts differ: 2 of 4 prompt ids are only in the run new (p3, p4)" in text
    assert "1 of 3 prompt ids are only in the baseline old (p2)" in text
    assert (
        "1 of the ids in both have other texts (p1): p1 is 'a black dog' in the run new and 'a dog' in the baseline old"
        in text
    )
    assert text.endswith("accept by name what is meant: --allow prompts.")


def test_renumbered_prompts_are_seen_as_such() -> None:
    new = provenance("the run new", texts={"q0": "a cat", "q1": "a dog", "q2": "a cow"})
    assert "the texts are the same under other ids" in refusal(new)


def test_allowed_prompts_leave_what_both_have_and_count_it() -> None:
    """p0 alone has the same id and text in both: with two seeds 2 of 8 and of 6 samples."""
    new = provenance("the run new", texts={"p0": "a cat", "p1": "a black dog", "p3": "a hen", "p4": "a pig"})
    said = check_comparable(new, OLD, ["prompts"])
    assert said[0].startswith("Allowed: Prompts differ: 2 of 4")
    assert (
        said[1]
        == "Compared are the 2 (prompt, seed) that both have, of 8 in the run new and 6 in the baseline old."
    )
    assert common_samples(new, OLD) == {("p0", 0), ("p0", 1)}


def test_seeds_that_differ_are_listed() -> None:
    new = provenance("the run new", seeds=(1, 2, 3))
    assert "Seeds differ: seeds 1, 2, 3 in the run new and seeds 0, 1 in the baseline old." in refusal(new)
    assert check_comparable(new, OLD, ["seeds"])[1].startswith(
        "Compared are the 3 (prompt, seed) that both have, of 9 in"
    )


def test_a_sample_that_is_missing_for_one_prompt_is_a_difference_of_seeds() -> None:
    new = provenance("the run new", samples=OLD.samples - {("p1", 1)})
    assert "0 (prompt, seed) are only in the run new and 1 only in the baseline old (p1 seed 1)" in refusal(
        new
    )


def test_every_sampling_setting_that_differs_is_named_with_both_values() -> None:
    new = provenance("the run new", sampling=stored_runs.SAMPLING | {"steps": 50, "scheduler": "euler"})
    text = refusal(new)
    assert (
        "steps is 50 in the run new and 30 in the baseline old; scheduler is 'euler' in the run new and 'ddim' in"
        in text
    )
    assert "guidance" not in text


def test_sampling_that_one_side_does_not_record_is_a_difference() -> None:
    text = refusal(provenance("the run new", sampling=None))
    assert "the baseline old was drawn with steps 30, guidance 7.5" in text
    assert "the run new does not say how" in text


def test_another_fingerprint_is_named_with_the_field_that_differs() -> None:
    new = provenance("the run new", scorers={"pick": stored_runs.info("pick", "2", variant="fp16")})
    text = refusal(new)
    assert f"pick has the fingerprint {stored_runs.digest('pick 2')[:12]}… in the run new" in text
    assert "(its variant is 'fp16' in the run new and not set in the baseline old)" in text
    nested = {
        version: {"pick": stored_runs.info("pick", version, identity={"versions": {"torch": version}})}
        for version in "12"
    }
    text = refusal(
        provenance("the run new", scorers=nested["2"]), provenance("the baseline old", scorers=nested["1"])
    )
    assert "its identity.versions.torch is '2' in the run new and '1' in the baseline old" in text
    unexplained = refusal(provenance("the run new", scorers={"pick": stored_runs.info("pick", "2")}))
    assert "no recorded field differs" in unexplained


def test_a_scorer_of_one_side_alone_is_a_difference() -> None:
    both = {"pick": stored_runs.info("pick"), "clip": stored_runs.info("clip")}
    assert "clip scored only the run new" in refusal(provenance("the run new", scorers=both))
    assert check_comparable(provenance("the run new", scorers=both), OLD, ["scorers"]) == [
        "Allowed: Scorers differ: clip scored only the run new."
    ]


def test_the_direction_counts_where_there_are_no_fingerprints() -> None:
    lower = provenance("the run new", scorers={"pick": {"name": "pick", "direction": "lower"}})
    bare = provenance("the baseline old", scorers={"pick": {"name": "pick"}})
    assert "pick counts higher as better in one and lower in the other" in refusal(lower, bare)


def test_what_neither_side_records_is_said_and_not_refused() -> None:
    new, old = (
        provenance(source, sampling=None, scorers={"pick": {"name": "pick"}})
        for source in ("the table new", "the table old")
    )
    said = check_comparable(new, old)
    assert said[0].startswith("Neither side records how its images were drawn")
    assert said[1].startswith("Neither side records a fingerprint of pick")


def test_all_differences_are_named_at_once_and_allowing_one_leaves_the_rest() -> None:
    new = provenance(
        "the run new",
        seeds=(0,),
        sampling=None,
        texts={"p0": "a cat"},
        scorers={"clip": stored_runs.info("clip")},
    )
    text = refusal(new)
    assert text.endswith("--allow prompts, --allow seeds, --allow sampling, --allow scorers.")
    assert refusal(new, allow=["seeds", "prompts"]).endswith("meant: --allow sampling, --allow scorers.")
    assert len(check_comparable(new, OLD, KINDS)) == 5


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    assert "Did you mean 'prompts'? Known: prompts, sampling, scorers, seeds." in refusal(
        OLD, allow=["promts"]
    )


def test_nothing_in_common_is_refused_even_where_it_is_allowed() -> None:
    new = provenance("the run new", texts={"q": "a cat"})
    assert "no (prompt, seed) in common" in refusal(new, allow=["prompts"])


def test_two_checkpoints_of_one_run_agree_by_construction(tmp_path: Path) -> None:
    """Even where one of them was not drawn: its pictures lay in a folder, and the run compares them all the same."""
    frame = stored_runs.table({"base": {"pick": [[1]]}, "mine": {"pick": [[2]]}})
    run = stored_runs.write_run(tmp_path / "run", frame, checkpoints={"mine": {"kind": "images"}})
    source = read_source(run)
    assert check_comparable(source.provenance("mine"), source.provenance("base")) == []
    assert source.provenance("mine").sampling is None
    with pytest.raises(UsageError, match="Did you mean 'mine'"):
        source.provenance("min")


def test_a_run_is_comparable_with_its_own_stored_baseline_and_not_with_other_steps(tmp_path: Path) -> None:
    frame = stored_runs.table({"base": {"pick": [[1], [2]]}, "mine": {"pick": [[2], [1]]}})
    run = stored_runs.write_run(tmp_path / "run", frame)
    stored = save_baseline(run, "base-v1", checkpoint="base", folder=tmp_path / "b")
    assert check_comparable(read_source(run).provenance("mine"), stored.provenance) == []
    other = stored_runs.write_run(tmp_path / "other", frame, sampling=stored_runs.SAMPLING | {"steps": 50})
    text = refusal(read_source(other).provenance("mine"), stored.provenance)
    assert (
        f"The run {other} and the baseline base-v1 cannot be compared. Sampling differs: steps is 50" in text
    )
    table = tmp_path / "t.csv"
    write_scores(frame, table)
    assert "pick has a fingerprint on one side only" in refusal(
        read_source(table).provenance("mine"), stored.provenance
    )


def test_one_checkpoint_under_two_names_is_refused_by_its_fingerprint_or_its_pictures(tmp_path: Path) -> None:
    """Though their scores differ: another machine, or a scorer with chance in it."""
    frame = stored_runs.table({"base": {"pick": [[1], [2]]}, "mine": {"pick": [[2], [1]]}})
    old = {"identity": {"sha256": "a"}, "pixels": "b"}
    same_files = stored_runs.write_run(
        tmp_path / "run", frame, checkpoints={"base": old, "mine": old | {"pixels": "c"}}
    )
    said = "the checkpoints mine and base are one: their files have one fingerprint"
    with pytest.raises(UsageError, match=f"T{said[1:]}.*--allow identical"):
        gather(same_files, "mine", "base")
    assert gather(same_files, "mine", "base", allow=["identical"]).remarks == (f"Allowed: {said}.",)

    # The wrong baseline: what was stored of this very checkpoint. With other settings it may be meant.
    save_baseline(same_files, "v1", checkpoint="mine", folder=tmp_path / "b")
    with pytest.raises(UsageError, match="and their pictures are the same, pixel for pixel"):
        gather(same_files, "mine", "v1", folder=tmp_path / "b")
    steps = stored_runs.write_run(
        tmp_path / "steps", frame, checkpoints={"mine": old}, sampling=stored_runs.SAMPLING | {"steps": 9}
    )
    with pytest.raises(UsageError, match="mine and v1 have exactly the same score"):
        gather(steps, "mine", "v1", folder=tmp_path / "b", allow=["sampling"])
    write_scores(frame.assign(score=-frame["score"]), steps / "scores.parquet")
    found = gather(steps, "mine", "v1", folder=tmp_path / "b", allow=["sampling"])
    assert [remark.partition(":")[0] for remark in found.remarks] == ["Allowed"]


@pytest.mark.parametrize("gone", ["results.json", "scores.parquet"])
def test_an_unfinished_run_is_refused(tmp_path: Path, gone: str) -> None:
    run = stored_runs.write_run(tmp_path / "run", stored_runs.table({"a": {"k": [[1]]}, "b": {"k": [[2]]}}))
    (run / gone).unlink()
    with pytest.raises(DataError, match="the run is not finished"):
        read_source(run)


def test_common_scores_hold_what_both_have() -> None:
    """New has prompts 0 and 1 (1 reworded) by pick and clip, old has 0 to 2 by pick: prompt 0 by pick is left."""
    new = stored_runs.table(
        {"new": {"pick": [[1], [2]], "clip": [[3], [4]]}}, texts=["a cat, number 0", "another"]
    )
    new["category"] = "pets"
    old = stored_runs.table({"old": {"pick": [[5], [6], [7]]}})
    both = check_scores(common_scores(new, old))
    assert both[["checkpoint", "prompt_id", "scorer", "score", "category"]].to_numpy().tolist() == [
        ["new", "p0", "pick", 1.0, "pets"],
        ["old", "p0", "pick", 5.0, "pets"],
    ]
    with pytest.raises(UsageError, match="both called new"):
        common_scores(new, new)
    with pytest.raises(UsageError, match="nothing to compare"):
        common_scores(new, old.assign(seed=9))


samples = st.frozensets(st.tuples(st.sampled_from(["p0", "p1", "p2"]), st.integers(0, 2)), min_size=1)


def of_samples(source: str, drawn: frozenset[tuple[str, int]], words: dict[str, str]) -> Provenance:
    return provenance(source, texts={key: words[key] for key, _ in drawn}, samples=drawn)


@settings(max_examples=60)
@given(samples, samples, st.lists(st.sampled_from(["x", "y"]), min_size=3, max_size=3))
def test_samples_agree_exactly_when_nothing_is_refused_and_either_way_round(one, two, texts) -> None:
    words = dict(zip(["p0", "p1", "p2"], texts, strict=True))
    a, b = of_samples("a", one, dict.fromkeys(words, "x")), of_samples("b", two, words)
    for candidate, baseline in ((a, b), (b, a)):
        if (a.samples, a.texts) == (b.samples, b.texts):
            assert check_comparable(candidate, baseline) == []
        else:
            refusal(candidate, baseline)
        if common_samples(a, b):
            check_comparable(candidate, baseline, ["prompts", "seeds"])
        else:
            refusal(candidate, baseline, ["prompts", "seeds"])
