"""Each image and each distinct prompt passes through its tower once, and the scores stay what they were."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from prefbench.bench.exceptions import DataError
from prefbench.bench.image_manifest import read_manifest
from prefbench.bench.score_manifest import score_manifest
from prefbench.scorers import aesthetic, clip
from prefbench.scorers.dual_encoder import EmbeddingStore, SharesEmbeddings, tower_of
from prefbench.scorers.registry import load_scorer

from .conftest import picture

DUAL = ("mini:pickscore", "mini:hpsv2", "mini:clip", "mini:aesthetic")


def passes_of(tower: nn.Module, count: Callable[[Tensor], int]) -> list[int]:
    """A list that grows by the size of each batch that passes through `tower`."""
    seen: list[int] = []
    tower.register_forward_hook(lambda _, given, made: seen.append(count(made)))
    return seen


@pytest.fixture
def one_tower(tmp_path: Path, folders: dict[str, Path]) -> dict[str, Path]:
    """CLIP score and aesthetic predictor on the same image tower: one file of weights, as on the hub."""
    folder = tmp_path / "tower"
    folder.mkdir()
    for source in (
        folders["mini:aesthetic"],
        folders["mini:clip"],
    ):  # the second replaces the tower of the first
        for file in source.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    return {"mini:clip": folder, "mini:aesthetic": folder}


@pytest.mark.parametrize("name", DUAL)
def test_a_kept_embedding_gives_the_score_that_a_fresh_one_gives(
    name: str, folders: dict[str, Path], pictures: list[Image.Image], prompts: list[str]
) -> None:
    scorer: Any = load_scorer(name, weights=folders[name])
    alone = scorer.score(pictures, prompts)
    scorer.embeddings = EmbeddingStore([scorer.tower, scorer.tower])
    first = scorer.score(pictures[:4], prompts[:4])
    again = scorer.score(pictures, prompts)
    np.testing.assert_allclose(again, alone, rtol=1e-5)
    np.testing.assert_allclose(first, alone[:4], rtol=1e-5)


def test_the_text_of_ten_images_of_one_prompt_is_encoded_once(folders: dict[str, Path]) -> None:
    scorer: Any = load_scorer("mini:clip", weights=folders["mini:clip"])
    texts = passes_of(scorer.network.transformer, lambda made: made.shape[0])
    scorer.score([picture(32, 32, k) for k in range(20)], ["a cat"] * 10 + ["a dog"] * 10)
    assert sum(texts) == 2


def test_two_scorers_on_one_tower_look_at_each_image_once(
    one_tower: dict[str, Path], pictures: list[Image.Image], prompts: list[str]
) -> None:
    scorers: list[Any] = [load_scorer(name, weights=folder) for name, folder in one_tower.items()]
    expected = [scorer.score(pictures, prompts) for scorer in scorers]
    store = EmbeddingStore(tower_of(scorer) for scorer in scorers)
    looks = [passes_of(s.network.visual, lambda made: made.shape[0]) for s in scorers]
    for scorer, scores in zip(scorers, expected, strict=True):
        scorer.embeddings = store
        np.testing.assert_allclose(scorer.score(pictures, prompts), scores, rtol=1e-5)
    assert [sum(each) for each in looks] == [len(pictures), 0]


def test_scorers_of_other_weights_do_not_share(folders: dict[str, Path]) -> None:
    towers = [tower_of(load_scorer(name, weights=folders[name])) for name in DUAL]
    assert len(set(towers)) == len(DUAL)


def test_another_preprocessing_or_precision_of_one_tower_is_not_shared(folders: dict[str, Path]) -> None:
    folder = folders["mini:hpsv2"]
    variants = [
        load_scorer("mini:hpsv2", weights=folder),
        load_scorer("mini:hpsv2@legacy-noaa", weights=folder),
        load_scorer("mini:hpsv2", weights=folder, dtype="bfloat16"),
    ]
    assert len({tower_of(scorer) for scorer in variants}) == 3


def test_a_tower_that_nobody_else_has_is_not_kept(
    folders: dict[str, Path], pictures: list[Image.Image]
) -> None:
    """A million embeddings would be 4 GB."""
    scorer: Any = load_scorer("mini:clip", weights=folders["mini:clip"])
    store = EmbeddingStore([scorer.tower, "another", None, None])
    assert store.of(scorer.tower) is None


def test_a_scorer_that_reads_image_and_text_together_shares_nothing(folders: dict[str, Path]) -> None:
    assert not isinstance(
        load_scorer("mini:imagereward", weights=folders["mini:imagereward"]), SharesEmbeddings
    )


@pytest.mark.parametrize("head", ["aesthetic.v1", "aesthetic.v2"])
def test_the_published_aesthetic_predictors_and_clip_score_say_the_same_of_tower_and_images(
    head: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Under their published names, with small weights in place of theirs."""
    folder = tmp_path / "published"
    folder.mkdir()
    head_file = aesthetic.HEADS[head, "vit-l-14"][0]
    for source in (folders["mini:aesthetic"], folders["mini:clip"]):
        for file in source.iterdir():
            (folder / file.name.replace("head.safetensors", head_file)).write_bytes(file.read_bytes())
    torch.save(load_file(folders["mini:aesthetic"] / "head.safetensors"), folder / head_file)
    by_rating = load_scorer(head, weights=folder)
    by_agreement = load_scorer("clip:openai-vit-l-14:cos", weights=folder)
    assert tower_of(by_rating) == tower_of(by_agreement)


