"""Drawing a batch against the bare denoising loop that it cannot do without."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import tiny_pipelines
import torch

from prefbench.bench.checkpoints.noise import sample_generator
from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.suite import Sampling

BATCH, ROUNDS = 16, 12
SAMPLING = Sampling(steps=12, guidance=2.0, scheduler="ddim")
PROMPTS = [Prompt(str(i), f"a red cat {i}") for i in range(BATCH)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Random weights of the miniature world's size: 32 pixels, UNet channels 48 and 80, VAE 24 and 48."""
    return tiny_pipelines.save_sd(tmp_path / "pipeline", size=tiny_pipelines.MINIATURE)


def bare_loop(pipe: Any) -> Callable[[], np.ndarray]:
    """Encode the texts, UNet with guidance and scheduler 12 times, decode: nothing else."""

    @torch.inference_mode()
    def draw() -> np.ndarray:
        def encode(texts: list[str]) -> torch.Tensor:
            ids = pipe.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
            return pipe.text_encoder(ids)[0]

        text = torch.cat([encode([""] * BATCH), encode([prompt.text for prompt in PROMPTS])])
        x = torch.stack([torch.randn((4, 16, 16), generator=sample_generator(p.text, 0)) for p in PROMPTS])
        pipe.scheduler.set_timesteps(SAMPLING.steps)
        for t in pipe.scheduler.timesteps:
            empty, full = pipe.unet(torch.cat([x, x]), t, encoder_hidden_states=text).sample.chunk(2)
            x = pipe.scheduler.step(empty + SAMPLING.guidance * (full - empty), t, x).prev_sample
        pixels = pipe.vae.decode(x / pipe.vae.config.scaling_factor).sample
        return ((pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255).round().astype("uint8")

    return draw


def test_drawing_against_the_bare_loop(benchmark: Any, folder: Path) -> None:
    """Both draw the same pixels. Bare and full rounds alternate; their medians are compared. Target: at most 1.05."""
    from diffusers import StableDiffusionPipeline

    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    generator = open_checkpoint("x", str(folder)).load("cpu")
    draw_bare = bare_loop(StableDiffusionPipeline.from_pretrained(folder))
    bare_seconds: list[float] = []

    def ours() -> np.ndarray:
        return np.stack([np.asarray(i) for i in generator.generate(PROMPTS, [0] * BATCH, SAMPLING)])

    def bare() -> None:
        started = time.perf_counter()
        draw_bare()
        bare_seconds.append(time.perf_counter() - started)

    assert np.abs(ours().astype(int) - draw_bare().astype(int)).max() <= 1
    benchmark.pedantic(ours, setup=bare, rounds=ROUNDS, iterations=1)
    ratio = benchmark.stats.stats.median / median(bare_seconds)
    benchmark.extra_info.update(
        what="drawing a batch / bare denoising loop",
        case=f"{BATCH} images, {SAMPLING.steps} DDIM steps with guidance, miniature's size",
        bare_s=bare_seconds,
        fastest_ratio=benchmark.stats.stats.min / min(bare_seconds),
        value=f"{ratio:.3f}",
        target="at most 1.05",
    )
