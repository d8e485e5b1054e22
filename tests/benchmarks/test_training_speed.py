"""A step of the training loop against the bare passes that it cannot do without."""

import math
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import pytest
import tiny_pipelines
import torch
from PIL import Image

from prefbench.reference_trainers.backbones.backbone import Posterior
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.offline import prepare_run, training_steps
from prefbench.reference_trainers.preferences.labelled_pairs import labelled_pairs
from prefbench.reference_trainers.recipes import resolve_recipe

PAIRS, ROUNDS = 8, 60
FROZEN = {"sft": 0, "diffusion_dpo": 1, "adaptive_dpo": 3}
"""Networks that a step evaluates without gradient: the reference, and Adaptive-DPO's two averages."""


class MiniatureSizedBackbone:
    """A UNet of the miniature's size with random weights; latents and prompts are random and cached."""

    spec, pipeline_class, resolution, prediction_type = "random", "none", 32, "epsilon"

    def __init__(self) -> None:
        self.unet = tiny_pipelines.unet(tiny_pipelines.MINIATURE)
        self.alphas_cumprod = torch.linspace(0.999, 0.005, 1000)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        pass

    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        return {"text": torch.randn(len(prompts), 20, 64)}

    def encode_images(self, images: torch.Tensor) -> Posterior:
        shape = (len(images), 4, 16, 16)
        return Posterior(torch.randn(shape), torch.full(shape, 0.1))

    def predict(
        self, unet: Any, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Any
    ) -> torch.Tensor:
        return unet(noisy, timesteps, encoder_hidden_states=condition["text"], return_dict=False)[0]


class BareStep:
    """Forward, backward, clip and AdamW on one fixed batch, with the forward passes of frozen networks."""

    def __init__(self, frozen: int) -> None:
        self.policy, *self.frozen = (MiniatureSizedBackbone().unet for _ in range(1 + frozen))
        for network in self.frozen:
            network.load_state_dict(self.policy.state_dict())
            network.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.policy.parameters(), lr=1e-4, weight_decay=1e-2)
        count = 2 * PAIRS if frozen else PAIRS
        self.inputs = (
            torch.randn(count, 4, 16, 16),
            torch.randint(1000, (count,)),
            torch.randn(count, 20, 64),
        )
        self.target = torch.randn(count, 4, 16, 16)
        self.seconds: list[float] = []

    def errors(self, unet: Any) -> torch.Tensor:
        return (unet(*self.inputs, return_dict=False)[0] - self.target).square().flatten(1).mean(1)

    def __call__(self) -> None:
        started = time.perf_counter()
        if self.frozen:
            with torch.no_grad():
                ref_w, ref_l = torch.stack([self.errors(network) for network in self.frozen]).mean(0).chunk(2)
            w, l = self.errors(self.policy).chunk(2)  # noqa: E741
            loss = -torch.nn.functional.logsigmoid(1000 * ((ref_w - ref_l) - (w - l))).mean()
        else:
            loss = self.errors(self.policy).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        assert math.isfinite(loss.item())  # the loop reads its loss too
        self.seconds.append(time.perf_counter() - started)


@pytest.mark.parametrize("method", FROZEN)
def test_a_step_of_the_loop_against_its_bare_passes(method: str, benchmark: Any):
    """Bare steps and loop steps alternate, so that both meet the same load; medians are compared. Target: at most 1.05."""
    if benchmark.disabled:
        pytest.skip("a timing: run with --benchmark-enable")
    given = {"batch": PAIRS, "steps": ROUNDS + 4, "cache": True}
    recipe = resolve_recipe(method, "miniature", {key: Constant(v, "test") for key, v in given.items()})
    pairs = labelled_pairs(
        "random",
        [f"prompt {i}" for i in range(64)],
        np.ones(64),
        lambda row, side: Image.new("RGB", (32, 32)),
        lambda row, side: f"{row}:{side}",
    )
    steps = training_steps(prepare_run(recipe, MiniatureSizedBackbone(), pairs))
    bare = BareStep(FROZEN[method])
    for _ in range(2):  # Adaptive-DPO's warm-up, too: its averages rest for two steps
        bare()
        next(steps)
    bare.seconds.clear()
    benchmark.pedantic(lambda: next(steps), setup=bare, rounds=ROUNDS, iterations=1)
    ratio = benchmark.stats.stats.median / median(bare.seconds)
    benchmark.extra_info.update(
        what="training step / bare forward, backward, optimizer",
        case=f"{method}, {PAIRS} pairs, miniature's size",
        bare_s=bare.seconds,
        fastest_ratio=benchmark.stats.stats.min / min(bare.seconds),
        value=f"{ratio:.3f}",
        target="at most 1.05",
    )
