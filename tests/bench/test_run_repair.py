"""What goes wrong during a run can be mended: the folder stays usable and what was finished is kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from prefbench.bench.device import resolve_device
from prefbench.bench.exceptions import DataError, LedgerError, UsageError
from prefbench.bench.run import plan_suite, run_suite
from prefbench.bench.run_report import rewrite_report
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite, load_suite

pytestmark = pytest.mark.usefixtures("toy_plugin")

PLAIN = {"red": "plain:red", "blue": "plain:blue"}


def run(suite: Suite, checkpoints: dict[str, str], out: Path) -> dict[str, Any]:
    return run_suite(suite, checkpoints, out, device="cpu", resamples=1000)


@pytest.fixture
def suite(suite_file: Path) -> Suite:
    return load_suite(str(suite_file))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The ten finished images that the suite asks for."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for row in range(1, 6):
        for seed in (0, 1):
            noise = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"row-{row:05d}_{seed}.png")
    return folder


def _ages(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}


def test_a_cut_off_image_is_found_before_the_folder_is_claimed(
    suite: Suite, images: Path, tmp_path: Path
) -> None:
    cut = images / "row-00003_1.png"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"row-00003_1\.png cannot be decoded"):
        run(suite, PLAIN | {"x": f"images:{images}"}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_cannot_draw_may_be_mended_or_left_out(
    suite: Suite, tiny_pipeline: Path, tmp_path: Path
) -> None:
    """Non-finite weights show at the first image, when the folder is claimed and the baseline drawn."""
    out, broken = tmp_path / "run", Path(shutil.copytree(tiny_pipeline, tmp_path / "broken"))
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    tensors = load_file(weights)
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}, weights)
    specs = {"red": "plain:red", "x": str(broken), "blue": "plain:blue"}
    with pytest.raises(DataError, match="non-finite values"):
        run(suite, specs, out)
    drawn = _ages(out)
    assert len(drawn) == 10

    assert list(run(suite, PLAIN, out)["checkpoints"]) == ["red", "blue"]
    with pytest.raises(DataError, match="non-finite values"):
        run(suite, specs, out)
    weights.write_bytes(whole)
    assert list(run(suite, specs, out)["checkpoints"]) == ["red", "x", "blue"]
    assert drawn.items() <= _ages(out).items()


def test_a_checkpoint_whose_images_are_drawn_keeps_its_name(
    suite: Suite, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(suite, PLAIN | {"x": f"images:{images}"}, out)
    changed, whole = images / "row-00001_0.png", (images / "row-00001_0.png").read_bytes()
    Image.new("RGB", (16, 16)).save(changed)
    for specs in (PLAIN, {"x": f"images:{images}"}):
        with pytest.raises(LedgerError, match="Put its old contents back"):
            run(suite, specs, out)
    changed.write_bytes(whole)
    assert list(run(suite, PLAIN, out)["checkpoints"]) == ["red", "blue", "x"]


def test_a_missing_or_replaced_picture_is_refused_by_the_report_and_made_again_by_the_run(
    suite: Suite, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = run(suite, PLAIN, out)
    table, page = (out / "scores.parquet").read_bytes(), (out / "report.html").read_text()
    for picture in sorted(out.rglob("*.png"))[::7]:
        whole = picture.read_bytes()
        Image.new("RGB", (16, 16)).save(picture)
        for act in (rewrite_report, lambda folder: run(suite, PLAIN, folder)):
            with pytest.raises(LedgerError, match=rf"{picture.name} holds other pixels .* Delete it and run"):
                act(out)
        picture.unlink()
        with pytest.raises(
            LedgerError, match=rf"{picture.name} is gone\. .* run the same `prefbench bench` again"
        ):
            rewrite_report(out)
        again = run(suite, PLAIN, out)
        assert picture.read_bytes() == whole
        assert again | {"created": ""} == first | {"created": ""}
    assert (out / "scores.parquet").read_bytes() == table
    assert len((out / "report.html").read_text()) == len(page)


def test_a_picture_that_comes_out_differently_is_scored_anew(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another device. A red picture scores 255 for red; the darker one that is made again 254."""
    out = tmp_path / "run"
    run(suite, PLAIN, out)
    with Ledger(out, read_only=True) as ledger:
        lost = next(s for s in ledger.samples() if s.checkpoint == "red")
    (out / "images" / lost.image[:2] / f"{lost.image}.png").unlink()
    import toy_scorers

    monkeypatch.setattr(
        toy_scorers.PlainCheckpoint,
        "generate",
        lambda self, prompts, seeds, sampling: [Image.new("RGB", (16, 16), (254, 0, 0)) for _ in prompts],
    )
    run(suite, PLAIN, out)
    frame = pd.read_parquet(out / "scores.parquet").query("checkpoint == 'red' and scorer == 'toy:red'")
    changed = frame[frame["score"] == 254]
    assert [(row.prompt_id, row.seed) for row in changed.itertuples()] == [(lost.prompt_id, lost.seed)]
    assert (frame["score"] == 255).sum() == 9


