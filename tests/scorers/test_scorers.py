"""What holds for every scorer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import prefbench.scorers.fingerprint as fingerprint_module
from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.scorers.fingerprint import canonical_json, fingerprint_of, sha256_of_file
from prefbench.scorers.protocol import Scorer
from prefbench.scorers.registry import REGISTRY, TABLE, load_scorer

from .conftest import NAMES, WRITERS


@pytest.fixture(scope="module")
def scorers(folders: dict[str, Path]) -> dict[str, Any]:
    return {name: load_scorer(name, weights=folders[name]) for name in NAMES}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def scorer(name: str, scorers: dict[str, Any]) -> Any:
    scorer = scorers[name]
    scorer.batch_size = 16
    return scorer


def test_scorer_has_the_contracts_members(
    scorer: Any, pictures: list[Image.Image], prompts: list[str]
) -> None:
    assert isinstance(scorer, Scorer)
    scores = scorer.score(pictures, prompts)
    assert scores.dtype == np.float64
    assert scores.shape == (len(prompts),)
    assert scorer.truncated(prompts).dtype == bool
    assert scorer.info.direction == "higher"
    assert len(scorer.info.fingerprint) == 64
    assert scorer.info.prompt_blind == (scorer.info.token_limit is None)


def test_scores_differ_between_images_and_between_prompts_unless_blind(
    scorer: Any, pictures: list[Image.Image]
) -> None:
    images = [pictures[0], pictures[0], pictures[2]]
    same_image, other_prompt, other_image = scorer.score(images, ["a red cat", "dog, dog", "a red cat"])
    assert same_image != other_image
    assert (same_image == pytest.approx(other_prompt, rel=1e-6)) == scorer.info.prompt_blind


@pytest.mark.parametrize("batch_size", [1, 2, 4, 16])
def test_score_does_not_depend_on_batch_neighbours(
    scorer: Any, pictures: list[Image.Image], prompts: list[str], batch_size: int
) -> None:
    """1e-5 of the largest score: rounding of float32 sums in another order, nothing else."""
    together = scorer.score(pictures, prompts)
    scorer.batch_size = batch_size
    order = [3, 1, 5, 0, 4, 2, 1, 1]
    shuffled = scorer.score([pictures[i] for i in order], [prompts[i] for i in order])
    np.testing.assert_allclose(shuffled, together[order], rtol=0, atol=1e-5 * np.abs(together).max())


def test_paths_and_images_give_the_same_score(
    scorer: Any, pictures: list[Image.Image], prompts: list[str], tmp_path: Path
) -> None:
    paths = []
    for i, image in enumerate(pictures):
        image.save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    np.testing.assert_array_equal(scorer.score(paths, prompts), scorer.score(pictures, prompts))


def test_score_ignores_train_mode(scorer: Any, pictures: list[Image.Image], prompts: list[str]) -> None:
    """ImageReward's head has dropout: in train mode two calls would differ."""
    expected = scorer.score(pictures, prompts)
    scorer.network.train()
    np.testing.assert_array_equal(scorer.score(pictures, prompts), expected)


def test_unequal_empty_and_bare_lists_are_refused(scorer: Any, pictures: list[Image.Image]) -> None:
    with pytest.raises(DataError, match="1 images and 2 prompts"):
        scorer.score(pictures[:1], ["a", "b"])
    with pytest.raises(DataError, match="no images"):
        scorer.score([], [])
    with pytest.raises(UsageError, match=r"\[prompt\]"):
        scorer.score(pictures[:1], "a")
    with pytest.raises(DataError, match="prompt 1 is NoneType"):
        scorer.score(pictures[:2], ["a", None])


