"""Folders of models: which files, from where, and what is said when one is missing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from prefbench.bench.exceptions import MissingWeightsError
from prefbench.scorers.fingerprint import sha256_of_file
from prefbench.scorers.model_folder import hash_of_files, read_weights, weight_files
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream import tiny_flan_t5 as tiny

from .conftest import picture

NAME = "vqascore.clip-flant5-xl"
ARCHITECTURE = {**tiny.CONFIG, "vision_config": tiny.VISION}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A hub that has a tiny CLIP-FlanT5 without its tower, its tokenizer and the tower; it notes what it is asked for."""
    folder = tiny.save_original(tmp_path / "own", tower_inside=False)
    asked: dict[str, Any] = {"folder": folder, "calls": []}
    tower = (folder / "clip-vit-large-patch14-336").rename(tmp_path / "tower")
    homes = {"zhiqiulin/clip-flant5-xl": folder, "google/flan-t5-xl": folder, tiny.TOWER: tower}

    def snapshot_download(repo: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked["calls"].append((repo, revision))
        if repo not in homes:
            raise OSError(f"404 {repo}\nmore")
        return str(homes[repo])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def test_without_weights_everything_comes_from_the_hub_at_pinned_revisions(hub: dict[str, Any]) -> None:
    scorer = load_scorer(NAME, architecture=ARCHITECTURE)
    assert dict(hub["calls"]) == {
        "zhiqiulin/clip-flant5-xl": "3b4a6b1b618f4e286f5353b5b5147a3ae7d9ec55",
        "google/flan-t5-xl": "7d6315df2c2fb742f0f5b556879d730926ca9001",
        tiny.TOWER: "ce19dc912ca5cd21c8a653c79e251e808ccabcd1",
    }
    local = load_scorer(NAME, weights=hub["folder"], architecture=ARCHITECTURE)
    assert scorer.info.fingerprint == local.info.fingerprint
    assert scorer.score([picture(9, 9)], ["a cat"]) == local.score([picture(9, 9)], ["a cat"])


def test_a_hub_id_may_carry_a_revision(hub: dict[str, Any]) -> None:
    for asked, revision in (("zhiqiulin/clip-flant5-xl", "main"), ("zhiqiulin/clip-flant5-xl@v2", "v2")):
        load_scorer(NAME, weights=asked, architecture=ARCHITECTURE)
        assert ("zhiqiulin/clip-flant5-xl", revision) in hub["calls"]


def test_a_hub_that_does_not_answer_leaves_a_way_out(hub: dict[str, Any]) -> None:
    said = (
        r"someone/else@main could not be fetched from the model hub \(404 someone/else\).*--weights vqascore"
    )
    with pytest.raises(MissingWeightsError, match=said):
        load_scorer(NAME, weights="someone/else")


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(
        MissingWeightsError, match="model.safetensors is a file. Give a folder with config.json"
    ):
        load_scorer(NAME, weights=tmp_path / "model.safetensors")


def test_a_tensor_that_two_shards_have_is_refused(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        torch.save({"w": torch.zeros(1), name: torch.zeros(1)}, tmp_path / name)
    with pytest.raises(
        MissingWeightsError, match="b.bin has 1 tensors that another shard has too, w among them"
    ):
        read_weights([tmp_path / "a.bin", tmp_path / "b.bin"], "x")


def test_safetensors_come_before_pickles_and_one_file_before_shards(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "s.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert weight_files(tmp_path, "x") == (tmp_path / "pytorch_model.bin",)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "s.safetensors"}}', encoding="utf-8")
    assert weight_files(tmp_path, "x") == (tmp_path / "s.safetensors",)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert weight_files(tmp_path, "x") == (tmp_path / "model.safetensors",)


def test_the_hash_of_shards_depends_on_names_and_contents_and_not_on_the_folder(tmp_path: Path) -> None:
    for folder, second in (("p", b"2"), ("q", b"2"), ("r", b"3")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1").write_bytes(b"1")
        (tmp_path / folder / "2").write_bytes(second)
    p, q, r = (hash_of_files([tmp_path / folder / "1", tmp_path / folder / "2"]) for folder in "pqr")
    assert p == q != r
    assert hash_of_files([tmp_path / "p" / "1"]) == sha256_of_file(tmp_path / "p" / "1")
