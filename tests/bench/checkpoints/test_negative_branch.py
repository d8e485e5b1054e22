"""Guidance with a second network in the negative branch."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.exceptions import MissingWeightsError, UsageError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.suite import Sampling

SAMPLING = Sampling(steps=3, guidance=2.0, scheduler="ddim")
PROMPTS = [Prompt(str(i), text) for i, text in enumerate(("cat", "dog", "a sun"))]


def draw(spec: str, sampling: Sampling = SAMPLING) -> np.ndarray:
    images = open_checkpoint("x", spec).load("cpu").generate(PROMPTS, [0] * len(PROMPTS), sampling)
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


def test_equal_networks_draw_what_plain_guidance_draws(tiny_pipeline: Path) -> None:
    """Up to one 8-bit level: two calls of half the batch round otherwise than one of the whole."""
    apart = np.abs(draw(f"npo:{tiny_pipeline}@{tiny_pipeline}") - draw(str(tiny_pipeline)))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def test_another_negative_network_changes_the_images_and_not_without_guidance(
    tiny_pipeline: Path, other_pipeline: Path
) -> None:
    spec = f"npo:{other_pipeline}@{tiny_pipeline}"
    assert np.abs(draw(spec) - draw(str(tiny_pipeline))).max() > 1
    unguided = Sampling(steps=3, guidance=1.0, scheduler="ddim")
    assert np.array_equal(draw(spec, unguided), draw(str(tiny_pipeline), unguided))


def test_the_guided_prediction_is_the_formula(tiny_pipeline: Path, other_pipeline: Path) -> None:
    """One DDIM step from the last level; the latents are worked out with both UNets called apart."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    from prefbench.bench.checkpoints.negative_branch import use_negative_branch

    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipe.set_progress_bar_config(disable=True)
    positive, negative = (
        UNet2DConditionModel.from_pretrained(f / "unet") for f in (tiny_pipeline, other_pipeline)
    )
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    use_negative_branch(pipe, UNet2DConditionModel.from_pretrained(other_pipeline / "unet"))
    options = {"num_inference_steps": 1, "guidance_scale": 3.0, "output_type": "latent"}
    ours = pipe("cat", latents=noise, **options).images
    with torch.no_grad():
        text, empty = pipe.encode_prompt("cat", "cpu", 1, True)
        t = pipe.scheduler.timesteps[0]
        towards, away = positive(noise, t, text).sample, negative(noise, t, empty).sample
        expected = pipe.scheduler.step(away + 3.0 * (towards - away), t, noise).prev_sample
    assert torch.allclose(ours, expected, atol=1e-5)


def trained_card(folder: Path, form: str, base: Path) -> None:
    (folder / "prefbench.json").write_text(json.dumps({"kind": "negative", "form": form, "base": str(base)}))


@pytest.mark.parametrize("form", ["pipeline", "lora"])
def test_a_trained_folder_opens_over_its_base_or_another(
    form: str, tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    if form == "pipeline":
        shutil.copytree(other_pipeline, out)
        negative = str(other_pipeline)
    else:
        lora_folder(tiny_pipeline, out)
        negative = f"lora:{out}@{tiny_pipeline}"
    trained_card(out, form, tiny_pipeline)
    opened = open_checkpoint("x", str(out))
    assert opened.kind == "npo"
    assert opened.training is not None
    opened.check(PROMPTS, [0])
    assert opened.identity == {
        "kind": "npo",
        "positive": open_checkpoint("x", str(tiny_pipeline)).identity,
        "negative": open_checkpoint("x", negative).identity,
    }
    assert np.array_equal(draw(str(out)), draw(f"npo:{out}@{tiny_pipeline}"))
    assert np.abs(draw(str(out)) - draw(str(tiny_pipeline))).max() > 1
    over_other = open_checkpoint("x", f"npo:{out}@{other_pipeline}").identity
    assert over_other["negative"] == opened.identity["negative"]
    assert over_other["positive"] != opened.identity["positive"]


def lora_folder(base: Path, folder: Path) -> None:
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = StableDiffusionPipeline.from_pretrained(base)
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    torch.manual_seed(3)
    for name, parameter in pipe.unet.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    layers = get_peft_model_state_dict(pipe.unet)
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)


def test_specs_that_make_no_sense_are_refused(tiny_pipeline: Path, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    with pytest.raises(UsageError, match="no single network that draws"):
        open_checkpoint("x", f"npo:{tiny_pipeline}@npo:{tiny_pipeline}@{tiny_pipeline}")
    with pytest.raises(UsageError, match="names no base"):
        open_checkpoint("x", f"npo:{tiny_pipeline}")
    wide = Path(shutil.copytree(tiny_pipeline, tmp_path / "wide"))
    config = json.loads((wide / "unet" / "config.json").read_text())
    shutil.rmtree(wide / "unet")
    UNet2DConditionModel.from_config(config | {"cross_attention_dim": 24}).save_pretrained(wide / "unet")
    with pytest.raises(MissingWeightsError, match="cross_attention_dim = 24, the positive one has 16"):
        open_checkpoint("x", f"npo:{wide}@{tiny_pipeline}").load("cpu")
    trained_card(wide, "pipeline", tiny_pipeline)
    with pytest.raises(UsageError, match="a negative network"):
        open_checkpoint("x", f"lora:{tiny_pipeline}@{wide}")
