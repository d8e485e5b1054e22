"""What the UNet is fed, and what is saved, compared with plain diffusers pipelines."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import train
from prefbench.reference_trainers.recipes import resolve_recipe

PROMPT = "a red square"
PIPELINES = {
    "sd-eps": "StableDiffusionPipeline",
    "sd-v": "StableDiffusionPipeline",
    "sd2-eps": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
}


def open_pipeline(kind: str, folder: Path) -> Any:
    import diffusers

    pipeline = getattr(diffusers, PIPELINES[kind]).from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def calls_of(unet: Any) -> list[dict[str, torch.Tensor]]:
    """Tensors of every call of `unet` from now on, by name."""
    seen: list[dict[str, torch.Tensor]] = []

    def hook(module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        sample, timestep = args
        seen.append(
            {
                "sample": sample.detach().clone(),
                "timestep": torch.as_tensor(timestep).reshape(-1)[:1],
                "encoder_hidden_states": kwargs["encoder_hidden_states"].detach().clone(),
                **{k: v.detach().clone() for k, v in (kwargs.get("added_cond_kwargs") or {}).items()},
            }
        )

    unet.register_forward_pre_hook(hook, with_kwargs=True)
    return seen


def generate(pipeline: Any, steps: int = 2, **settings: Any) -> np.ndarray:
    settings = {"guidance_scale": 1.0, "generator": torch.Generator().manual_seed(0), **settings}
    return pipeline(PROMPT, num_inference_steps=steps, output_type="np", **settings).images


@pytest.mark.parametrize("kind", PIPELINES)
@pytest.mark.parametrize("side", [16, 32])
def test_the_unet_is_fed_what_the_pipeline_feeds_it(kind: str, side: int, tiny_backbones: dict[str, Path]):
    """Text, and for XL the pooled embedding and the sizes, at the native side and at another one."""
    pipeline = open_pipeline(kind, tiny_backbones[kind])
    theirs = calls_of(pipeline.unet)
    generate(pipeline, height=side, width=side)
    backbone = open_backbone(str(tiny_backbones[kind]))
    ours = calls_of(backbone.unet)
    call = theirs[0]
    condition = backbone.encode_prompts([PROMPT])
    with torch.no_grad():
        prediction = backbone.predict(backbone.unet, call["sample"], call["timestep"].long(), condition)
        added = {k: call[k] for k in ("text_embeds", "time_ids") if k in call}
        expected = pipeline.unet(
            call["sample"],
            call["timestep"],
            encoder_hidden_states=call["encoder_hidden_states"],
            added_cond_kwargs=added or None,
        ).sample
    assert set(ours[0]) == set(call)
    for name, value in call.items():
        assert torch.allclose(ours[0][name].float(), value.float(), atol=1e-6), name
    assert torch.allclose(prediction, expected, atol=1e-5)
    assert prediction.shape == (1, 4, side // 2, side // 2)


def test_sdxl_tells_the_unet_the_training_resolution_without_a_crop(tiny_sdxl: Path):
    """(r, r, 0, 0, r, r) as in the released training code; latents 6 x 10 are 12 x 20 pixels here."""
    backbone = open_backbone(str(tiny_sdxl))
    seen = calls_of(backbone.unet)
    condition = backbone.encode_prompts(["a", "b", "c"])
    for height, width in ((8, 8), (6, 10)):
        with torch.no_grad():
            backbone.predict(
                backbone.unet, torch.zeros(3, 4, height, width), torch.tensor([1, 2, 3]), condition
            )
    assert seen[0]["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]] * 3
    assert seen[1]["time_ids"].tolist() == [[12, 20, 0, 0, 12, 20]] * 3


def test_sdxl_encodes_a_dropped_caption_as_the_empty_string_and_not_as_zeros(tiny_sdxl: Path):
    """The released training code encodes ""; the pipeline feeds zeros, where force_zeros_for_empty_prompt is set."""
    pipeline = open_pipeline("sdxl", tiny_sdxl)
    assert pipeline.config.force_zeros_for_empty_prompt
    text, zeros, pooled, _ = pipeline.encode_prompt("", device="cpu", do_classifier_free_guidance=True)
    encoded = open_backbone(str(tiny_sdxl)).encode_prompts([""])
    assert torch.allclose(encoded["text"], text, atol=1e-6)
    assert torch.allclose(encoded["pooled"], pooled, atol=1e-6)
    assert not zeros.any()
    assert encoded["text"].abs().min(dim=1).values.max() > 0


@pytest.mark.parametrize(("force_upcast", "expected"), [(True, torch.float32), (False, torch.bfloat16)])
def test_sdxl_keeps_a_vae_that_overflows_in_half_precision_in_fp32(
    force_upcast: bool, expected: torch.dtype, tiny_sdxl: Path, tmp_path: Path
):
    folder = shutil.copytree(tiny_sdxl, tmp_path / "copy")
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "force_upcast": force_upcast}))
    backbone = open_backbone(str(folder))
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    exact = backbone.encode_images(images)
    backbone.to(torch.device("cpu"), torch.bfloat16)
    assert next(backbone._vae.parameters()).dtype == expected  # type: ignore[attr-defined]
    moved = backbone.encode_images(images)
    assert moved.mean.dtype == torch.float32
    assert torch.equal(moved.mean, exact.mean) == force_upcast
    assert torch.allclose(moved.mean, exact.mean, atol=0.05)


def trained(kind: str, backbones: dict[str, Path], manifest: Path, out: Path, **values: Any) -> Path:
    values = {"steps": 2, "batch": 4, "lr": 1e-2, "warm_up": 0, **values}
    recipe = resolve_recipe("sft", "miniature", {k: Constant(v, "test") for k, v in values.items()})
    return train(recipe, backbone=str(backbones[kind]), data=str(manifest), out=out).out


@pytest.mark.parametrize("kind", PIPELINES)
def test_adapters_load_into_the_plain_pipeline_and_change_its_images(
    kind: str, tiny_backbones: dict[str, Path], manifest: Path, tmp_path: Path
):
    out = trained(kind, tiny_backbones, manifest, tmp_path / "out", lora_rank=2)
    pipeline = open_pipeline(kind, tiny_backbones[kind])
    before = generate(pipeline)
    pipeline.load_lora_weights(out)
    weights = load_file(out / "pytorch_lora_weights.safetensors")
    loaded = {name: value for name, value in pipeline.unet.named_parameters() if "lora" in name}
    assert len(loaded) == len(weights)
    assert sorted(v.double().sum().item() for v in loaded.values()) == pytest.approx(
        sorted(v.double().sum().item() for v in weights.values())
    )
    assert not np.allclose(generate(pipeline), before, atol=1e-3)
    pipeline.unload_lora_weights()
    assert np.allclose(generate(pipeline), before, atol=1e-6)


@pytest.mark.parametrize("kind", PIPELINES)
def test_a_saved_pipeline_loads_in_plain_diffusers_and_generates(
    kind: str, tiny_backbones: dict[str, Path], manifest: Path, tmp_path: Path
):
    out = trained(kind, tiny_backbones, manifest, tmp_path / "out")
    saved, base = open_pipeline(kind, out), open_pipeline(kind, tiny_backbones[kind])
    images = generate(saved, guidance_scale=3.0)
    assert images.shape == (1, 16, 16, 3)
    assert np.isfinite(images).all()
    assert not np.allclose(images, generate(base, guidance_scale=3.0), atol=1e-3)
    for name in ("vae", "text_encoder", "text_encoder_2"):
        if hasattr(base, name):
            ours, theirs = getattr(saved, name).state_dict(), getattr(base, name).state_dict()
            assert all(torch.equal(value, theirs[key]) for key, value in ours.items()), name
    assert type(saved.scheduler) is type(base.scheduler)


@pytest.mark.parametrize("kind", PIPELINES)
def test_checkpointing_changes_no_loss_and_bf16_stays_near(
    kind: str, tiny_backbones: dict[str, Path], manifest: Path, tmp_path: Path
):
    def losses(name: str, **values: Any) -> list[float]:
        out = trained(kind, tiny_backbones, manifest, tmp_path / name, lora_rank=2, lr=1e-3, **values)
        return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]

    plain = losses("plain")
    assert losses("checkpointed", gradient_checkpointing=True) == pytest.approx(plain, rel=1e-6)
    assert losses("half", precision="bf16") == pytest.approx(plain, rel=0.05)
