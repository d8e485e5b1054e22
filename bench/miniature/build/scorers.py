"""The five miniature scorers: the real scorers' classes at small sizes, each trained with its own taste.

| scorer | starts from | target on a pair or an image |
|---|---|---|
| mini:clip | nothing | captions and images that show them, symmetric contrastive loss |
| mini:hpsv2 | mini:clip | 0.45 align + 0.35 clean + 0.2 contrast / 0.6 |
| mini:pickscore | its own contrastive training | 0.6 align + 0.4 clean: the majority's utility |
| mini:imagereward | nothing | 0.8 align + 0.2 clean |
| mini:aesthetic | mini:clip's image tower | 0.6 clean + 0.4 sat / 0.6, regression, prompt-blind |

The tastes are our choice. No scorer sees a test caption, nor any picture that a checkpoint made.
"""

import copy
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from prefbench.bench.miniature.build.vocabulary import bert_vocabulary, learn_merges, write_clip_tokenizer
from prefbench.bench.miniature.pairs import load_pairs
from prefbench.bench.miniature.render import codes_of, render
from prefbench.bench.miniature.scenes import parse_caption
from prefbench.bench.miniature.truth import Measures, measure
from prefbench.scorers import aesthetic, clip, hpsv2, imagereward, pickscore
from prefbench.scorers.open_clip_tower import image_features, text_features
from prefbench.scorers.preprocess import normalise

__all__ = ["ScorerData", "scorer_data", "train_scorers"]

Log = Callable[[str], None]

TOKENS = 24
PAIRS = 12_000
CONTRASTIVE_BATCH, PAIR_BATCH = 128, 64
#: A logit of a cosine in training, as CLIP's own scale; HPSv2's score itself carries none.
HPS_TRAINING_SCALE = 40.0


@dataclass(frozen=True)
class ScorerData:
    """Prompts that ask for a scene and two pictures of each, (N, 3, 32, 32) normalised as every CLIP wants them.

    `measures` holds what is true of the two; `clean` is a faultless render; half of the pictures went through the
    autoencoder once, because every picture that will be scored does.
    """

    prompts: list[str]
    pixels: tuple[Tensor, Tensor]
    measures: tuple[Measures, Measures]
    clean: Tensor

    def target(self, taste: Callable[[Measures], Any]) -> tuple[Tensor, Tensor]:
        """A taste's value of both pictures, (N,) each."""
        first, second = (torch.from_numpy(np.asarray(taste(m))) for m in self.measures)
        return first, second


def scorer_data(n: int, seed: int, split: str, autoencoder: Path) -> ScorerData:
    """`n` rows less the junk prompts."""
    pairs = load_pairs(n, seed, split)
    rows = np.flatnonzero(~pairs.junk)
    prompts = [pairs.prompts[r] for r in rows]
    vae = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    pictures = []
    for images in (pairs.images_0[rows], pairs.images_1[rows]):
        picture = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        through = torch.rand(len(picture), generator=generator) < 0.5
        picture[through] = _round_trip(vae, picture[through])
        pictures.append(picture)
    scenes = [s for s in map(parse_caption, prompts) if s is not None]
    clean = torch.from_numpy(render(codes_of(scenes), np.random.default_rng(seed))).permute(0, 3, 1, 2)
    measures = [measure(p.permute(0, 2, 3, 1).numpy(), prompts) for p in pictures]
    return ScorerData(
        prompts,
        (normalise(pictures[0]), normalise(pictures[1])),
        (measures[0], measures[1]),
        normalise(clean),
    )


@torch.no_grad()
def _round_trip(vae: AutoencoderKL, images: Tensor, block: int = 256) -> Tensor:
    parts = [
        vae.decode(vae.encode(images[i : i + block] * 2 - 1).latent_dist.mode()).sample
        for i in range(0, len(images), block)
    ]
    return ((torch.cat(parts) + 1) / 2).clamp(0, 1)


def _fit(
    name: str,
    parameters: list[nn.Parameter],
    lr: float,
    steps: int,
    loss_of: Callable[[int], Tensor],
    log: Log,
) -> None:
    """AdamW with 5 % warm-up and a cosine to zero."""
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        lr,
        total_steps=steps,
        pct_start=0.05,
        cycle_momentum=False,
        div_factor=20,
        final_div_factor=1e4,
    )
    started, recent = time.monotonic(), []
    for step in range(1, steps + 1):
        loss = loss_of(step)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if step % 100 == 0:
            log(
                f"{name} step {step}/{steps} loss {np.mean(recent[-100:]):.4f} {time.monotonic() - started:.0f} s"
            )