def test_what_is_no_run_folder_is_left_alone(suite: Suite, images: Path, tmp_path: Path) -> None:
    before = sorted(images.iterdir())
    with pytest.raises(LedgerError, match=r"row-00003_0\.png and 5 more: it is not a run folder"):
        run(suite, PLAIN, images)
    assert sorted(images.iterdir()) == before
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    run(suite, PLAIN, tmp_path / "run")


def test_the_order_given_decides_the_baseline_or_is_refused(suite: Suite, tmp_path: Path) -> None:
    out, green = tmp_path / "run", {"green": "plain:green"}
    run(suite, PLAIN, out)
    turned = {name: PLAIN[name] for name in ("blue", "red")}
    assert list(run(suite, turned, out)["checkpoints"]) == ["blue", "red"]
    assert list(run(suite, green, out)["checkpoints"]) == ["blue", "red", "green"]
    assert list(run(suite, green, out)["checkpoints"]) == ["blue", "red", "green"]
    with pytest.raises(
        UsageError, match="names green, red in this order, and the run folder has blue, red, green"
    ):
        run(suite, green | {"red": "plain:red"}, out)
    assert list(run(suite, green | PLAIN, out)["checkpoints"]) == ["green", "red", "blue"]


def test_one_checkpoint_under_two_names_is_warned_of(suite: Suite, tmp_path: Path) -> None:
    results = run(suite, PLAIN | {"rouge": "plain:red"}, tmp_path / "run")
    found = [warning for warning in results["warnings"] if warning["kind"] == "same_pictures"]
    assert [warning["checkpoints"] for warning in found] == [["red", "rouge"]]
    assert found[0]["text"].startswith("red and rouge have the same pictures")


def test_files_of_a_killed_run_that_are_not_whole_are_removed(suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(suite, PLAIN, out)
    folder = next((out / "images").iterdir())
    orphans = [folder / ".abc.png.k7ypqwgd", out / ".results.json.k7ypqwgd", out / ".scores.parquet.x"]
    for path in [*orphans, out / ".mine"]:
        path.write_text("half")
    run(suite, PLAIN, out)
    assert [path.exists() for path in [*orphans, out / ".mine"]] == [False, False, False, True]


def test_a_folder_in_the_place_of_a_file_is_named(suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(suite, PLAIN, out)
    (out / "report.html").unlink()
    (out / "report.html").mkdir()
    with pytest.raises(LedgerError, match=r"report\.html is a folder"):
        run(suite, PLAIN, out)
    with pytest.raises(LedgerError, match=r"report\.html is a folder"):
        rewrite_report(out)


def test_results_that_were_changed_by_hand_are_refused_by_the_report(suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "run"
    results = run(suite, PLAIN, out)
    (out / "results.json").write_text(json.dumps(results | {"comparisons": 3}))
    with pytest.raises(DataError, match=r"results\.json: 'comparisons' is no list"):
        rewrite_report(out)


def test_a_size_that_cannot_be_drawn_is_found_before_anything_is_written(
    suite_file: Path, tiny_pipeline: Path, tmp_path: Path
) -> None:
    suite_file.write_text(suite_file.read_text().replace("steps = 2", "steps = 2\nwidth = 30\nheight = 30"))
    suite, specs = load_suite(str(suite_file)), {"a": str(tiny_pipeline), "b": str(tiny_pipeline)}
    for act in (run_suite, plan_suite):
        with pytest.raises(DataError, match="'a' draws sizes in steps of 8 pixels, not 30 x 30"):
            act(suite, specs, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_device_without_numbers_is_refused() -> None:
    with pytest.raises(UsageError, match="Device 'meta' cannot be used here"):
        resolve_device("meta")
