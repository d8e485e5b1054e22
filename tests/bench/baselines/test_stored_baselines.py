"""Baselines: what is stored comes back, small; nothing is overwritten, and nothing damaged or changed is read."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import stored_runs
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from prefbench.bench import atomic
from prefbench.bench.baselines import folder as folder_module
from prefbench.bench.baselines.folder import find_baselines, load_baseline, names_in, save_baseline
from prefbench.bench.baselines.printing import not_known
from prefbench.bench.baselines.stored import parquet_bytes
from prefbench.bench.commands.baseline import baseline_app
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.scores_table import read_scores, write_scores

ROWS = ["prompt_id", "prompt", "seed", "scorer", "score"]


def prefbench(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prefbench.bench.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80"},
        timeout=120,
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three prompts x two seeds, checkpoints base and mine, scorers pick and clip (held out)."""
    scores = {
        "base": {"pick": [[1, 2], [3, 4], [5, 6]], "clip": [[0.5, 0.5], [0.5, 0.5], [0.5, 2.0]]},
        "mine": {"pick": [[2, 2], [3, 3], [6, 7]], "clip": [[0, 0], [0, 0], [0, 0]]},
    }
    about = {"mine": {"training": {"method": "diffusion_dpo", "steps": 100}}}
    return stored_runs.write_run(
        tmp_path / "run", stored_runs.table(scores), held_out=["clip"], checkpoints=about
    )


@pytest.fixture
def baselines(tmp_path: Path) -> Path:
    return tmp_path / "baselines"


def same_rows(stored: pd.DataFrame, given: pd.DataFrame) -> bool:
    left, right = (
        frame[ROWS].sort_values(ROWS[:4]).reset_index(drop=True).astype({"score": "float64"})
        for frame in (stored, given)
    )
    return left.equals(right)


def test_one_checkpoint_comes_back_with_all_that_the_run_knew(run: Path, baselines: Path) -> None:
    """Means by hand: pick (2+2+3+3+6+7) / 6 = 23/6, clip 0."""
    save_baseline(run, "mine-v1", checkpoint="mine", folder=baselines)
    stored = load_baseline("mine-v1", baselines)
    frame = read_scores(run / "scores.parquet")
    assert same_rows(stored.scores, frame[frame["checkpoint"] == "mine"])
    assert set(stored.scores["checkpoint"]) == {"mine-v1"}
    assert stored.record["means"] == pytest.approx({"pick": 23 / 6, "clip": 0.0})
    known = stored.provenance
    assert (known.suite, known.seeds, known.sampling) == ("mine", (0, 1), stored_runs.SAMPLING)
    assert known.texts == {f"p{i}": f"a cat, number {i}" for i in range(3)}
    assert known.scorers["pick"]["fingerprint"] == stored_runs.digest("pick 1")
    assert known.electorate is not None
    assert known.electorate["voters"] == ["pick"]
    assert known.about is not None
    assert known.about["identity"] == {"sha256": stored_runs.digest("mine")}
    assert known.about["training"]["method"] == "diffusion_dpo"
    assert not_known(stored.record) == []


def test_a_bare_table_is_stored_and_what_it_does_not_say_is_null_and_said(run: Path, baselines: Path) -> None:
    table = run / "scores.csv"
    write_scores(read_scores(run / "scores.parquet"), table)
    found = prefbench(
        "baseline", "save", table, "--checkpoint", "base", "--name", "base-v1", cwd=baselines.parent
    )
    assert found.returncode == 0, found.stderr
    printed = " ".join(found.stdout.split())
    assert "Saved base as base-v1: 12 scores of 3 prompts with seeds 0, 1 by 2 scorers" in printed
    assert (
        "who votes; the prompt sets; how the images were drawn; the checkpoint's identity; its training"
        in printed
    )
    assert "the fingerprint of pick, clip" in printed
    stored = load_baseline("base-v1", baselines)
    assert stored.record["suite"] is None
    assert stored.record["checkpoint"] is None
    assert stored.provenance.sampling is None


def test_a_comparison_keeps_its_electorate(run: Path, baselines: Path) -> None:
    (run / "ledger.sqlite").unlink()
    stored = save_baseline(run, "base-v1", checkpoint="base", folder=baselines)
    assert stored.record["source"]["kind"] == "comparison"
    assert stored.provenance.electorate is not None
    assert stored.provenance.electorate["held_out"] == ["clip"]