def test_a_broken_image_in_a_later_batch_is_named(
    scorer: Any, pictures: list[Image.Image], tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    scorer.batch_size = 2
    with pytest.raises(DataError, match=r"broken\.png"):
        scorer.score([*pictures[:3], tmp_path / "broken.png"], ["a"] * 4)


def test_a_score_that_is_not_finite_is_an_error_with_the_images_path(
    name: str, folders: dict[str, Path], pictures: list[Image.Image], tmp_path: Path
) -> None:
    scorer: Any = load_scorer(name, weights=folders[name])
    with torch.no_grad():
        next(scorer.network.parameters()).fill_(float("nan"))
    pictures[0].save(tmp_path / "one.png")
    with pytest.raises(DataError, match=r"gave nan for .*one\.png \(item 0 of 1"):
        scorer.score([tmp_path / "one.png"], ["a cat"])


def test_miniature_names_find_the_package_or_say_what_is_missing(name: str) -> None:
    """Before the weights ship the names raise; afterwards they load. Both ways the name means the package's
    folder."""
    part = name.removeprefix("mini:")
    try:
        scorer = load_scorer(name)
    except MissingWeightsError as error:
        assert f"mini:{part}" in str(error)
        assert "prefbench.bench.miniature.build" in str(error)
    else:
        assert scorer.info.name == name


# Fingerprints


def test_fingerprint_is_equal_across_loads(name: str, folders: dict[str, Path], scorer: Any) -> None:
    again = load_scorer(name, weights=folders[name])
    assert again.info.fingerprint == scorer.info.fingerprint
    assert again.info.identity == scorer.info.identity


def test_fingerprint_follows_the_weights_and_not_their_place(
    name: str, folders: dict[str, Path], scorer: Any, tmp_path: Path
) -> None:
    for file in folders[name].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert load_scorer(name, weights=tmp_path).info.fingerprint == scorer.info.fingerprint
    state = load_file(tmp_path / "model.safetensors")
    key = next(iter(state))
    state[key] = state[key] + 1
    save_file(state, tmp_path / "model.safetensors")
    assert load_scorer(name, weights=tmp_path).info.fingerprint != scorer.info.fingerprint


def test_fingerprint_follows_the_dtype(name: str, folders: dict[str, Path], scorer: Any) -> None:
    other = load_scorer(name, weights=folders[name], dtype="bfloat16")
    assert other.info.fingerprint != scorer.info.fingerprint


def test_fingerprint_follows_every_field_of_the_identity(scorer: Any) -> None:
    """Whatever decides a score is in the identity, and no field of it is left out of the hash."""
    expected = {
        "scorer",
        "weights",
        "backbone",
        "decode",
        "resize",
        "mean",
        "std",
        "dtype",
        "tokenizer",
        "formula",
        "versions",
    }
    assert scorer.info.identity.keys() == expected
    for field in expected:
        changed = replace(scorer.info, identity={**scorer.info.identity, field: "changed"})
        assert changed.fingerprint != scorer.info.fingerprint, field


def test_fingerprint_follows_library_versions(
    name: str, folders: dict[str, Path], scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint_module, "_installed_version", lambda package: "0.0.1")
    assert load_scorer(name, weights=folders[name]).info.fingerprint != scorer.info.fingerprint


def test_fingerprint_does_not_follow_the_name_or_the_description(scorer: Any) -> None:
    assert replace(scorer.info, name="x", licence="y", scale="z").fingerprint == scorer.info.fingerprint


def test_info_is_json_with_its_fingerprint(scorer: Any) -> None:
    read = json.loads(json.dumps(scorer.info.as_dict(), allow_nan=False))
    assert read["fingerprint"] == scorer.info.fingerprint == fingerprint_of(read["identity"])


def test_canonical_json_does_not_depend_on_order_and_refuses_nan() -> None:
    assert (
        canonical_json({"a": 1, "b": (2, 3)}) == canonical_json({"b": [2, 3], "a": 1}) == '{"a":1,"b":[2,3]}'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_sha256_of_a_file_is_the_known_one(tmp_path: Path) -> None:
    """FIPS 180-2: sha256("abc")."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert (
        sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


# Names


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("pickscor", "pickscore"), ("hpsv2.2", "hpsv2.1"), ("mini:imagerewrd", "mini:imagereward")],
)
def test_unknown_name_suggests_the_nearest(asked: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean '{hint}'"):
        load_scorer(asked)


@pytest.mark.parametrize("asked", ["hpsv2.1@legacy", "mini:hpsv2@antialiased", "aesthetic.v1@vit-l-15"])
def test_unknown_variant_is_refused_with_the_known_ones(asked: str, folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="Unknown variant of"):
        load_scorer(asked, weights=folders["mini:hpsv2"])


@pytest.mark.parametrize(
    "asked", ["pickscore@fp16", "imagereward@v2", "clip:openai-vit-l-14:cos@x", "mini:clip@x"]
)
def test_a_variant_of_a_scorer_that_has_none_is_refused(asked: str, folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="has no variants"):
        load_scorer(asked, weights=folders["mini:clip"])


def test_every_name_of_the_table_resolves_to_a_loader() -> None:
    for name in TABLE:
        assert callable(REGISTRY.get(name.replace("<", "").replace(">", ""))), name


def test_same_seed_saves_the_same_bytes(name: str, tmp_path: Path) -> None:
    for part in ("a", "b"):
        torch.manual_seed(5)
        WRITERS[name](tmp_path / part)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