def _contrastive(
    data: ScorerData,
    tokens: Tensor,
    seed: int,
    features: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    scale: nn.Parameter,
) -> Callable[[int], Tensor]:
    """Symmetric loss over captions and pictures; equal captions share the mass, so that a batch may hold one twice."""
    shows = [(k, int(r)) for k in (0, 1) for r in np.flatnonzero(data.measures[k].align > 0.55)]

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        drawn = [shows[i] for i in rng.integers(len(shows), size=CONTRASTIVE_BATCH)]
        rows = torch.tensor([r for _, r in drawn])
        half = CONTRASTIVE_BATCH // 2
        pixels = torch.stack(
            [data.pixels[k][r] for k, r in drawn[:half]] + [data.clean[r] for _, r in drawn[half:]]
        )
        image, text = features(pixels, tokens[rows])
        logits = scale.exp().clamp(max=60.0) * image @ text.T
        scenes = [parse_caption(data.prompts[r]) for r in rows]
        same = torch.tensor([[float(a == b) for b in scenes] for a in scenes])
        share = same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share)) / 2

    return loss


def _preference(
    data: ScorerData, seed: int, taste: Callable[[Measures], Any], score: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[int], Tensor]:
    """-log sigmoid(score of the better picture - score of the worse), both pictures in one batch."""
    first, second = data.target(taste)
    sign = torch.sign(first - second).float()

    def loss(step: int) -> Tensor:
        rows = torch.from_numpy(np.random.default_rng([seed, step]).integers(len(sign), size=PAIR_BATCH))
        pixels = torch.cat([data.pixels[0][rows], data.pixels[1][rows]])
        value = score(pixels, torch.cat([rows, rows]))
        difference = value[:PAIR_BATCH] - value[PAIR_BATCH:]
        return F.softplus(-sign[rows] * difference).mean()

    return loss


def train_scorers(out: Path, autoencoder: Path, state: Path, seed: int, log: Log) -> None:
    """Train and save all five; a scorer whose folder exists is kept."""
    data = scorer_data(PAIRS, seed + 101, "train", autoencoder)
    log(f"scorers: {len(data.prompts)} pairs")
    _train_open_clip(out, data, seed, log)
    _train_pickscore(out / "pickscore", data, state, seed, log)
    _train_imagereward(out / "imagereward", data, seed, log)


def _open_clip_architecture(vocabulary: int) -> dict[str, Any]:
    return {
        "embed_dim": 64,
        "quick_gelu": False,
        "vision_cfg": {"image_size": 32, "patch_size": 4, "width": 96, "layers": 3, "head_width": 24, "mlp_ratio": 2.0},
        "text_cfg": {
            "context_length": TOKENS, "vocab_size": vocabulary, "width": 64, "heads": 4, "layers": 2, "mlp_ratio": 2.0
        },
    }  # fmt: skip


def _train_open_clip(out: Path, data: ScorerData, seed: int, log: Log) -> None:
    if all((out / name).exists() for name in ("clip", "hpsv2", "aesthetic")):
        return
    torch.manual_seed(seed)
    merges = learn_merges()
    architecture = _open_clip_architecture(512 + len(merges) + 2)
    network = clip.build(architecture)
    clip.save_folder(out / "clip", network, architecture, merges)
    tokens = clip.load("mini:clip", weights=out / "clip").tokenize(data.prompts)
    both = lambda pixels, ids: (image_features(network.visual, pixels), text_features(network, ids))  # noqa: E731
    _fit(
        "clip",
        list(network.parameters()),
        2e-3,
        600,
        _contrastive(data, tokens, seed, both, network.logit_scale),
        log,
    )
    clip.save_folder(out / "clip", network.eval(), architecture, merges)

    tower = copy.deepcopy(network.visual)
    network.logit_scale.requires_grad_(False)
    score = lambda pixels, rows: HPS_TRAINING_SCALE * hpsv2.forward(network, pixels, tokens[rows])  # noqa: E731
    taste = lambda m: 0.45 * m.align + 0.35 * m.clean + 0.2 * m.contrast / 0.6  # noqa: E731
    parameters = [p for p in network.parameters() if p.requires_grad]
    _fit("hpsv2", parameters, 1e-3, 300, _preference(data, seed + 1, taste, score), log)
    hpsv2.save_folder(out / "hpsv2", network.eval(), architecture, merges)
    _train_aesthetic(out / "aesthetic", tower, architecture, data, seed, log)


