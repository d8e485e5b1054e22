"""A whole run on a tiny random pipeline and toy scorers whose numbers are known."""

import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.exceptions import DataError, LedgerError, MissingWeightsError, PrefbenchError, UsageError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.run import plan_suite, run_suite
from prefbench.bench.run_report import rewrite_report
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Sampling, Suite, load_suite, parse_suite
from prefbench.scorers.fingerprint import fingerprint_of

pytestmark = pytest.mark.usefixtures("toy_plugin")

FILES = {
    "images",
    "ledger.lock",
    "ledger.sqlite",
    "report.html",
    "results.json",
    "scores.parquet",
    "suite.toml",
}


def run(suite: Suite, checkpoints: dict[str, Any], out: Path, **options: Any) -> dict[str, Any]:
    specs = {name: str(spec) for name, spec in checkpoints.items()}
    return run_suite(suite, specs, out, device="cpu", resamples=1000, **options)


@pytest.fixture
def suite(suite_file: Path) -> Suite:
    return load_suite(str(suite_file))


@pytest.fixture
def two(tiny_pipeline: Path, other_pipeline: Path) -> dict[str, Path]:
    return {"base": tiny_pipeline, "other": other_pipeline}


def test_run_leaves_the_seven_files_and_the_scores_of_its_pictures(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    results = run(suite, two, tmp_path / "run", batch_size=4)
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert parse_suite((tmp_path / "run" / "suite.toml").read_text(), where="copy") == suite
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results

    frame = pd.read_parquet(tmp_path / "run" / "scores.parquet")
    assert len(frame) == 2 * 5 * 2 * 4  # checkpoints x prompts x seeds x scorers
    assert list(frame["category"].unique()) == ["animals", "things"]
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        image_of = {(s.checkpoint, s.prompt_id, s.seed): s.image for s in ledger.samples()}
    for row in frame[frame["scorer"].isin(["toy:blue", "toy:words"])].itertuples():
        key = image_of[row.checkpoint, row.prompt_id, row.seed]
        with Image.open(tmp_path / "run" / "images" / key[:2] / f"{key}.png") as image:
            pixels = np.asarray(image, dtype=np.float64)
        words = len(row.prompt.split())
        expected = pixels[..., 2].mean() if row.scorer == "toy:blue" else pixels[..., 1].mean() + words
        assert row.score == expected


def test_results_say_what_was_run(suite: Suite, two: dict[str, Path], tmp_path: Path) -> None:
    results = run(suite, two, tmp_path / "run")
    assert list(results["checkpoints"]) == ["base", "other"]
    assert results["checkpoints"]["base"]["identity"]["class"] == "StableDiffusionPipeline"
    assert (
        results["checkpoints"]["base"]["truncated"] == 1
    )  # "a tree with very many leaves" has 23 letters, 14 fit
    assert results["suite"]["sampling"] | {"width": 16, "height": 16} == results["suite"]["sampling"]
    assert (results["suite"]["seeds"], results["suite"]["prompt_sets"][0]["prompts"]) == ([0, 1], 5)
    words = results["scorers"]["toy:words"]
    assert (words["role"], words["truncated"]) == ("votes", 0)
    assert words["fingerprint"] == fingerprint_of(words["identity"]), "what baselines and gates compare"
    assert (
        results["scorers"]["toy:blue"] | {"role": "held out", "truncated": None}
        == results["scorers"]["toy:blue"]
    )


def test_running_again_makes_nothing_and_says_the_same(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = run(suite, two, out)
    table = (out / "scores.parquet").read_bytes()
    ages = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    again = run(suite, two, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == ages
    assert (out / "scores.parquet").read_bytes() == table
    assert first | {"created": ""} == again | {"created": ""}


def test_the_same_weights_under_another_name_share_their_pictures(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    results = run(suite, two | {"copy": two["base"]}, tmp_path / "run")
    assert len(list((tmp_path / "run" / "images").rglob("*.png"))) == 20
    tied = [c for c in results["comparisons"] if (c["a"], c["b"]) == ("copy", "base") and c["slice"] == "all"]
    assert {(c["win_rate"], c["ties"]) for c in tied} == {(0.5, 10)}


def test_a_run_can_be_widened_by_naming_the_new_checkpoint_alone(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(suite, two, out)
    before = {path.name for path in out.rglob("*.png")}
    unet = f"unet:{two['other']}/unet@{two['base']}"
    results = run(suite, {"mixed": unet}, out)
    assert list(results["checkpoints"]) == ["base", "other", "mixed"]
    assert len({path.name for path in out.rglob("*.png")} - before) == 10
    at_once = run(suite, two | {"mixed": unet}, tmp_path / "at once")
    assert results["comparisons"] == at_once["comparisons"]


def test_batch_size_does_not_change_results(suite: Suite, two: dict[str, Path], tmp_path: Path) -> None:
    """Up to float rounding, which may move a pixel by a level; 0.05 is our tolerance on these toy scores."""
    tables = []
    for size in (1, 3, 10):
        run(suite, two, tmp_path / str(size), batch_size=size)
        tables.append(pd.read_parquet(tmp_path / str(size) / "scores.parquet")["score"].to_numpy())
    for other in tables[1:]:
        np.testing.assert_allclose(other, tables[0], atol=0.05)


def test_dry_run_counts_what_is_missing_and_writes_nothing(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    out, specs = tmp_path / "run", {name: str(path) for name, path in two.items()}
    plan = plan_suite(suite, specs, out, device="cpu")
    assert [(c.name, c.wanted, c.present) for c in plan.checkpoints] == [("base", 10, 0), ("other", 10, 0)]
    assert {(s.wanted, s.present) for s in plan.scorers} == {(20, 0)}
    assert not out.exists()
    run(suite, two, out)
    state = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    plan = plan_suite(suite, specs | {"mixed": f"unet:{two['other']}@{two['base']}"}, out, device="cpu")
    assert [(c.name, c.wanted - c.present) for c in plan.checkpoints] == [
        ("base", 0),
        ("other", 0),
        ("mixed", 10),
    ]
    assert {(s.wanted, s.present) for s in plan.scorers} == {(30, 20)}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == state


def test_finished_images_can_run_against_a_pipeline(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    run(suite, two, tmp_path / "run")
    with Ledger(tmp_path / "run", read_only=True) as ledger:
        for sample in ledger.samples():
            source = tmp_path / "run" / "images" / sample.image[:2] / f"{sample.image}.png"
            folder = tmp_path / "finished" / sample.checkpoint
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / f"{sample.prompt_id}_{sample.seed}.png")
    finished = {name: f"images:{tmp_path / 'finished' / name}" for name in two}
    results = run(suite, {"base": two["base"], "theirs": finished["base"]}, tmp_path / "mixed")
    assert {c["ties"] for c in results["comparisons"] if c["slice"] == "all"} == {10}
    assert results["checkpoints"]["theirs"]["truncated"] is None
    assert run(suite, finished, tmp_path / "both")["suite"]["sampling"] is None


def test_a_plug_ins_kind_of_checkpoint_runs_like_any_other(suite: Suite, tmp_path: Path) -> None:
    """A red picture scores 255 for red and 0 for blue; every pair is won or lost by that much."""
    results = run(suite, {"red": "plain:red", "blue": "plain:blue"}, tmp_path / "run")
    scores = pd.read_parquet(tmp_path / "run" / "scores.parquet").groupby(["checkpoint", "scorer"])["score"]
    assert scores.min()["red", "toy:red"] == scores.max()["red", "toy:red"] == 255
    assert scores.max()["blue", "toy:red"] == 0
    assert results["checkpoints"]["red"]["kind"] == "plain"


def test_repeated_prompt_texts_share_an_image_and_keep_their_rows(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "prompts.csv").write_text("prompt,id\na cat,1\na dog,2\na cat,3\n")
    run(suite, two, tmp_path / "run")
    assert len(list((tmp_path / "run" / "images").rglob("*.png"))) == 2 * 2 * 2
    frame = pd.read_parquet(tmp_path / "run" / "scores.parquet")
    assert sorted(frame["prompt_id"].unique()) == ["1", "2", "3"]
    assert "category" not in frame


def test_report_is_written_again_from_the_folder(suite: Suite, two: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(suite, two, out)
    first = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert rewrite_report(out) == out / "report.html"
    assert (out / "report.html").read_text() == first


def test_report_of_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it is no run folder"):
        rewrite_report(tmp_path)
    with Ledger(tmp_path):
        pass
    with pytest.raises(DataError, match="the run is not finished"):
        rewrite_report(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ('"toy:blue"', '"toy:bleu"', UsageError, "Did you mean 'toy:blue'"),
        ("prompts.csv", "prompt.csv", DataError, "does not exist"),
        (
            '"toy:blue"',
            '"mini:truth"',
            DataError,
            "not of 'a red cat'.* Leave mini:truth out of the suite's electorate",
        ),
        ('dtype = "float32"', 'dtype = "float16"', UsageError, "half precision needs a GPU"),
    ],
)
def test_bad_input_is_found_before_anything_is_written(
    suite_file: Path,
    two: dict[str, Path],
    tmp_path: Path,
    old: str,
    new: str,
    error: type[PrefbenchError],
    said: str,
) -> None:
    text = suite_file.read_text().replace("steps = 2", 'steps = 2\ndtype = "float32"')
    suite_file.write_text(text.replace(old, new))
    with pytest.raises(error, match=said):
        run(load_suite(str(suite_file)), two, tmp_path / "run")
    with pytest.raises(error, match=said):
        specs = {name: str(path) for name, path in two.items()}
        plan_suite(load_suite(str(suite_file)), specs, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_bad_checkpoints_are_found_before_anything_is_written(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    cut = Path(shutil.copytree(two["base"], tmp_path / "cut"))
    path = cut / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MissingWeightsError, match="damaged"):
        run(suite, two | {"cut": cut}, tmp_path / "run")
    with pytest.raises(UsageError, match="at least two checkpoints; this one has 1"):
        run(suite, {"base": two["base"]}, tmp_path / "run")
    large = Path(shutil.copytree(two["base"], tmp_path / "large"))
    config = json.loads((large / "unet" / "config.json").read_text())
    (large / "unet" / "config.json").write_text(json.dumps(config | {"sample_size": 16}))
    with pytest.raises(DataError, match="base 16 x 16, large 32 x 32"):
        run(suite, {"base": two["base"], "large": large}, tmp_path / "run")
    with pytest.raises(UsageError, match="Did you mean 'toy:red'"):
        run(suite, two, tmp_path / "run", weights={"toy:rad": "x"})
    assert not (tmp_path / "run").exists()


def test_a_score_that_is_no_number_stops_the_run_and_is_not_recorded(
    suite_file: Path, two: dict[str, Path], tmp_path: Path
) -> None:
    suite_file.write_text(suite_file.read_text().replace("toy:red", "toy:nan"))
    with pytest.raises(DataError, match=r"'toy:nan' gave nan for .*\.png under 'a red cat'"):
        run(load_suite(str(suite_file)), two, tmp_path / "run")
    assert not (tmp_path / "run" / "results.json").exists()


def test_another_suite_is_refused_with_the_field(
    suite_file: Path, two: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(load_suite(str(suite_file)), two, out)
    good = suite_file.read_text()
    suite_file.write_text(good.replace("steps = 2", "steps = 3"))
    with pytest.raises(LedgerError, match=r"sampling\.steps is 2 there and 3 now"):
        run(load_suite(str(suite_file)), two, out)
    suite_file.write_text(good)
    prompts = suite_file.parent / "prompts.csv"
    prompts.write_text(prompts.read_text().replace("sun", "moon"))
    with pytest.raises(LedgerError, match="prompt set prompts changed"):
        run(load_suite(str(suite_file)), two, out)


def test_a_run_goes_on_from_another_folder_and_after_its_suite_was_moved(
    suite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompts lie beside the suite; the run folder's own suite.toml names the same file."""
    suite_file.write_text(suite_file.read_text().replace(str(tmp_path / "prompts.csv"), "prompts.csv"))
    checkpoints, out = {"base": "plain:red", "other": "plain:blue"}, tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    first = run(load_suite("toy.toml"), checkpoints, out)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("../toy.toml", "../run/suite.toml"):
        assert run(load_suite(name), checkpoints, out)["comparisons"] == first["comparisons"]
    for path in ("toy.toml", "prompts.csv"):
        (tmp_path / path).rename(path)
    assert run(load_suite("toy.toml"), checkpoints, out)["comparisons"] == first["comparisons"]


def test_a_known_name_with_other_weights_is_refused(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(suite, two, out)
    with pytest.raises(LedgerError, match="'other' .* is not the one that this run folder knows"):
        run(suite, {"base": two["base"], "other": two["base"]}, out)


def test_a_folder_with_other_peoples_files_is_left_alone(
    suite: Suite, two: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "report.html").write_text("my thesis")
    with pytest.raises(LedgerError, match=r"has report\.html: it is not a run folder"):
        run(suite, two, out)
    with pytest.raises(LedgerError, match="is a file"):
        run(suite, two, out / "report.html")
    assert (out / "report.html").read_text() == "my thesis"


def test_an_image_that_was_changed_is_noticed(suite: Suite, two: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(suite, two, out)
    for path in out.rglob("*.png"):
        Image.new("RGB", (16, 16)).save(path)
    (out / "weights.txt").write_text("")
    with pytest.raises(LedgerError, match="holds other pixels"):
        run(suite, two, out, weights={"toy:red": str(out / "weights.txt")})


def test_networks_are_freed_when_their_part_of_the_run_is_over(tiny_pipeline: Path) -> None:
    """By reference count alone: with the garbage collector off, nothing holds a UNet that went out of scope."""
    gc.disable()
    try:
        generator = open_checkpoint("x", str(tiny_pipeline)).load("cpu")
        generator.generate([Prompt("a", "cat")], [0], Sampling(steps=1, guidance=2.0))
        unet = weakref.ref(generator._pipeline.unet)  # type: ignore[attr-defined]
        del generator
        assert unet() is None
    finally:
        gc.enable()