def test_scored_images_keep_their_fingerprints(run: Path, baselines: Path) -> None:
    (run / "results.json").unlink()
    (run / "ledger.sqlite").unlink()
    described = {
        "schema": 1,
        "prefbench": "0",
        "scorers": {"pick": stored_runs.info("pick"), "clip": stored_runs.info("clip")},
    }
    (run / "scorers.json").write_text(json.dumps(described))
    stored = save_baseline(run, "base-v1", checkpoint="base", folder=baselines)
    assert stored.record["source"]["kind"] == "scored images"
    assert stored.provenance.scorers["clip"]["fingerprint"] == stored_runs.digest("clip 1")


printable = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
names = printable.filter(lambda text: text == text.strip() and text.isprintable())


@settings(max_examples=15)
@given(
    texts=st.lists(printable, min_size=1, max_size=4),
    seeds=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3, unique=True),
    scorers=st.lists(names, min_size=1, max_size=3, unique=True),
    category=st.none() | printable,
    data=st.data(),
)
def test_any_valid_table_comes_back_exactly(texts, seeds, scorers, category, data, tmp_path_factory) -> None:
    rows = [
        ("c", f"p{p}", text, seed, scorer, data.draw(st.floats(-1e100, 1e100)))
        for p, text in enumerate(texts)
        for seed in seeds
        for scorer in scorers
    ]
    frame = pd.DataFrame(rows, columns=stored_runs.COLUMNS)
    if category is not None:
        frame["category"] = category
    place = tmp_path_factory.mktemp("any")
    write_scores(frame, place / "t.parquet")
    save_baseline(place / "t.parquet", "n", folder=place / "b")
    stored = load_baseline("n", place / "b").scores
    assert same_rows(stored, frame)
    assert ("category" in stored) == (category is not None)


def test_partiprompts_by_five_scorers_takes_well_under_a_megabyte(
    reference_data: Path, baselines: Path
) -> None:
    """1,632 prompts x 5 scorers with float32 scores, categories and challenges, scorer descriptions and all."""
    lines = (reference_data / "partiprompts" / "PartiPrompts.tsv").read_text(encoding="utf-8").splitlines()
    prompts = pd.DataFrame(
        [line.split("\t")[:3] for line in lines[1:]], columns=["prompt", "category", "challenge"]
    )
    assert len(prompts) == 1632
    prompts.insert(0, "prompt_id", [f"{i:04d}" for i in range(1632)])
    rng = np.random.default_rng(0)
    frames = [
        prompts.assign(
            checkpoint="mine",
            seed=0,
            scorer=name,
            score=rng.normal(20, 1, 1632).astype(np.float32).astype(float),
        )
        for name in ("pickscore", "hpsv2.1", "imagereward", "clip", "aesthetic.v2")
    ]
    frame = pd.concat(frames)
    write_scores(frame, baselines.parent / "t.parquet")
    stored = save_baseline(baselines.parent / "t.parquet", "parti", folder=baselines)
    size = sum(file.stat().st_size for file in stored.path.iterdir())
    assert same_rows(stored.scores, frame)
    assert size < 100_000
    texts = len(parquet_bytes(stored.scores)) - len(parquet_bytes(stored.scores.assign(prompt="x")))
    assert texts < sum(len(text.encode()) for text in prompts["prompt"]), "each text stands in the file once"


def test_a_dictionary_beyond_a_megabyte_still_holds_each_text_once(tmp_path: Path) -> None:
    """3,000 texts of 500 random letters are 1.5 MB, past pyarrow's usual room; a second scorer does not double them."""
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, row)) for row in rng.integers(97, 123, (3000, 500))]
    one = pd.DataFrame(
        {
            "checkpoint": "c",
            "prompt_id": range(3000),
            "prompt": texts,
            "seed": 0,
            "scorer": "a",
            "score": 0.0,
        }
    )
    two = pd.concat([one, one.assign(scorer="b")])
    sizes = [len(parquet_bytes(frame.astype({"prompt_id": str}))) for frame in (one, two)]
    assert sizes[1] < sizes[0] + 100_000