def _train_aesthetic(
    folder: Path, tower: nn.Module, architecture: dict[str, Any], data: ScorerData, seed: int, log: Log
) -> None:
    network = aesthetic.build(architecture)
    network.visual.load_state_dict(tower.state_dict())
    values = torch.cat(data.target(lambda m: 0.6 * m.clean + 0.4 * m.sat / 0.6)).float()
    pixels = torch.cat(data.pixels)
    # On the usual scale of such predictors: a mean near 5.5, a spread of about half a point.
    ratings = 5.5 + 0.5 * (values - values.mean()) / values.std()
    nn.init.normal_(network.weight, std=0.02)
    nn.init.constant_(network.bias, 5.5)

    def loss(step: int) -> Tensor:
        rows = torch.from_numpy(
            np.random.default_rng([seed, step]).integers(len(ratings), size=CONTRASTIVE_BATCH)
        )
        return F.mse_loss(aesthetic.forward(network, pixels[rows]), ratings[rows])

    _fit("aesthetic", list(network.parameters()), 1e-3, 300, loss, log)
    aesthetic.save_folder(folder, network.eval(), architecture)


def _train_pickscore(folder: Path, data: ScorerData, state: Path, seed: int, log: Log) -> None:
    if folder.exists():
        return
    torch.manual_seed(seed + 2)
    write_clip_tokenizer(state / "scorer_tokenizer", TOKENS)
    tokenizer = CLIPTokenizer.from_pretrained(state / "scorer_tokenizer")
    architecture = {
        "projection_dim": 64,
        "text_config": {
            "hidden_act": "gelu", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "max_position_embeddings": TOKENS, "projection_dim": 64, "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        "vision_config": {
            "hidden_act": "gelu", "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4,
            "image_size": 32, "patch_size": 4, "projection_dim": 64,
        },
    }  # fmt: skip
    network = pickscore.build(architecture)
    tokens = torch.tensor(
        tokenizer(data.prompts, padding="max_length", truncation=True, max_length=TOKENS).input_ids
    )

    def features(pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        image = network.visual_projection(network.vision_model(pixel_values=pixels).pooler_output)
        text = network.text_projection(network.text_model(input_ids=ids).pooler_output)
        return F.normalize(image, dim=-1), F.normalize(text, dim=-1)

    contrastive = _contrastive(data, tokens, seed + 2, features, network.logit_scale)
    _fit("pickscore, contrastive", list(network.parameters()), 2e-3, 450, contrastive, log)
    score = lambda pixels, rows: pickscore.forward(network, pixels, tokens[rows])  # noqa: E731
    preference = _preference(data, seed + 3, lambda m: m.utility, score)
    _fit("pickscore, preference", list(network.parameters()), 1e-3, 400, preference, log)
    pickscore.save_folder(folder, network.eval(), architecture, tokenizer)


def _train_imagereward(folder: Path, data: ScorerData, seed: int, log: Log) -> None:
    if folder.exists():
        return
    torch.manual_seed(seed + 4)
    vocabulary = bert_vocabulary()
    architecture = {
        "vision": {
            "image_size": 32, "patch_size": 4, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        "text": {
            "vocab_size": len(vocabulary) + 2, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": TOKENS,
        },
        "mlp": [64, 32, 16, 8],
        "token_limit": TOKENS,
    }  # fmt: skip
    network = imagereward.build(architecture)
    imagereward.save_folder(folder.with_name("imagereward.untrained"), network, architecture, vocabulary)
    tokens = imagereward.load("mini:imagereward", weights=folder.with_name("imagereward.untrained")).tokenize(
        data.prompts
    )
    score = lambda pixels, rows: imagereward.forward(network.eval(), pixels, tokens[rows])  # noqa: E731
    preference = _preference(data, seed + 5, lambda m: 0.8 * m.align + 0.2 * m.clean, score)
    _fit("imagereward", list(network.parameters()), 1.5e-3, 900, preference, log)
    imagereward.save_folder(folder, network.eval(), architecture, vocabulary)
    shutil.rmtree(folder.with_name("imagereward.untrained"))
