"""Opening a pipeline for training, and what it encodes."""

import json
import shutil
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


@pytest.mark.parametrize(
    ("kind", "prediction_type"),
    [("sd-eps", "epsilon"), ("sd-v", "v_prediction"), ("sd2-eps", "epsilon"), ("sdxl", "epsilon")],
)
def test_resolution_schedule_and_prediction_type_come_from_the_pipeline(
    kind: str, prediction_type: str, tiny_backbones: dict[str, Path]
):
    """abar of the published betas: scaled linear from 0.00085 to 0.012."""
    opened = open_backbone(str(tiny_backbones[kind]))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    assert (opened.resolution, opened.prediction_type) == (16, prediction_type)
    assert torch.allclose(opened.alphas_cumprod.double(), (1 - betas).cumprod(0), atol=1e-6)


@pytest.mark.parametrize("kind", ["sd-eps", "sd-v", "sd2-eps"])
def test_prompts_are_encoded_as_the_pipeline_encodes_them(kind: str, tiny_backbones: dict[str, Path]):
    from diffusers import StableDiffusionPipeline

    prompts = ["a red square", "", "a very long prompt that does not fit into sixteen tokens"]
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_backbones[kind])
    expected, _ = pipeline.encode_prompt(prompts, "cpu", 1, do_classifier_free_guidance=False)
    encoded = open_backbone(str(tiny_backbones[kind])).encode_prompts(prompts)
    assert torch.allclose(encoded["text"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["sd-eps", "sd-v", "sdxl"])
@pytest.mark.parametrize("normalised", [False, True])
def test_latents_are_sampled_and_scaled(
    kind: str, normalised: bool, tiny_backbones: dict[str, Path], tmp_path: Path
):
    """sample = scaling_factor * (z - latents_mean) / latents_std, z = mean + std * noise."""
    from diffusers import AutoencoderKL

    folder = shutil.copytree(tiny_backbones[kind], tmp_path / "copy")
    shift, spread = torch.zeros(4), torch.ones(4)
    if normalised:
        shift, spread = torch.tensor([0.1, -0.2, 0.3, 0.0]), torch.tensor([1.0, 2.0, 0.5, 4.0])
        config = json.loads((folder / "vae" / "config.json").read_text())
        config |= {"latents_mean": shift.tolist(), "latents_std": spread.tolist()}
        (folder / "vae" / "config.json").write_text(json.dumps(config))
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    posterior = open_backbone(str(folder)).encode_images(images)
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae")
    with torch.no_grad():
        raw = vae.encode(images).latent_dist
    noise = torch.randn(posterior.mean.shape)
    shift, spread = shift.view(1, 4, 1, 1), spread.view(1, 4, 1, 1)
    expected = 0.5 * (raw.mean + raw.std * noise - shift) / spread
    assert torch.allclose(posterior.sample(noise), expected, atol=1e-5)
    assert not torch.allclose(posterior.sample(noise), posterior.mean)


def test_a_pipeline_of_another_class_is_refused(tiny_pipeline: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_pipeline, tmp_path / "flux")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    with pytest.raises(UsageError, match="FluxPipeline; only StableDiffusionPipeline and StableDiffusionXL"):
        open_backbone(str(folder))


def test_a_component_that_is_null_is_named(tiny_sdxl: Path, tmp_path: Path):
    """As in the published refiner, which has no first text encoder."""
    folder = shutil.copytree(tiny_sdxl, tmp_path / "refiner")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"text_encoder": [None, None], "tokenizer": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(MissingWeightsError, match="has no text_encoder, tokenizer"):
        open_backbone(str(folder))


def test_an_incomplete_folder_is_named(tiny_pipeline: Path, tmp_path: Path):
    with pytest.raises(MissingWeightsError, match=r"has no model_index\.json"):
        open_backbone(str(tmp_path))
    folder = shutil.copytree(tiny_pipeline, tmp_path / "broken")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    with pytest.raises(MissingWeightsError, match="could not be loaded"):
        open_backbone(str(folder))


def test_a_tokenizer_without_its_files_is_named(tiny_pipeline: Path, tmp_path: Path):
    """transformers opens an empty folder as a tokenizer without words and without a limit."""
    folder = tmp_path / "pipeline"
    shutil.copytree(tiny_pipeline, folder)
    shutil.rmtree(folder / "tokenizer")
    (folder / "tokenizer").mkdir()
    with pytest.raises(MissingWeightsError, match="tokenizer"):
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
