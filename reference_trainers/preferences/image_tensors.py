"""From a PIL image to the pixels that the VAE reads."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["image_tensor"]


def image_tensor(image: Image.Image, resolution: int, mirror: bool = False) -> Tensor:
    """Resize the shorter side (bilinear, antialiased), crop the centre, mirror on request, scale to [-1, 1].

    As SalesforceAIResearch/DiffusionDPO@5233e75 train.py does with torchvision: Resize, CenterCrop, ToTensor,
    Normalize([0.5], [0.5]).

    Returns:
        (3, resolution, resolution), float32.
    """
    width, height = image.size
    if min(width, height) != resolution:
        # The longer side is truncated, as torchvision does it.
        longer = int(resolution * max(width, height) / min(width, height))
        size = (resolution, longer) if width <= height else (longer, resolution)
        image = image.resize(size, Image.Resampling.BILINEAR)
        width, height = size
    left, top = round((width - resolution) / 2), round((height - resolution) / 2)
    if (width, height) != (resolution, resolution):
        image = image.crop((left, top, left + resolution, top + resolution))
    if mirror:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1).contiguous()
