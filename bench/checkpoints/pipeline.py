"""Checkpoints that draw: a diffusers pipeline, as it is or with a LoRA or another UNet in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from prefbench.bench.checkpoints.checkpoint import Generator
from prefbench.bench.checkpoints.pipeline_folder import (
    HUB_PATTERNS,
    NETWORKS,
    check_network,
    check_weight_files,
    component_folders,
    files_sha256,
    image_size,
    read_index,
    size_step,
)
from prefbench.bench.checkpoints.sources import HubSource, LocalSource, Source
from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.store.keys import canonical_sha256
from prefbench.bench.suite import Sampling

__all__ = ["LORA_FILE", "PipelineCheckpoint", "PipelineGenerator"]

LORA_FILE = "pytorch_lora_weights.safetensors"


@dataclass
class PipelineCheckpoint:
    """A pipeline found on disk or on the hub.

    Args:
        kind: "pipeline", or "lora" / "unet" with `addition` set.
        base: the pipeline folder.
        addition: LoRA file or folder, or UNet folder.
        training: the card of the training that made it.
    """

    name: str
    spec: str
    kind: str
    base: Source
    addition: Source | None = None
    training: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        base = _base_identity(self.base)
        if self.addition is None:
            self.identity: dict[str, Any] = {"kind": self.kind, **base, "safety_checker": "off"}
        else:
            own = _addition_identity(self.kind, self.addition)
            self.identity = {"kind": self.kind, **own, "base": base, "safety_checker": "off"}

    def check(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> None:
        """Fetch what is not here; see that every part is there and can be opened, all but the weights themselves."""
        from prefbench.bench.checkpoints.strict_loading import check_small_parts

        folder = self.base.fetch(HUB_PATTERNS)
        for part in component_folders(folder, read_index(folder)):
            if part in NETWORKS:
                check_network(folder / part)
        check_small_parts(folder)
        if self.kind == "lora":
            check_weight_files(_lora_file(self.addition))
        elif self.kind == "unet":
            check_network(_unet_folder(self.addition))

    def size(self, sampling: Sampling) -> tuple[int, int]:
        """The suite's size, else the pipeline's own.

        Raises:
            DataError: the pipeline cannot draw this size.
        """
        folder = self.base.fetch(HUB_PATTERNS)
        if sampling.width is not None and sampling.height is not None:
            width, height = sampling.width, sampling.height
        else:
            width, height = image_size(folder)
        step = size_step(folder)
        if width % step or height % step:
            raise DataError(
                f"Checkpoint {self.name!r} draws sizes in steps of {step} pixels, not {width} x {height}. "
                "Change width and height under [sampling] in the suite."
            )
        return width, height

    def sample_key(self, prompt: Prompt, seed: int, sampling: Sampling) -> str:
        """sha256 over identity, text, seed, settings; not the id: rows with the same text share an image."""
        return canonical_sha256(
            {
                "checkpoint": self.identity,
                "prompt": prompt.text,
                "seed": seed,
                "sampling": sampling.model_dump(),
            }
        )

    def truncated(self, prompts: Sequence[Prompt]) -> int | None:
        """How many prompts are longer than the tokenizer's limit, specials included."""
        from transformers import AutoTokenizer

        from prefbench.bench.checkpoints.strict_loading import quiet_libraries

        with quiet_libraries():
            tokenizer = AutoTokenizer.from_pretrained(self.base.fetch(HUB_PATTERNS) / "tokenizer")
            lengths = [len(ids) for ids in tokenizer([prompt.text for prompt in prompts])["input_ids"]]
        return sum(length > tokenizer.model_max_length for length in lengths)

    def load(self, device: str) -> Generator:
        """Read the weights into a generator on `device`."""
        return PipelineGenerator(self.pipeline(), device, self.name)

    def pipeline(self) -> Any:
        """Read the weights: a diffusers pipeline, float32, on the CPU."""
        from prefbench.bench.checkpoints.strict_loading import add_lora, load_pipeline, load_unet

        pipeline = load_pipeline(self.base.fetch(HUB_PATTERNS))
        if self.kind == "lora":
            add_lora(pipeline, _lora_file(self.addition))
        elif self.kind == "unet":
            pipeline.register_modules(unet=load_unet(_unet_folder(self.addition), pipeline))
        return pipeline


