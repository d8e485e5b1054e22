"""Additions to a base: LoRA and UNet-only checkpoints, written by the libraries that people train with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.exceptions import MissingWeightsError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.suite import Sampling

SAMPLING = Sampling(steps=3, guidance=2.0, scheduler="ddim")
PROMPTS = [Prompt(str(i), text) for i, text in enumerate(("cat", "dog", "a sun", "a cow"))]


def _draw(spec: str) -> np.ndarray:
    images = open_checkpoint("x", spec).load("cpu").generate(PROMPTS, [0] * 4, SAMPLING)
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


@pytest.fixture(scope="module")
def lora(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rank 2 on the attention layers, random in both matrices, saved as diffusers saves it."""
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    folder = tmp_path_factory.mktemp("lora")
    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    torch.manual_seed(3)
    for name, parameter in pipe.unet.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers=get_peft_model_state_dict(pipe.unet),
        unet_lora_adapter_metadata=pipe.unet.peft_config["default"].to_dict(),
    )
    return folder


def test_lora_draws_what_diffusers_draws_with_it(tiny_pipeline: Path, lora: Path) -> None:
    """Merged here, attached there: equal to a level, and unlike the base."""
    from diffusers import StableDiffusionPipeline

    from prefbench.bench.checkpoints.pipeline import PipelineGenerator

    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(lora)
    images = PipelineGenerator(pipe, "cpu", "attached").generate(PROMPTS, [0] * 4, SAMPLING)
    attached = np.stack([np.asarray(image, dtype=np.int16) for image in images])
    merged = _draw(f"lora:{lora}@{tiny_pipeline}")
    assert np.abs(merged - attached).max() <= 1
    assert np.abs(merged - _draw(str(tiny_pipeline))).max() > 1


def test_lora_file_and_folder_are_one_checkpoint(tiny_pipeline: Path, lora: Path) -> None:
    folder, file = (
        f"lora:{lora}@{tiny_pipeline}",
        f"lora:{lora}/pytorch_lora_weights.safetensors@{tiny_pipeline}",
    )
    assert open_checkpoint("x", folder).identity == open_checkpoint("x", file).identity


def test_identity_of_a_lora_names_its_base(tiny_pipeline: Path, other_pipeline: Path, lora: Path) -> None:
    on_one, on_other = (
        open_checkpoint("x", f"lora:{lora}@{base}").identity for base in (tiny_pipeline, other_pipeline)
    )
    assert on_one != on_other
    assert on_one["base"] != on_other["base"]


def test_merged_lora_leaves_no_adapter_behind(tiny_pipeline: Path, lora: Path) -> None:
    generator = open_checkpoint("x", f"lora:{lora}@{tiny_pipeline}").load("cpu")
    names = [name for name, _ in generator._pipeline.unet.named_parameters()]  # type: ignore[attr-defined]
    assert not [name for name in names if "lora" in name]


def test_lora_with_a_layer_that_has_no_place_is_refused(
    tiny_pipeline: Path, lora: Path, tmp_path: Path
) -> None:
    tensors = load_file(lora / "pytorch_lora_weights.safetensors")
    key = next(key for key in tensors if "lora_A" in key)
    stranger = key.replace("down_blocks", "cellar_blocks").replace("up_blocks", "attic_blocks")
    tensors[stranger] = tensors[key].clone()
    tensors[stranger.replace("lora_A", "lora_B")] = tensors[key.replace("lora_A", "lora_B")].clone()
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(MissingWeightsError, match=r"odd\.safetensors"):
        open_checkpoint("x", f"lora:{tmp_path}/odd.safetensors@{tiny_pipeline}").load("cpu")


def test_file_without_lora_layers_is_refused(tiny_pipeline: Path, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "odd.safetensors")
    with pytest.raises(MissingWeightsError, match=r"odd\.safetensors"):
        open_checkpoint("x", f"lora:{tmp_path}/odd.safetensors@{tiny_pipeline}").load("cpu")


@pytest.mark.parametrize("form", ["folder", "inside"])
def test_unet_in_a_base_is_the_pipeline_with_that_unet(
    form: str, tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path
) -> None:
    mixed = Path(shutil.copytree(tiny_pipeline, tmp_path / "mixed"))
    shutil.rmtree(mixed / "unet")
    shutil.copytree(other_pipeline / "unet", mixed / "unet")
    place = tmp_path / "only" / ("unet" if form == "inside" else "")
    shutil.copytree(other_pipeline / "unet", place)
    drawn = _draw(f"unet:{tmp_path / 'only'}@{tiny_pipeline}")
    assert np.array_equal(drawn, _draw(str(mixed)))
    assert not np.array_equal(drawn, _draw(str(tiny_pipeline)))


def test_unet_of_another_base_is_refused(tiny_pipeline: Path, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    config = json.loads((tiny_pipeline / "unet" / "config.json").read_text())
    UNet2DConditionModel.from_config(config | {"cross_attention_dim": 24}).save_pretrained(tmp_path / "wide")
    with pytest.raises(MissingWeightsError, match="cross_attention_dim = 24, that of the base has 16"):
        open_checkpoint("x", f"unet:{tmp_path}/wide@{tiny_pipeline}").load("cpu")
