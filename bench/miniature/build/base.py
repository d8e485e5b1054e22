"""The base checkpoint: an autoencoder, then a text encoder and a UNet trained together on faulty renders."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from prefbench.bench.miniature.build.vocabulary import write_clip_tokenizer
from prefbench.bench.miniature.render import codes_of, degrade
from prefbench.bench.miniature.scenes import sample_scenes

__all__ = ["train_autoencoder", "train_base"]

Log = Callable[[str], None]

TEXT_TOKENS = 24
BATCH = 32
AUTOENCODER_RENDERS, AUTOENCODER_STEPS, AUTOENCODER_LR = 12_000, 1_800, 2e-3
BASE_RENDERS, BASE_STEPS, BASE_LR = 24_000, 8_000, 1.2e-3
CAPTION_DROPOUT = 0.10
EMA_DECAY = 0.995
#: A run writes its state this often, so that a stopped build goes on where it was.
SAVE_EVERY = 250


def renders(n: int, seed: int) -> tuple[list[str], Tensor]:
    """`n` faulty renders of training captions: the captions, and images (n, 3, 32, 32) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    scenes = sample_scenes(n, rng, "train")
    images = torch.from_numpy(degrade(codes_of(scenes), rng)).permute(0, 3, 1, 2) * 2 - 1
    return [s.caption for s in scenes], images.contiguous()


