"""Guidance with two networks: one for the prompt, another for the negative branch (Diffusion-NPO).

    eps = eps_negative(x_t, negative prompt) + guidance (eps_positive(x_t, prompt) - eps_negative(x_t, negative prompt))

Both branches cost one forward pass a step, as plain guidance does. Without guidance (a scale of 1 or less) the negative
network is not asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.bench.checkpoints.checkpoint import Generator
from prefbench.bench.checkpoints.pipeline import PipelineCheckpoint, PipelineGenerator
from prefbench.bench.exceptions import MissingWeightsError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.store.keys import canonical_sha256
from prefbench.bench.suite import Sampling

__all__ = ["NegativeBranchCheckpoint", "use_negative_branch"]


@dataclass
class NegativeBranchCheckpoint:
    """A positive checkpoint whose guidance subtracts the prediction of another network.

    Args:
        positive: draws; its text encoder and VAE serve both branches.
        negative: only its UNet is used.
    """

    name: str
    spec: str
    positive: PipelineCheckpoint
    negative: PipelineCheckpoint

    def __post_init__(self) -> None:
        self.kind = "npo"
        self.training = self.negative.training
        self.identity: dict[str, Any] = {
            "kind": self.kind,
            "positive": self.positive.identity,
            "negative": self.negative.identity,
        }

    def check(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> None:
        """Both checkpoints."""
        self.positive.check(prompts, seeds)
        self.negative.check(prompts, seeds)

    def size(self, sampling: Sampling) -> tuple[int, int]:
        """The positive checkpoint's."""
        return self.positive.size(sampling)

    def sample_key(self, prompt: Prompt, seed: int, sampling: Sampling) -> str:
        """sha256 over both identities, text, seed, settings."""
        return canonical_sha256(
            {
                "checkpoint": self.identity,
                "prompt": prompt.text,
                "seed": seed,
                "sampling": sampling.model_dump(),
            }
        )

    def truncated(self, prompts: Sequence[Prompt]) -> int | None:
        """The positive checkpoint's tokenizer decides."""
        return self.positive.truncated(prompts)

    def load(self, device: str) -> Generator:
        """Read both, keep the negative one's UNet."""
        pipeline = self.positive.pipeline()
        negative = self.negative.pipeline().unet
        for key in ("in_channels", "out_channels", "cross_attention_dim", "addition_embed_type"):
            ours, theirs = getattr(negative.config, key), getattr(pipeline.unet.config, key)
            if ours != theirs:
                raise MissingWeightsError(
                    f"Checkpoint {self.spec!r}: the negative network has {key} = {ours}, the positive one has {theirs}: "
                    "they are of different architectures. Name the base that it was trained from."
                )
        use_negative_branch(pipeline, negative)
        return PipelineGenerator(pipeline, device, self.name)


def use_negative_branch(pipeline: Any, negative: Any) -> None:
    """Let `negative` predict the first half of a batch under guidance, which diffusers keeps for the negative prompt.

    Args:
        pipeline: StableDiffusionPipeline or StableDiffusionXLPipeline; its UNet is changed in place.
        negative: a UNet of the same architecture; it moves with the pipeline.
    """
    positive = pipeline.unet
    positive_forward = positive.forward
    positive.add_module("negative_branch", negative)

    def forward(sample: Any, timestep: Any, *args: Any, **kwargs: Any) -> Any:
        if not pipeline.do_classifier_free_guidance:
            return positive_forward(sample, timestep, *args, **kwargs)
        import torch

        def part(value: Any, half: int) -> Any:
            if isinstance(value, dict):
                return {key: part(entry, half) for key, entry in value.items()}
            if isinstance(value, torch.Tensor) and value.ndim and len(value) == len(sample):
                return value.chunk(2)[half]
            return value

        kwargs["return_dict"] = False
        branches = [
            network(
                part(sample, half),
                part(timestep, half),
                *(part(value, half) for value in args),
                **{key: part(value, half) for key, value in kwargs.items()},
            )[0]
            for half, network in enumerate((negative, positive_forward))
        ]
        return (torch.cat(branches),)

    positive.forward = forward
