"""Opening a pipeline for training, and what it encodes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prefbench.bench.exceptions import MissingWeightsError, UsageError
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.trained_unet import weights_sha256


def test_half_precision_weights_are_opened_in_float32(tiny_pipeline: Path, tmp_path: Path):
    from diffusers import StableDiffusionPipeline

    half = StableDiffusionPipeline.from_pretrained(tiny_pipeline).to(torch.float16)
    half.save_pretrained(tmp_path / "half")
    opened = open_backbone(str(tmp_path / "half"))
    assert {value.dtype for value in opened.unet.parameters()} == {torch.float32}
    expected = {name: value.float() for name, value in half.unet.state_dict().items()}
    assert all(torch.equal(value, expected[name]) for name, value in opened.unet.state_dict().items())
    assert weights_sha256(opened.unet) == weights_sha256(half.unet)


def test_resolution_schedule_and_prediction_type_come_from_the_pipeline(
    tiny_pipeline: Path, tmp_path: Path, save_tiny_pipeline: Callable[..., Path]
):
    opened = open_backbone(str(tiny_pipeline))
    assert (opened.resolution, opened.prediction_type, len(opened.alphas_cumprod)) == (16, "epsilon", 1000)
    velocity = open_backbone(str(save_tiny_pipeline(tmp_path / "v", "v_prediction")))
    assert velocity.prediction_type == "v_prediction"


def test_prompts_are_encoded_as_the_pipeline_encodes_them(tiny_pipeline: Path):
    from diffusers import StableDiffusionPipeline

    prompts = ["a red square", "", "a very long prompt that does not fit into twelve tokens"]
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    expected, _ = pipeline.encode_prompt(prompts, "cpu", 1, do_classifier_free_guidance=False)
    assert torch.allclose(
        open_backbone(str(tiny_pipeline)).encode_prompts(prompts)["text"], expected, atol=1e-6
    )


def test_latents_are_sampled_and_scaled(tiny_pipeline: Path):
    """sample = scaling_factor * (mean + std * noise)."""
    from diffusers import AutoencoderKL

    images = torch.rand(2, 3, 16, 16) * 2 - 1
    posterior = open_backbone(str(tiny_pipeline)).encode_images(images)
    vae = AutoencoderKL.from_pretrained(tiny_pipeline, subfolder="vae")
    with torch.no_grad():
        expected = vae.encode(images).latent_dist
    noise = torch.randn(posterior.mean.shape)
    assert torch.allclose(posterior.sample(noise), 0.5 * (expected.mean + expected.std * noise), atol=1e-5)
    assert not torch.allclose(posterior.sample(noise), posterior.mean)


def test_a_pipeline_of_another_class_is_refused(tiny_pipeline: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_pipeline, tmp_path / "xl")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "StableDiffusionXLPipeline"})
    )
    with pytest.raises(UsageError, match="StableDiffusionXLPipeline; only StableDiffusionPipeline"):
        open_backbone(str(folder))


def test_an_incomplete_folder_is_named(tiny_pipeline: Path, tmp_path: Path):
    with pytest.raises(MissingWeightsError, match=r"has no model_index\.json"):
        open_backbone(str(tmp_path))
    folder = shutil.copytree(tiny_pipeline, tmp_path / "broken")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    with pytest.raises(MissingWeightsError, match="could not be loaded"):
        open_backbone(str(folder))


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match="Did you mean 'miniature'"):
        open_backbone("miniatur")
    with pytest.raises(MissingWeightsError, match="no such folder"):
        open_backbone("./some/folder")


def test_a_hub_that_cannot_be_reached_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    """Offline mode of the hub's own client, so that no test depends on a network."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingWeightsError, match="download the pipeline and give its folder"):
        open_backbone("prefbench-tests/there-is-no-such-model")