def test_a_file_that_changes_between_two_scorers_is_looked_at_again(
    one_tower: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    first: Any = load_scorer("mini:clip", weights=one_tower["mini:clip"])
    first.embeddings = EmbeddingStore([first.tower] * 2)
    picture(40, 40, 0).save(path)
    before = first.score([path], ["a cat"])
    picture(44, 40, 1).save(path)
    assert first.score([path], ["a cat"]) != before


def test_a_broken_weight_names_the_image(folders: dict[str, Path], tmp_path: Path) -> None:
    scorer: Any = load_scorer("mini:clip", weights=folders["mini:clip"])
    scorer.network.visual.proj.data.fill_(float("nan"))
    path = tmp_path / "shown.png"
    picture(40, 40).save(path)
    with pytest.raises(DataError, match=r"nan for .*shown\.png"):
        scorer.score([path], ["a cat"])


def test_the_score_command_shares_one_pass(
    one_tower: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both scorers through `score_manifest`: the tower of the second sees no image."""
    for k in range(5):
        picture(30, 30, k).save(tmp_path / f"{k}.png")
    (tmp_path / "m.csv").write_text("image,prompt\n" + "".join(f"{k}.png,a cat\n" for k in range(5)))
    looks: list[int] = []
    plain = clip.image_features
    for module in (clip, aesthetic):
        monkeypatch.setattr(
            module,
            "image_features",
            lambda visual, pixels: looks.append(len(pixels)) or plain(visual, pixels),
        )
    weights = {name: str(folder) for name, folder in one_tower.items()}
    score_manifest(read_manifest(tmp_path / "m.csv"), list(weights), tmp_path / "out", weights=weights)
    assert sum(looks) == 5


@pytest.mark.parametrize(("memory", "loads"), [("low", 2), ("high", 1)])
def test_with_high_memory_each_scorer_is_loaded_once_and_scores_are_the_same(
    memory: str, loads: int, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(3):
        picture(30, 30, k).save(tmp_path / f"{k}.png")
    (tmp_path / "m.csv").write_text("image,prompt\n" + "".join(f"{k}.png,a cat\n" for k in range(3)))
    weights = {name: str(folders[name]) for name in ("mini:pickscore", "mini:imagereward")}
    loaded: list[str] = []

    def counted(name: str, **options: Any) -> Any:
        loaded.append(name)
        return load_scorer(name, **options)

    monkeypatch.setattr("prefbench.scorers.registry.load_scorer", counted)
    scored = score_manifest(
        read_manifest(tmp_path / "m.csv"),
        list(weights),
        tmp_path / "out",
        weights=weights,
        memory=memory,  # type: ignore[arg-type]
    )
    assert [loaded.count(name) for name in weights] == [loads, loads]
    for name, rows in scored.scores.groupby("scorer"):
        alone = load_scorer(str(name), weights=weights[str(name)])
        paths = [tmp_path / f"{k}.png" for k in range(3)]
        np.testing.assert_allclose(rows["score"], alone.score(paths, ["a cat"] * 3), rtol=1e-5)
