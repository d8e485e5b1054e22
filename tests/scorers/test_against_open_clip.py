"""CLIP score and the aesthetic predictor against what people call: open_clip's own loader, transform and encoders.

open_clip is a dependency of the ports, which use its networks and its tokenizer; what is theirs is how weights are found, images
prepared and formulas applied. So there is no environment of its own for it: this runs everywhere.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image
from torch import nn

from prefbench.scorers.clip import FORMS
from prefbench.scorers.image_io import open_rgb
from prefbench.scorers.open_clip_tower import build_clip, save_clip_folder
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream.parity_inputs import IMAGES, PROMPTS, write_images

SIZE = 224
SIZES: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": SIZE, "patch_size": 32, "width": 32, "head_width": 8, "layers": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
HEAD = "sa_0_4_vit_l_14_linear.pth"
NAMES = (
    "clip:openai-vit-l-14:cos",
    "clip:openai-vit-l-14:cos100",
    "clip:openai-vit-b-32:clipscore",
    "aesthetic.v1",
)
DEPARTURES = ("palette", "transparent", "16-bit greyscale", "EXIF-rotated", "CMYK")
"""open_clip resizes a palette's indices, shows what lies under transparency, cuts at 255, does not turn (image_io.py), and
resizes the four inks of CMYK before it turns them into RGB. It is given these images as our decoder sees them."""
ONE_STEP = 1 / 255 / 0.26
"""One of 256 steps of a colour, after division by the smallest deviation."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small OpenAI-like network, three times as loud as it is made, with a linear head beside it."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("open_clip")
    network = build_clip(SIZES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    save_clip_folder(path, network, SIZES)
    torch.save(nn.Linear(SIZES["embed_dim"], 1).state_dict(), path / HEAD)
    return path


@pytest.fixture(scope="module")
def original(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """open_clip's network and transform, made and loaded by open_clip."""
    sizes = tmp_path_factory.mktemp("sizes") / "prefbench-small.json"
    sizes.write_text(json.dumps(SIZES))
    open_clip.add_model_config(sizes)
    weights = next(path for path in folder.iterdir() if path.suffix == ".safetensors")
    network, _, transform = open_clip.create_model_and_transforms(sizes.stem, pretrained=str(weights))
    return network.eval(), transform


@pytest.fixture(scope="module")
def scorers(folder: Path) -> dict[str, Any]:
    return {name: load_scorer(name, weights=folder, architecture=SIZES) for name in NAMES}


def decoded(title: str, path: Path) -> Image.Image:
    """What open_clip is given."""
    return open_rgb(path) if title in DEPARTURES else Image.open(path)


@pytest.mark.parametrize("name", ["clip:openai-vit-l-14:cos", "aesthetic.v1"])
@pytest.mark.parametrize("title", list(IMAGES))
def test_pixels_are_those_of_open_clips_transform(
    name: str, title: str, files: dict[str, Path], scorers: dict[str, Any]
) -> None:
    """Exactly, and a stated departure is one; CMYK's is one step of 255 in few pixels."""
    path = files[title]
    transform = image_transform(SIZE, is_train=False)
    ours = scorers[name].preprocess([path])[0]
    assert torch.equal(ours, transform(decoded(title, path)))
    difference = (ours - transform(Image.open(path))).abs()
    assert (difference.max() > 0) == (title in DEPARTURES)
    if title == "CMYK":
        assert difference.max() < 1.01 * ONE_STEP
        assert difference.mean() < 1e-4


@pytest.mark.parametrize(
    ("name", "factor", "prefix"),
    [
        ("clip:openai-vit-l-14:cos", 1.0, ""),
        ("clip:openai-vit-l-14:cos100", 100.0, ""),
        ("clip:openai-vit-b-32:clipscore", 2.5, "A photo depicts "),
    ],
)
def test_scores_are_those_of_open_clips_encoders(
    name: str,
    factor: float,
    prefix: str,
    files: dict[str, Path],
    scorers: dict[str, Any],
    original: tuple[Any, Any],
) -> None:
    """Every prompt with every image; 2e-5 on the cosine, the limit of the parity table."""
    network, transform = original
    prompts = list(PROMPTS.values())
    with torch.no_grad():
        image = network.encode_image(torch.stack([transform(decoded(*item)) for item in files.items()]))
        text = network.encode_text(open_clip.tokenize([prefix + prompt for prompt in prompts]))
    image, text = image / image.norm(dim=-1, keepdim=True), text / text.norm(dim=-1, keepdim=True)
    cosines = (image @ text.T).numpy()
    expected = factor * (np.maximum(cosines, 0) if prefix else cosines)
    scores = scorers[name].score([path for path in files.values() for _ in prompts], prompts * len(files))
    assert FORMS[name.rpartition(":")[2]].scale == factor
    assert min(cosines.std(axis=0).mean(), cosines.std(axis=1).mean()) > 0.01
    np.testing.assert_allclose(scores, expected.ravel(), rtol=0, atol=2e-5 * factor)


def test_aesthetic_ratings_are_those_of_the_scripts_steps(
    files: dict[str, Path], folder: Path, scorers: dict[str, Any], original: tuple[Any, Any]
) -> None:
    """LAION-AI/aesthetic-predictor: encode, divide by the length, one linear layer."""
    network, transform = original
    head = nn.Linear(SIZES["embed_dim"], 1)
    head.load_state_dict(torch.load(folder / HEAD))
    with torch.no_grad():
        image = network.encode_image(torch.stack([transform(decoded(*item)) for item in files.items()]))
        expected = head(image / image.norm(dim=-1, keepdim=True))[:, 0].numpy()
    assert expected.std() > 0.01
    scores = scorers["aesthetic.v1"].score(list(files.values()), [""] * len(files))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-5)
