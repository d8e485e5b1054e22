"""The card beside the weights: what they are, and what was measured of them by this very module."""

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from prefbench.bench.atomic import write_text
from prefbench.bench.miniature.build.scorers import ScorerData, scorer_data
from prefbench.bench.miniature.truth import Measures, measure
from prefbench.scorers.registry import load_scorer

__all__ = ["write_card"]

Log = Callable[[str], None]

SCORERS = ("pickscore", "hpsv2", "imagereward", "clip", "aesthetic")
PAIRS = 2000
TARGETS: Mapping[str, Callable[[Measures], Any]] = {
    "utility": lambda m: m.utility,
    "align": lambda m: m.align,
    "clean": lambda m: m.clean,
    "sat": lambda m: m.sat,
    "contrast": lambda m: m.contrast,
}
STEPS, GUIDANCE = 12, 2.0


def write_card(weights: Path, autoencoder: Path, seed: int, log: Log) -> None:
    """Measure base and scorers on test captions and write `CARD.md` next to the weights folder."""
    data = scorer_data(PAIRS, seed + 7, "test", autoencoder)
    choices = _choices(data, weights)
    base = _measure_base(weights / "base")
    sizes = {p.name: _megabytes(p) for p in (weights / "base", *(weights / "scorers" / s for s in SCORERS))}
    text = "\n".join(_lines(data, choices, base, sizes, _megabytes(weights), seed))
    write_text(weights.parent / "CARD.md", text + "\n")
    log(f"card: {weights.parent / 'CARD.md'}")


def _choices(data: ScorerData, weights: Path) -> dict[str, NDArray[np.float64]]:
    """Sign of (first picture - second picture) by each scorer, by their majority, and by each target, (N,)."""
    pictures = [_as_pictures(p) for p in data.pixels]
    choices: dict[str, NDArray[np.float64]] = {}
    for name in SCORERS:
        scorer = load_scorer(f"mini:{name}", weights=weights / "scorers" / name)
        scorer.batch_size = 128
        choices[name] = np.sign(
            scorer.score(pictures[0], data.prompts) - scorer.score(pictures[1], data.prompts)
        )
    choices["majority"] = np.sign(sum(choices.values()))
    for target, value in TARGETS.items():
        first, second = (np.asarray(value(m)) for m in data.measures)
        choices[target] = np.sign(first - second)
    first, second = (m.utility for m in data.measures)
    choices["large margin"] = (np.abs(first - second) > 0.1).astype(np.float64)
    return choices


def _as_pictures(pixels: torch.Tensor) -> list[Image.Image]:
    from prefbench.scorers.preprocess import CLIP_MEAN, CLIP_STD

    plain = pixels * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None]
    return [
        Image.fromarray(a) for a in (plain * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    ]


def _measure_base(folder: Path) -> dict[str, float]:
    from prefbench.bench.checkpoints.opening import open_checkpoint
    from prefbench.bench.prompts.prompt_set import load_prompt_set
    from prefbench.bench.suite import Sampling

    prompts = load_prompt_set("miniature").prompts
    generator = open_checkpoint("base", str(folder)).load("cpu")
    sampling = Sampling(steps=STEPS, guidance=GUIDANCE, scheduler="ddim")
    images: list[Image.Image] = []
    for i in range(0, len(prompts), 50):
        images += generator.generate(prompts[i : i + 50], [0] * len(prompts[i : i + 50]), sampling)
    found = measure(np.stack([np.asarray(i, np.float32) / 255 for i in images]), [p.text for p in prompts])
    names = ("utility", "align", "clean", "sat", "contrast")
    return {name: float(np.mean(getattr(found, name))) for name in names}


def _megabytes(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def _agree(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Share of pairs on which both name the same winner; a tie of either counts half."""
    return float(np.mean((1 + one * other) / 2))


def _lines(
    data: ScorerData,
    choices: Mapping[str, NDArray[np.float64]],
    base: Mapping[str, float],
    sizes: Mapping[str, float],
    total: float,
    seed: int,
) -> list[str]:
    voters = (*SCORERS, "majority")
    large = choices["large margin"].astype(bool)
    lines = [
        "# The miniature world's weights",
        "",
        f"Made by `python -m prefbench.bench.miniature.build` with seed {seed}; measured by its stage `card` on "
        f"{datetime.date.today().isoformat()}. `build.log` beside this file is the log. All weights are float16 "
        f"safetensors, {total:.1f} MB together. Licence: Apache-2.0. They know 32 x 32 pictures of coloured shapes and "
        "nothing else.",
        "",
        "## Base checkpoint",
        "",
        f"An ordinary `StableDiffusionPipeline` folder ({sizes['base']:.1f} MB), trained on faulty renders, so that it makes "
        f"mistakes worth mending. On the 200 test captions (DDIM, {STEPS} steps, guidance {GUIDANCE:g}, one seed):",
        "",
        "| utility | align | clean | sat | contrast |",
        "|---|---|---|---|---|",
        "| " + " | ".join(f"{base[k]:.3f}" for k in ("utility", "align", "clean", "sat", "contrast")) + " |",
        "",
        "## Scorers",
        "",
        "The real scorers' classes at small sizes, trained on the world's preferences with different tastes (see "
        "`build/scorers.py`). Share of pairs on which a scorer names the same winner as each measure of the truth, on "
        f"{len(data.prompts)} pairs of faulty renders of test captions, margins of all sizes (standard error about "
        f"{0.5 / len(data.prompts) ** 0.5:.3f} or less):",
        "",
        "| scorer | MB | utility | utility, margin > 0.1 | align | clean | sat | contrast |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in voters:
        size = f"{sizes[name]:.2f}" if name in sizes else ""
        cells = [
            _agree(choices[name], choices["utility"]),
            _agree(choices[name][large], choices["utility"][large]),
        ]
        cells += [_agree(choices[name], choices[t]) for t in ("align", "clean", "sat", "contrast")]
        lines.append(f"| {name} | {size} | " + " | ".join(f"{c:.3f}" for c in cells) + " |")
    lines += ["", "Agreement with one another, the same pairs:", "", "| | " + " | ".join(SCORERS) + " |"]
    lines.append("|---" * (len(SCORERS) + 1) + "|")
    for name in SCORERS:
        lines.append(
            f"| {name} | " + " | ".join(f"{_agree(choices[name], choices[o]):.3f}" for o in SCORERS) + " |"
        )
    return lines
