"""Drawing a batch against the bare denoising loop that it cannot do without."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
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
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path / "pipeline"
    torch.manual_seed(0)
    words = ["<|startoftext|>", "<|endoftext|>", *(chr(c) for c in range(33, 127))]
    words += [f"{chr(c)}</w>" for c in range(33, 127)]
    tokenizer = CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=20)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=20, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(48, 80),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=64,
            attention_head_dim=4,
            norm_num_groups=8,
        ),
        vae=AutoencoderKL(
            block_out_channels=(24, 48),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=8,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


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
