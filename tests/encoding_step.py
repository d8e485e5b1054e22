"""A training step that encodes its images and captions itself, to be compared with steps on cached encodings."""

import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig

from prefbench.reference_trainers.preferences.image_tensors import image_tensor
from prefbench.reference_trainers.preferences.labelled_pairs import LabelledPairs
from prefbench.reference_trainers.trained_unet import LORA_TARGETS


class EncodingStep:
    """A step as in diffusers' LoRA example of DPO (examples/research_projects/diffusion_dpo@071190d), written anew.

    Images are read, encoded and sampled and captions encoded in every step; adapters are switched off for the
    reference. The example sends winners and losers through the network together; `separate` does so one after the other.
    A `unet` that has its adapters already is shared with whoever added them.
    """

    def __init__(
        self,
        folder: Path,
        pairs: LabelledPairs,
        *,
        batch: int,
        rank: int,
        kappa: float,
        separate: bool,
        unet: Any = None,
    ) -> None:
        from diffusers import DDPMScheduler, StableDiffusionPipeline

        self.pipe = StableDiffusionPipeline.from_pretrained(
            folder, **({} if unet is None else {"unet": unet})
        )
        for part in (self.pipe.vae, self.pipe.text_encoder):
            part.requires_grad_(False)
        if unet is None:
            self.pipe.unet.requires_grad_(False)
            self.pipe.unet.add_adapter(
                LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=LORA_TARGETS)
            )
        self.weights = [value for value in self.pipe.unet.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=1e-4, weight_decay=1e-2)
        self.scheduler = DDPMScheduler.from_config(self.pipe.scheduler.config)
        self.pairs, self.separate, self.drawn = pairs, separate, 0
        self.batch, self.kappa = batch, kappa
        self.side = self.pipe.unet.config.sample_size * self.pipe.vae_scale_factor
        self.seconds: list[float] = []

    def encoded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents of the next self.batch winners, then losers, and their captions' encodings."""
        rows = [(self.drawn + i) % len(self.pairs) for i in range(self.batch)]
        self.drawn += self.batch
        images = [read(row) for read in (self.pairs.winner, self.pairs.loser) for row in rows]
        pixels = torch.stack([image_tensor(image, self.side) for image in images])
        latents = self.pipe.vae.encode(pixels).latent_dist.sample() * self.pipe.vae.config.scaling_factor
        prompts = [self.pairs.prompt(row) for row in rows]
        tokens = self.pipe.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt")
        return latents, self.pipe.text_encoder(tokens.input_ids)[0].repeat(2, 1, 1)

    def errors(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Winners' errors, then losers'."""
        parts = zip(*(value.chunk(2) for value in inputs), strict=True) if self.separate else [inputs]
        return torch.cat(
            [
                (self.pipe.unet(noisy, t, text).sample - target).square().flatten(1).mean(1)
                for noisy, t, text, target in parts
            ]
        )

    def __call__(self) -> float:
        started = time.perf_counter()
        with torch.no_grad():
            latents, text = self.encoded()
        noise = torch.randn_like(latents).chunk(2)[0].repeat(2, 1, 1, 1)
        timesteps = torch.randint(1000, (self.batch,)).repeat(2)
        inputs = (self.scheduler.add_noise(latents, noise, timesteps), timesteps, text, noise)
        winners, losers = self.errors(*inputs).chunk(2)
        self.pipe.unet.disable_adapters()
        with torch.no_grad():
            ref_winners, ref_losers = self.errors(*inputs).chunk(2)
        self.pipe.unet.enable_adapters()
        loss = -F.logsigmoid(self.kappa * ((ref_winners - ref_losers) - (winners - losers))).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        value = loss.item()
        self.seconds.append(time.perf_counter() - started)
        return value
