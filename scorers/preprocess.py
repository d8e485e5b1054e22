"""From an RGB image to the pixels that a network reads: resize, crop or pad, normalise.

Pure functions without weights, each compared pixel by pixel with torchvision, Pillow and transformers in the
tests. All return float32 tensors of shape (3, size, size), values about 0..1, before normalisation.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prefbench.bench.exceptions import DataError

__all__ = [
    "CLIP_MEAN",
    "CLIP_STD",
    "Crop",
    "centre_crop_start",
    "letterbox",
    "normalise",
    "resize_and_center_crop",
    "to_pixels",
    "to_tensor",
]

# openai/CLIP clip/clip.py `_transform`; the same six numbers in ImageReward, HPSv2, transformers and
# open_clip [CODE].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

Crop = Literal["round", "floor"]

# Pillow's default MAX_IMAGE_PIXELS: more than that in one picture is treated as an attack there, and costs
# 700 MB here.
PIXEL_LIMIT = 1024 * 1024 * 1024 // 4 // 3


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> float32 (3, H, W) in [0, 1]: value / 255, as torchvision's ToTensor."""
    array = np.array(image, dtype=np.uint8)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous().to(torch.float32).div_(255)


def normalise(
    pixels: Tensor, mean: tuple[float, ...] = CLIP_MEAN, std: tuple[float, ...] = CLIP_STD
) -> Tensor:
    """(pixels - mean) / std per channel.

    Args:
        pixels: (..., 3, H, W).
        mean: three channel means.
        std: three channel deviations.
    """
    shape = (3, 1, 1)
    centre = torch.tensor(mean, dtype=pixels.dtype, device=pixels.device).view(shape)
    scale = torch.tensor(std, dtype=pixels.dtype, device=pixels.device).view(shape)
    return (pixels - centre) / scale


def centre_crop_start(length: int, size: int, crop: Crop) -> int:
    """First row or column of a centre crop of `size` out of `length`.

    torchvision's CenterCrop rounds half of the surplus to even ("round"); transformers' CLIP processor takes
    its floor ("floor"). They differ by one pixel where the surplus leaves 3 when divided by 4.

    >>> [centre_crop_start(224 + surplus, 224, "round") for surplus in range(5)]
    [0, 0, 1, 2, 2]
    >>> [centre_crop_start(224 + surplus, 224, "floor") for surplus in range(5)]
    [0, 0, 1, 1, 2]
    """
    surplus = length - size
    return round(surplus / 2) if crop == "round" else surplus // 2


def to_pixels(squares: Sequence[Image.Image]) -> Tensor:
    """B RGB images of one size -> float32 (B, 3, S, S), normalised by CLIP's mean and deviation."""
    return normalise(torch.stack([to_tensor(square) for square in squares]))


def resize_and_center_crop(image: Image.Image, size: int, crop: Crop = "round") -> Image.Image:
    """Short side to `size` with Pillow's bicubic filter (which antialiases), then a centre square.

    The long side becomes int(size * long / short), as in torchvision and transformers, before the crop drops
    most of it.

    Args:
        image: mode RGB.
        size: side of the result, pixels.
        crop: rounding of the crop's first pixel, see `centre_crop_start`.

    Returns: an RGB image of size x size.

    Raises: DataError for a strip so long that the resized image would pass Pillow's own limit of pixels.

    Source: openai/CLIP, THUDM/ImageReward@0f5fa3e `_transform` ("round"); transformers CLIPImageProcessor
    ("floor") [CODE].
    """
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(size * long / short)
    new_width, new_height = (size, new_long) if width <= height else (new_long, size)
    if new_long * size > PIXEL_LIMIT:
        raise DataError(
            f"An image of {width} x {height} pixels would be resized to {new_width} x {new_height} before "
            "its centre is cut out. "
            "Crop it before scoring."
        )
    left = centre_crop_start(new_width, size, crop)
    top = centre_crop_start(new_height, size, crop)
    if (new_width, new_height) == (width, height):
        return image.crop((left, top, left + size, top + size))
    return image.resize((new_width, new_height), Image.Resampling.BICUBIC).crop(
        (left, top, left + size, top + size)
    )


def letterbox(image: Image.Image, size: int, *, antialias: bool) -> Tensor:
    """Long side to `size` by bicubic resampling of the float tensor, then black padding to a square.

    Differences from the original, both where it fails: its network receives 160 x 224 when the long side
    already is `size` (we pad in every case); a side that would round to 0 pixels crashes it (we keep 1).

    Args:
        image: mode RGB.
        size: side of the result, pixels.
        antialias: True is what torchvision >= 0.17 does by default for tensors, False what it did before.

    Returns: float32 (3, size, size); bicubic overshoot outside [0, 1] stays, as in the original. Padding is
    0, that is black.

    Source: tgxs002/HPSv2 1.2.0 src/open_clip/transform.py `ResizeMaxSize` [CODE].
    """
    pixels = to_tensor(image)
    height, width = pixels.shape[-2:]
    scale = size / float(max(height, width))
    if scale != 1.0:
        height, width = (max(1, round(side * scale)) for side in (height, width))
        pixels = torch.nn.functional.interpolate(
            pixels[None], size=(height, width), mode="bicubic", align_corners=False, antialias=antialias
        )[0]
    pad_y, pad_x = size - height, size - width
    return torch.nn.functional.pad(pixels, (pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2))