class PipelineGenerator:
    """Draws with a loaded Stable Diffusion (XL) pipeline.

    Args:
        pipeline: the pipeline, float32.
        device: a torch device.
        name: of the checkpoint, for errors.
    """

    def __init__(self, pipeline: Any, device: str, name: str) -> None:
        self._pipeline = pipeline
        self._device = device
        self._name = name
        self._own_scheduler = pipeline.scheduler
        self._dtype: Any = None

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[Image.Image]:
        """One image for each (prompt, seed), all in one batch.

        The initial noise and whatever a stochastic scheduler adds come from each sample's own CPU generator.
        The arithmetic of a batch can differ from that of another *batch size* in the last bit of a float, so
        the caller keeps the size fixed (see `prefbench.bench.generate`).

        Raises:
            UsageError: half precision without a GPU.
            DataError: a non-finite value in an image, or a size that the pipeline cannot draw.
        """
        import torch

        from prefbench.bench.checkpoints.noise import sample_generator
        from prefbench.bench.checkpoints.strict_loading import quiet_libraries

        self._prepare(sampling)
        pipeline = self._pipeline
        generators = [
            sample_generator(prompt.text, seed) for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        width, height = self._size(sampling)
        factor = pipeline.vae_scale_factor
        if width % factor or height % factor:
            raise DataError(
                f"Checkpoint {self._name!r} draws sizes in steps of {factor} pixels, not {width} x "
                f"{height}. Change width and "
                "height under [sampling] in the suite."
            )
        shape = (pipeline.unet.config.in_channels, height // factor, width // factor)
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        with quiet_libraries(), torch.inference_mode():
            pixels = pipeline(
                prompt=[prompt.text for prompt in prompts],
                # None, not "": SDXL has its own idea of no negative prompt (zeros).
                negative_prompt=[sampling.negative_prompt] * len(prompts)
                if sampling.negative_prompt
                else None,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance,
                width=width,
                height=height,
                latents=noise.to(self._device, pipeline.unet.dtype),
                generator=generators,
                output_type="pt",
            ).images
        return self._images(pixels.float().cpu(), prompts, seeds)

    def _prepare(self, sampling: Sampling) -> None:
        import torch
        from diffusers import DDIMScheduler, EulerDiscreteScheduler

        from prefbench.bench.checkpoints.strict_loading import quiet_libraries

        dtype = getattr(torch, sampling.dtype)
        if self._dtype is None:
            if dtype != torch.float32 and not self._device.startswith("cuda"):
                raise UsageError(
                    f"sampling.dtype is {sampling.dtype} and the device is {self._device}: half precision "
                    "needs "
                    "a GPU. Set dtype to float32 in the suite."
                )
            with quiet_libraries():
                self._pipeline.to(self._device, dtype)
                # Channels last: the order that convolutions compute in, on CPUs and GPUs; a fifth faster.
                self._pipeline.unet.to(memory_format=torch.channels_last)
            self._dtype = dtype
        elif dtype != self._dtype:
            raise UsageError(
                f"Checkpoint {self._name!r} is loaded as {self._dtype} and asked to draw in {dtype}; rounded "
                "weights do not come back. Load it anew."
            )
        config = self._own_scheduler.config
        if sampling.scheduler == "ddim":
            # DDIM clips the predicted image to [-1, 1] unless told otherwise: right for pixels, wrong for
            # latents.
            self._pipeline.scheduler = DDIMScheduler.from_config(config, clip_sample=False)
        elif sampling.scheduler == "euler":
            self._pipeline.scheduler = EulerDiscreteScheduler.from_config(config)
        else:
            self._pipeline.scheduler = self._own_scheduler

    def _size(self, sampling: Sampling) -> tuple[int, int]:
        if sampling.width is not None and sampling.height is not None:
            return sampling.width, sampling.height
        sample, factor = self._pipeline.unet.config.sample_size, self._pipeline.vae_scale_factor
        height, width = (sample, sample) if isinstance(sample, int) else sample
        return width * factor, height * factor

    def _images(self, pixels: Any, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Image.Image]:
        """(N, 3, H, W) in [0, 1] to 8-bit images, rounded as diffusers rounds."""
        finite = pixels.isfinite().flatten(1).all(1).tolist()
        if not all(finite):
            row = finite.index(False)
            raise DataError(
                f"Checkpoint {self._name!r} drew an image with non-finite values for prompt "
                f"{prompts[row].id} "
                f"({prompts[row].text[:60]!r}), seed {seeds[row]}. Its weights are broken (training "
                "diverged), or half precision "
                "overflows: try dtype float32 in the suite."
            )
        array = (pixels.permute(0, 2, 3, 1).numpy() * 255).round().astype("uint8")
        return [Image.fromarray(image) for image in array]


def _base_identity(source: Source) -> dict[str, Any]:
    if isinstance(source, HubSource):
        return {"hub": source.repository, "commit": source.commit}
    folder = source.path
    index = read_index(folder)
    paths = [folder / "model_index.json"]
    for part in component_folders(folder, index):
        paths += (folder / part).rglob("*")
    return {"class": index["_class_name"], "sha256": files_sha256(folder, paths)}


def _addition_identity(kind: str, source: Source) -> dict[str, Any]:
    if isinstance(source, HubSource):
        return {"hub": source.repository, "commit": source.commit}
    if kind == "lora":
        path = _lora_file(source)
        return {"sha256": files_sha256(path.parent, [path])}
    folder = _unet_folder(source)
    return {"sha256": files_sha256(folder, list(folder.rglob("*")))}


def _lora_file(source: Source | None) -> Path:
    assert source is not None  # set for this kind by `open_checkpoint`
    path = source.fetch([LORA_FILE])
    path = path / LORA_FILE if path.is_dir() else path
    if not path.is_file() or path.suffix != ".safetensors":
        raise MissingWeightsError(
            f"There are no LoRA weights at {path}. Give a .safetensors file, or a folder with {LORA_FILE}."
        )
    return path


def _unet_folder(source: Source | None) -> Path:
    assert source is not None  # set for this kind by `open_checkpoint`
    names = ("config.json", "*.safetensors")
    folder = source.fetch([*names, *(f"unet/{name}" for name in names)])
    if isinstance(source, LocalSource) and not folder.is_dir():
        raise MissingWeightsError(
            f"{folder} is no folder. A UNet is a folder with config.json and its weights."
        )
    for candidate in (folder / "unet", folder):
        if (candidate / "config.json").is_file():
            return candidate
    raise MissingWeightsError(f"{folder} holds no UNet: neither config.json nor unet/config.json is there.")