def test_a_name_that_is_taken_needs_replace(run: Path, baselines: Path) -> None:
    first = save_baseline(run, "v1", checkpoint="base", folder=baselines)
    with pytest.raises(UsageError, match="'v1' is there already, in .*--replace"):
        save_baseline(run, "v1", checkpoint="mine", folder=baselines)
    assert load_baseline("v1", baselines).record == first.record
    save_baseline(run, "v1", checkpoint="mine", folder=baselines, replace=True)
    assert load_baseline("v1", baselines).record["source"]["checkpoint"] == "mine"
    with pytest.raises(UsageError, match="one folder on systems that do not mind case"):
        save_baseline(run, "V1", checkpoint="base", folder=baselines, replace=True)


def test_a_save_that_fails_leaves_the_old_baseline_and_nothing_else(
    run: Path, baselines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_baseline(run, "v1", checkpoint="base", folder=baselines)

    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(folder_module.atomic, "write_json", full)
        with pytest.raises(OSError, match="No space left"):
            save_baseline(run, "v1", checkpoint="mine", folder=baselines, replace=True)
    assert load_baseline("v1", baselines).record["source"]["checkpoint"] == "base"
    assert [path.name for path in baselines.iterdir()] == ["v1"]
    assert atomic.write_json is not full


ODD = ["", ".", "..", "../x", "a/b", "a\\b", " a", "a.", "-a", "ä", "x" * 65, "a\n", ".hidden", "first"]
DEVICES = ["con", "AUX", "nul.v1", "Com1", "lpt9.tar.gz"]


@pytest.mark.parametrize("name", [*ODD, *DEVICES])
def test_names_that_are_no_folder_everywhere_are_refused(name: str, run: Path, baselines: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a baseline"):
        save_baseline(run, name, checkpoint="base", folder=baselines)
    assert not baselines.exists()


@pytest.mark.parametrize("name", ["console", "com", "aux-1", "my.nul"])
def test_names_that_only_look_like_a_device_are_kept(name: str, run: Path, baselines: Path) -> None:
    assert save_baseline(run, name, checkpoint="base", folder=baselines).name == name


def test_a_folder_with_something_else_in_it_is_no_folder_of_baselines(run: Path, baselines: Path) -> None:
    baselines.mkdir()
    (baselines / "README.md").write_text("ours")
    (baselines / ".gitattributes").write_text("*.parquet binary")
    save_baseline(run, "v1", checkpoint="base", folder=baselines)
    assert names_in(baselines) == ["v1"]
    (baselines / "setup.py").write_text("")
    with pytest.raises(UsageError, match=r"is no folder of baselines: setup\.py in it is none"):
        save_baseline(run, "v2", checkpoint="base", folder=baselines)
    (baselines / "setup.py").unlink()
    (baselines / "v1" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"did not write \(notes\.txt\)"):
        save_baseline(run, "v1", checkpoint="base", folder=baselines, replace=True)


def test_a_damaged_parquet_is_refused(run: Path, baselines: Path) -> None:
    """Cut off, gone, or with another score in it: its sha256 tells."""
    stored = save_baseline(run, "v1", checkpoint="base", folder=baselines)
    file = stored.path / "scores.parquet"
    whole = file.read_bytes()
    better = stored.scores.assign(score=stored.scores["score"] + 1)
    for data in (whole[:-10], b"", parquet_bytes(better)):
        file.write_bytes(data)
        with pytest.raises(DataError, match="version control"):
            load_baseline("v1", baselines)
    file.unlink()
    with pytest.raises(DataError, match="missing or empty"):
        load_baseline("v1", baselines)


def test_a_changed_record_is_refused(run: Path, baselines: Path) -> None:
    """Guidance 7.5 turned into 7.0 by hand, a merge conflict, another format: each is one paragraph, with the remedy."""
    record = save_baseline(run, "v1", checkpoint="base", folder=baselines).path / "baseline.json"
    text = record.read_text()
    for changed, words in (
        (text.replace("7.5", "7.0"), "was changed since it was saved"),
        ("<<<<<<< HEAD\n" + text, "not valid JSON"),
        (text.replace('"schema": 1', '"schema": 9'), "schema 9"),
        ("{}", "not the record of a baseline"),
    ):
        record.write_text(changed)
        with pytest.raises(DataError, match=words) as error:
            load_baseline("v1", baselines)
        assert "\n" not in str(error.value)
    record.write_text(json.dumps(json.loads(text)))  # other spaces and line ends say the same
    assert load_baseline("v1", baselines).name == "v1"


def test_a_renamed_folder_is_refused(run: Path, baselines: Path) -> None:
    save_baseline(run, "v1", checkpoint="base", folder=baselines)
    shutil.move(baselines / "v1", baselines / "v2")
    with pytest.raises(DataError, match="holds the baseline 'v1': the folder was renamed"):
        load_baseline("v2", baselines)


def test_an_incomplete_checkpoint_is_refused(run: Path, baselines: Path) -> None:
    frame = read_scores(run / "scores.parquet")
    gone = (frame["checkpoint"] == "mine") & (frame["prompt_id"] == "p1")
    write_scores(frame[~gone], run.parent / "holes.csv")
    with pytest.raises(DataError, match="'mine' lacks 4 of 12 scores"):
        save_baseline(run.parent / "holes.csv", "v1", checkpoint="mine", folder=baselines)
    assert not baselines.exists() or names_in(baselines) == []


def test_baselines_are_found_by_name_by_path_and_by_folder(run: Path, baselines: Path) -> None:
    for name in ("v1", "v2"):
        save_baseline(run, name, checkpoint="base", folder=baselines)
    assert [each.name for each in find_baselines([str(baselines)], baselines)] == ["v1", "v2"]
    given = ["v2", str(baselines / "v1"), str(baselines / "v2")]
    assert [each.name for each in find_baselines(given, baselines)] == ["v2", "v1"]
    with pytest.raises(UsageError, match="Did you mean 'v1'"):
        load_baseline("v", baselines)
    with pytest.raises(UsageError, match="Did you mean 'v1'"):
        find_baselines(["v"], baselines)
    elsewhere = save_baseline(run, "v1", checkpoint="mine", folder=baselines.parent / "elsewhere")
    with pytest.raises(UsageError, match="Two different baselines are called v1"):
        find_baselines(["v1", str(elsewhere.path)], baselines)
    (run / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        names_in(run / "file")
    with pytest.raises(DataError, match="There is no baseline at"):
        load_baseline(baselines / "v9")


def test_scores_too_large_for_a_mean_are_refused(run: Path, baselines: Path) -> None:
    frame = read_scores(run / "scores.parquet").assign(score=1e300)
    write_scores(frame, run.parent / "huge.csv")
    with pytest.raises(DataError, match="'pick' gives prompt p0 a score of 1e.300"):
        save_baseline(run.parent / "huge.csv", "v1", checkpoint="base", folder=baselines)


def test_a_taken_name_is_one_paragraph_and_exit_code_2(run: Path, baselines: Path) -> None:
    save_baseline(run, "mine-v1", checkpoint="mine", folder=baselines)
    found = prefbench(
        "baseline", "save", run, "--checkpoint", "mine", "--name", "mine-v1", cwd=baselines.parent
    )
    assert found.returncode == 2
    assert "Give another name, or --replace" in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr


def test_list_and_show_fit_80_columns_and_say_what_decides(run: Path, baselines: Path) -> None:
    for name, day in (("mine-v2", 2), ("mine-v1", 1)):
        save_baseline(run, name, checkpoint="mine", folder=baselines, now=datetime(2026, 11, day, tzinfo=UTC))
    listed, shown = (
        CliRunner().invoke(
            baseline_app, [*words, "--folder", str(baselines)], env={"COLUMNS": "80", "TERM": "dumb"}
        )
        for words in (["list"], ["show", "mine-v1"])
    )
    rows = [line.split() for line in listed.output.splitlines()[1:]]
    assert rows == [
        [name, f"2026-11-0{day}", "mine", "3", "x", "2", "2"]
        for name, day in (("mine-v1", 1), ("mine-v2", 2))
    ]
    printed = " ".join(shown.output.split())
    for words in (
        "checkpoint mine of a run",
        "steps 30, guidance 7.5",
        "voters pick",
        "held out clip",
        "method diffusion_dpo",
    ):
        assert words in printed
    assert "3.83333" in printed
    assert all(len(line) <= 80 for found in (listed, shown) for line in found.output.splitlines())
