"""The random numbers of one sample: keyed by prompt and seed, the same for every checkpoint."""

import hashlib
import json

import torch

__all__ = ["sample_generator"]


def sample_generator(prompt: str, seed: int) -> torch.Generator:
    """The generator of one sample: first the initial noise, then what a stochastic scheduler adds.

    Keyed by the first 8 bytes of sha256 of the JSON list [prompt, seed]. It lives on the CPU, since a GPU's
    stream differs between devices. (PyTorch's CPU generator uses 32 bits of a seed: two of 10,000 samples
    share noise with probability 1 %, which is harmless, since what must be shared is the noise of one prompt
    and seed across checkpoints.)
    """
    text = json.dumps([prompt, seed], ensure_ascii=False, separators=(",", ":"))
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return torch.Generator("cpu").manual_seed(key)
