"""LoRA-DPO on SD1.5's published architecture with random weights: cached encodings against encoding in every step.

Slow, and about 16 GB: `pytest tests/benchmarks/test_sd15_training_speed.py --benchmark-enable -m slow`.
"""

from pathlib import Path
from statistics import median
from typing import Any

import pytest
import tiny_pipelines
import torch
from encoding_step import EncodingStep

from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import prepare_run, training_steps
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe

ROUNDS, RANK, KAPPA = 3, 4, 2500.0


def save_sd15(folder: Path) -> Path:
    """The sizes of runwayml/stable-diffusion-v1-5; a tokenizer of single characters, padded to 77 all the same."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    text = CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        sample_size=512,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tiny_pipelines.tokenizer(77),
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=DDIMScheduler(
            1000, 0.00085, 0.012, "scaled_linear", clip_sample=False, set_alpha_to_one=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("separate", [True, False], ids=["separate passes", "one pass"])
def test_cached_steps_at_the_size_of_sd15(separate: bool, benchmark: Any, tmp_path: Path):
    """One pair a step at 512 pixels, fp32; both kinds of step alternate on the same network. Target: 1.5."""
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    folder = save_sd15(tmp_path / "sd15")
    pairs = open_preferences("miniature:2", DataConfig())
    given = {"batch": 1, "steps": ROUNDS + 2, "cache": True, "lora_rank": RANK, "kappa": KAPPA}
    recipe = resolve_recipe("diffusion_dpo", "miniature", {k: Constant(v, "test") for k, v in given.items()})
    run = prepare_run(recipe, open_backbone(str(folder)), pairs)
    unet = run.accelerator.unwrap_model(run.model)
    assert sum(p.numel() for p in unet.parameters() if not p.requires_grad) == 859_520_964
    encoding = EncodingStep(folder, pairs, batch=1, rank=RANK, kappa=KAPPA, separate=separate, unet=unet)
    cached = training_steps(run)
    assert next(cached)["loss"] == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-3)
    encoding()
    encoding.seconds.clear()
    benchmark.pedantic(lambda: next(cached), setup=lambda: (encoding(), None)[1], rounds=ROUNDS, iterations=1)
    ratios = [
        theirs / ours for theirs, ours in zip(encoding.seconds, benchmark.stats.stats.data, strict=True)
    ]
    passes = "winners and losers apart" if separate else "winners and losers together"
    benchmark.extra_info.update(
        what="steps a second with cached encodings / encoding in every step",
        case=f"LoRA-DPO, SD1.5's size at 512 px, 1 pair, the other {passes}",
        encoding_s=encoding.seconds,
        value=f"{median(ratios):.2f}",
        target="at least 1.5" if separate else "none: how the example does it",
    )