def train_autoencoder(folder: Path, seed: int, log: Log, steps: int = AUTOENCODER_STEPS) -> None:
    """An AutoencoderKL with factor 2: 3 x 32 x 32 to 4 x 16 x 16; loss L1 + 2 MSE + 1e-4 KL."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, sample_size=32, layers_per_block=1, norm_num_groups=8,
        block_out_channels=(24, 48), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    _, images = renders(AUTOENCODER_RENDERS, seed)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=AUTOENCODER_LR, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    started = time.monotonic()
    for step in range(1, steps + 1):
        batch = images[torch.randint(len(images), (BATCH,), generator=generator)]
        posterior = vae.encode(batch).latent_dist
        output = vae.decode(posterior.sample(generator=generator)).sample
        mse = F.mse_loss(output, batch)
        loss = F.l1_loss(output, batch) + 2 * mse + 1e-4 * posterior.kl().mean() / batch[0].numel()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            log(f"autoencoder step {step}/{steps} mse {mse.item():.5f} {time.monotonic() - started:.0f} s")
    whiten_latents(vae, images[:1024])
    log(f"autoencoder latents whitened, scaling_factor {vae.config.scaling_factor}")
    vae.eval().half().save_pretrained(folder)


@torch.no_grad()
def whiten_latents(vae: AutoencoderKL, images: Tensor) -> None:
    """Give the latents of `images` zero mean and unit covariance over channels, without changing what the VAE draws.

    Trained briefly, the latents' principal axes have standard deviations from 0.08 to 5.4, and what a shape's hue
    hangs on lies along the short ones, where the noise of the diffusion drowns it. The map z -> A (z - mean) goes
    into `quant_conv`, its inverse into `post_quant_conv`. The posterior's own spread cannot be carried through a
    map that mixes channels: it is set to exp(-6), next to nothing.
    """
    channels = vae.config.latent_channels
    z = vae.encode(images).latent_dist.mode().permute(1, 0, 2, 3).reshape(channels, -1).double()
    mean = z.mean(1)
    variances, axes = torch.linalg.eigh(torch.cov(z))
    forward, backward = (axes * variances.rsqrt()).T, axes * variances.sqrt()
    quant, post = vae.quant_conv, vae.post_quant_conv
    kernel = forward @ quant.weight[:channels, :, 0, 0].double()
    quant.weight[:channels] = kernel[:, :, None, None].float()
    quant.bias[:channels] = (forward @ (quant.bias[:channels].double() - mean)).float()
    quant.weight[channels:] = 0
    quant.bias[channels:] = -12.0
    kernel = post.weight[:, :, 0, 0].double()
    post.bias += (kernel @ mean).float()
    post.weight.copy_((kernel @ backward)[:, :, None, None])
    vae.register_to_config(scaling_factor=1.0)


def _new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(48, 80),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64, attention_head_dim=4, norm_num_groups=8,
    )  # fmt: skip


def _new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=TEXT_TOKENS, projection_dim=64, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def _rate(step: int, steps: int) -> float:
    """Warm-up over 150 steps, constant to the half, then linear to 2 %."""
    return min(step / 150, 1.0) * (1.0 if step < steps / 2 else 1 - 0.98 * (step - steps / 2) / (steps / 2))


def train_base(
    folder: Path, autoencoder: Path, state: Path, seed: int, log: Log, steps: int = BASE_STEPS
) -> None:
    """Text encoder and UNet, then the whole pipeline folder; `state` holds what a stopped run needs to go on."""
    torch.manual_seed(seed)
    write_clip_tokenizer(state / "tokenizer", TEXT_TOKENS)
    tokenizer = CLIPTokenizer.from_pretrained(state / "tokenizer")
    vae = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
    vae.register_to_config(_name_or_path="miniature")  # else the folder of this machine stands in what ships
    scheduler = DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    nets = torch.nn.ModuleDict({"unet": _new_unet(), "text_encoder": _new_text_encoder(tokenizer)})
    shadow = {k: v.detach().clone() for k, v in nets.state_dict().items()}
    optimiser = torch.optim.AdamW(nets.parameters(), lr=BASE_LR, betas=(0.9, 0.99), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: _rate(k + 1, steps))
    first = _restore(state, nets, shadow, optimiser, schedule, log)

    captions, images = renders(BASE_RENDERS, seed + 1)
    latents = _encode(vae, images)
    ids = torch.tensor(
        tokenizer(captions, padding="max_length", truncation=True, max_length=TEXT_TOKENS).input_ids
    )
    empty = torch.tensor(tokenizer("", padding="max_length", max_length=TEXT_TOKENS).input_ids)
    started, recent = time.monotonic(), []
    for step in range(first + 1, steps + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(latents), (BATCH,), generator=generator)
        loss = _denoising_loss(nets, scheduler, latents[rows], ids[rows], empty, generator)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for key, value in nets.state_dict().items():
            if value.is_floating_point():
                shadow[key].lerp_(value, 1 - decay)
        recent.append(loss.item())
        if step % SAVE_EVERY == 0 or step == steps:
            torch.save(
                {"step": step, "nets": nets.state_dict(), "shadow": shadow, "optimiser": optimiser.state_dict(),
                 "schedule": schedule.state_dict()}, state / "base.pt.new",
            )  # fmt: skip
            (state / "base.pt.new").rename(state / "base.pt")
            log(
                f"base step {step}/{steps} loss {np.mean(recent[-250:]):.4f} {time.monotonic() - started:.0f} s"
            )
    nets.load_state_dict(shadow)
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=nets["text_encoder"].eval(), tokenizer=tokenizer, unet=nets["unet"].eval(),
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(folder)


def _denoising_loss(
    nets: torch.nn.ModuleDict,
    scheduler: DDIMScheduler,
    latents: Tensor,
    ids: Tensor,
    empty: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Noise-prediction error with stratified timesteps and 10 % empty captions."""
    n = len(latents)
    noise = torch.randn(latents.shape, generator=generator)
    position = (torch.arange(n) + torch.rand(n, generator=generator)) / n
    timesteps = (position * 1000).long().clamp(max=999)
    dropped = torch.rand(n, generator=generator) < CAPTION_DROPOUT
    ids = torch.where(dropped[:, None], empty, ids)
    states = nets["text_encoder"](ids)[0]
    prediction = nets["unet"](scheduler.add_noise(latents, noise, timesteps), timesteps, states).sample
    return F.mse_loss(prediction, noise)


@torch.no_grad()
def _encode(vae: AutoencoderKL, images: Tensor, block: int = 256) -> Tensor:
    parts = [vae.encode(images[i : i + block]).latent_dist.mode() for i in range(0, len(images), block)]
    return torch.cat(parts) * vae.config.scaling_factor


def _restore(
    state: Path,
    nets: torch.nn.ModuleDict,
    shadow: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    log: Log,
) -> int:
    if not (state / "base.pt").exists():
        return 0
    saved = torch.load(state / "base.pt", weights_only=True)
    nets.load_state_dict(saved["nets"])
    shadow.update(saved["shadow"])
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    log(f"base goes on from step {saved['step']}")
    return int(saved["step"])
