"""Pixels against torchvision, Pillow and transformers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from prefbench.bench.exceptions import DataError
from prefbench.scorers.preprocess import (
    CLIP_MEAN,
    CLIP_STD,
    centre_crop_start,
    letterbox,
    normalise,
    resize_and_center_crop,
    to_tensor,
)

from .conftest import CLIPImageProcessorPil, picture

SIZE = 224
# Odd sides, one pixel high, a strip, exactly the network's size, larger, smaller, and surpluses of every
# remainder of 4.
SHAPES = [
    (223, 331),
    (1, 50),
    (1000, 50),
    (50, 1000),
    (224, 224),
    (512, 512),
    (100, 80),
    (224, 227),
    (227, 224),
    (224, 160),
]
BICUBIC = InterpolationMode.BICUBIC


def ids(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


def original_crop() -> transforms.Compose:
    """ImageReward's and OpenAI's transform, on an image that is RGB already."""
    return transforms.Compose(
        [
            transforms.Resize(SIZE, interpolation=BICUBIC),
            transforms.CenterCrop(SIZE),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )


def original_letterbox(image: Image.Image, antialias: bool) -> torch.Tensor:
    """HPSv2's steps with torchvision's functions: tensor, resize of the long side, black padding."""
    pixels = tv.to_tensor(image)
    height, width = pixels.shape[1:]
    scale = SIZE / max(height, width)
    new = [round(height * scale), round(width * scale)]
    pixels = tv.resize(pixels, new, BICUBIC, antialias=antialias)
    pad_h, pad_w = SIZE - new[0], SIZE - new[1]
    return tv.pad(pixels, [pad_w // 2, pad_h // 2, pad_w - pad_w // 2, pad_h - pad_h // 2], fill=0)


@pytest.mark.parametrize("shape", SHAPES, ids=ids)
def test_crop_equals_torchvision_on_every_shape(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    ours = normalise(to_tensor(resize_and_center_crop(image, SIZE, crop="round")))
    torch.testing.assert_close(ours, original_crop()(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=ids)
def test_floor_crop_equals_transformers_clip_processor(shape: tuple[int, int]) -> None:
    image = picture(*shape)
    theirs = CLIPImageProcessorPil()(image, return_tensors="pt", input_data_format="channels_last")[
        "pixel_values"
    ][0]
    ours = normalise(to_tensor(resize_and_center_crop(image, SIZE, crop="floor")))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_the_two_crops_differ_where_the_surplus_leaves_three() -> None:
    image = picture(224, 227)
    assert centre_crop_start(227, 224, "round") == 2
    assert centre_crop_start(227, 224, "floor") == 1
    left, right = (to_tensor(resize_and_center_crop(image, SIZE, crop=crop)) for crop in ("round", "floor"))
    assert torch.equal(left[:, :, :-1], right[:, :, 1:])
    assert not torch.equal(left, right)


@pytest.mark.parametrize("antialias", [True, False], ids=["antialias", "noaa"])
@pytest.mark.parametrize(
    "shape", [s for s in SHAPES if max(s) != SIZE and min(s) * SIZE / max(s) >= 1], ids=ids
)
def test_letterbox_equals_hpsv2s_steps(shape: tuple[int, int], antialias: bool) -> None:
    image = picture(*shape)
    ours = letterbox(image, SIZE, antialias=antialias)
    torch.testing.assert_close(ours, original_letterbox(image, antialias), rtol=0, atol=1e-6)


def test_letterbox_variants_differ_on_a_large_textured_image() -> None:
    image = picture(1024, 1024)
    smooth, rough = (letterbox(image, SIZE, antialias=flag) for flag in (True, False))
    assert (smooth - rough).abs().mean() > 0.01


def test_antialiased_letterbox_is_close_to_resizing_with_pillow_first() -> None:
    """Two libraries' antialiased bicubic filters agree to rounding; the 8-bit rounding of Pillow is 1/510 on
    average at most."""
    image = picture(512, 512)
    pillow = to_tensor(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    assert (letterbox(image, SIZE, antialias=True) - pillow).abs().mean() < 0.004


def test_letterbox_pads_where_the_original_forgets_to() -> None:
    """160 x 224 stays 160 x 224 upstream; here it gets 32 black rows above and below, unresized."""
    image = picture(160, 224)
    square = letterbox(image, SIZE, antialias=True)
    assert square.shape == (3, SIZE, SIZE)
    assert torch.equal(square[:, 32:192], to_tensor(image))
    assert square[:, :32].abs().max() == 0
    assert square[:, 192:].abs().max() == 0


def test_letterbox_keeps_a_row_of_a_strip_that_would_vanish() -> None:
    square = letterbox(picture(1, 2000), SIZE, antialias=True)
    assert (square.abs().sum(dim=(0, 2)) > 0).sum() == 1


def test_padding_becomes_the_normalised_black() -> None:
    """(0 - 0.48145466) / 0.26862954 = -1.7923 for red."""
    assert normalise(letterbox(picture(100, 200), SIZE, antialias=True))[0, 0, 0].item() == pytest.approx(
        -1.79226, abs=1e-4
    )


def test_an_image_of_the_networks_size_is_not_touched() -> None:
    image = picture(SIZE, SIZE)
    assert torch.equal(to_tensor(resize_and_center_crop(image, SIZE)), to_tensor(image))
    assert torch.equal(letterbox(image, SIZE, antialias=False), to_tensor(image))


def test_to_tensor_equals_torchvision() -> None:
    image = picture(17, 5)
    assert torch.equal(to_tensor(image), tv.to_tensor(image))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    size=st.integers(1, 64),
    crop=st.sampled_from(["round", "floor"]),
)
def test_crop_has_the_asked_size_and_range(height: int, width: int, size: int, crop: str) -> None:
    pixels = to_tensor(resize_and_center_crop(picture(height, width), size, crop=crop))  # type: ignore[arg-type]
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == torch.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 300), width=st.integers(1, 300), size=st.integers(1, 64), antialias=st.booleans()
)
def test_letterbox_has_the_asked_size_and_is_finite(
    height: int, width: int, size: int, antialias: bool
) -> None:
    pixels = letterbox(picture(height, width), size, antialias=antialias)
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == torch.float32
    assert torch.isfinite(pixels).all()


@given(colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_one_colour_stays_one_colour(colour: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (70, 50), colour)
    expected = np.array(colour, dtype=np.float32) / 255
    np.testing.assert_allclose(
        to_tensor(resize_and_center_crop(image, 16)).mean(dim=(1, 2)), expected, atol=1e-6
    )


def test_a_strip_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(DataError, match="1 x 5000 pixels would be resized to 224 x 1120000"):
        resize_and_center_crop(Image.new("RGB", (1, 5000)), SIZE)
