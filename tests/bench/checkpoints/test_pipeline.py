"""What a pipeline draws: noise by sample, no neighbours, nothing half-loaded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from prefbench.bench.checkpoints.checkpoint import Generator
from prefbench.bench.checkpoints.noise import sample_generator
from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.suite import Sampling

SAMPLING = Sampling(steps=3, guidance=2.0, scheduler="ddim")
PROMPTS = [Prompt(str(i), f"{animal} on a hill") for i, animal in enumerate(("cat", "dog", "cow", "hen"))]


@pytest.fixture(scope="module")
def generator(tiny_pipeline: Path) -> Generator:
    return open_checkpoint("tiny", str(tiny_pipeline)).load("cpu")


@pytest.fixture
def copy(tiny_pipeline: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline, tmp_path / "copy"))


def _pixels(
    generator: Generator, prompts: list[Prompt], seeds: list[int], sampling: Sampling = SAMPLING
) -> np.ndarray:
    return np.stack([np.asarray(image) for image in generator.generate(prompts, seeds, sampling)])


def test_sample_does_not_depend_on_its_neighbours(generator: Generator) -> None:
    """Same batch size, other order and other companions: the same pixels."""
    alone = _pixels(generator, [PROMPTS[0]] * 4, [0] * 4)
    mixed = _pixels(generator, PROMPTS, [0] * 4)
    turned = _pixels(generator, PROMPTS[::-1], [0] * 4)[::-1]
    assert np.array_equal(alone[0], alone[3])
    assert np.array_equal(alone[0], mixed[0])
    assert np.array_equal(mixed, turned)


def test_prompts_and_seeds_give_different_pictures(generator: Generator) -> None:
    drawn = _pixels(generator, [PROMPTS[0], PROMPTS[0], PROMPTS[1]], [0, 1, 0])
    assert len({image.tobytes() for image in drawn}) == 3


def test_drawing_again_gives_the_same_pixels(generator: Generator, tiny_pipeline: Path) -> None:
    again = open_checkpoint("again", str(tiny_pipeline)).load("cpu")
    assert np.array_equal(_pixels(generator, PROMPTS, [0] * 4), _pixels(again, PROMPTS, [0] * 4))


def test_stochastic_scheduler_draws_from_the_samples_own_generator(
    tiny_pipeline: Path, tmp_path: Path
) -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    folder = Path(shutil.copytree(tiny_pipeline, tmp_path / "ancestral"))
    scheduler = EulerAncestralDiscreteScheduler(steps_offset=1)
    scheduler.save_pretrained(folder / "scheduler")
    index = (folder / "model_index.json").read_text()
    (folder / "model_index.json").write_text(
        index.replace("DDIMScheduler", "EulerAncestralDiscreteScheduler")
    )
    generator = open_checkpoint("x", str(folder)).load("cpu")
    sampling = Sampling(steps=3, guidance=2.0)  # the pipeline's own scheduler
    torch.manual_seed(1)
    first = _pixels(generator, PROMPTS, [0] * 4, sampling)
    torch.manual_seed(2)
    assert np.array_equal(first, _pixels(generator, PROMPTS[::-1], [0] * 4, sampling)[::-1])


def test_noise_is_keyed_by_prompt_and_seed() -> None:
    draw = [
        torch.randn(4, generator=sample_generator(*key)).tolist()
        for key in (("a", 0), ("a", 1), ("b", 0), ("a", 0))
    ]
    assert draw[0] == draw[3]
    assert len({tuple(row) for row in draw}) == 3


def test_pixels_equal_a_plain_diffusers_call_with_the_same_noise(
    generator: Generator, tiny_pipeline: Path
) -> None:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(tiny_pipeline)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
    noise = torch.stack([torch.randn((4, 8, 8), generator=sample_generator(p.text, 0)) for p in PROMPTS])
    plain = pipe([p.text for p in PROMPTS], num_inference_steps=3, guidance_scale=2.0, latents=noise).images
    assert np.array_equal(
        _pixels(generator, PROMPTS, [0] * 4), np.stack([np.asarray(image) for image in plain])
    )


def test_every_setting_reaches_the_picture(generator: Generator) -> None:
    base = _pixels(generator, PROMPTS, [0] * 4)
    for change in ({"steps": 7}, {"guidance": 9.0}, {"negative_prompt": "hen hen"}):
        assert not np.array_equal(
            base, _pixels(generator, PROMPTS, [0] * 4, SAMPLING.model_copy(update=change))
        ), change
    wide = SAMPLING.model_copy(update={"width": 32, "height": 24})
    assert _pixels(generator, PROMPTS, [0] * 4, wide).shape == (4, 24, 32, 3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ddim", "DDIMScheduler"), ("euler", "EulerDiscreteScheduler"), ("pipeline default", "PNDMScheduler")],
)
def test_named_scheduler_replaces_the_pipelines_and_default_keeps_it(
    copy: Path, name: str, kind: str
) -> None:
    """A config without clip_sample must not make DDIM clip latents to [-1, 1]."""
    from diffusers import PNDMScheduler

    PNDMScheduler(skip_prk_steps=True, steps_offset=1).save_pretrained(copy / "scheduler")
    index = (copy / "model_index.json").read_text()
    (copy / "model_index.json").write_text(index.replace("DDIMScheduler", "PNDMScheduler"))
    generator = open_checkpoint("x", str(copy)).load("cpu")
    for _ in range(2):  # the second call starts from the first one's scheduler
        generator.generate(PROMPTS[:1], [0], Sampling(steps=2, guidance=2.0, scheduler=name))  # type: ignore[arg-type]
    scheduler = generator._pipeline.scheduler  # type: ignore[attr-defined]
    assert type(scheduler).__name__ == kind
    assert scheduler.config.get("clip_sample", False) is False


def test_non_finite_picture_names_prompt_and_seed(copy: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_out.bias"][:] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    generator = open_checkpoint("broken", str(copy)).load("cpu")
    with pytest.raises(
        DataError, match=r"'broken' drew .* non-finite .* prompt 0 \('cat on a hill'\), seed 5"
    ):
        generator.generate(PROMPTS[:1], [5], SAMPLING)


def test_half_precision_on_the_cpu_is_refused(tiny_pipeline: Path) -> None:
    generator = open_checkpoint("x", str(tiny_pipeline)).load("cpu")
    with pytest.raises(UsageError, match="half precision needs a GPU"):
        generator.generate(PROMPTS[:1], [0], SAMPLING.model_copy(update={"dtype": "float16"}))


def test_size_between_steps_is_refused(generator: Generator) -> None:
    with pytest.raises(DataError, match="steps of 2 pixels, not 33 x 32"):
        generator.generate(PROMPTS[:1], [0], SAMPLING.model_copy(update={"width": 33, "height": 32}))


def test_half_precision_weights_on_disk_are_read_as_float32(copy: Path) -> None:
    for path in copy.rglob("*.safetensors"):
        save_file(
            {key: value.half() for key, value in load_file(path).items()}, path, metadata={"format": "pt"}
        )
    pipeline = open_checkpoint("x", str(copy)).load("cpu")._pipeline  # type: ignore[attr-defined]
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.float32}


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop(sorted(tensors)[0])


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stranger.weight"] = torch.zeros(3)


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    key = sorted(tensors)[0]
    tensors[key] = torch.zeros(*tensors[key].shape, 2)


@pytest.mark.parametrize("change", [_drop, _add, _reshape])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_do_not_fit_exactly_are_refused(
    copy: Path, part: str, change: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    (path,) = (copy / part).glob("*.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(MissingWeightsError, match=part):
        open_checkpoint("x", str(copy)).load("cpu")


def test_truncated_prompts_are_counted(tiny_pipeline: Path) -> None:
    """The tiny tokenizer has no merges: a letter is a token, and 16 minus 2 specials leave room for 14."""
    checkpoint = open_checkpoint("x", str(tiny_pipeline))
    assert checkpoint.truncated([Prompt("a", "x" * 14), Prompt("b", "x" * 15), Prompt("c", "cat")]) == 1
