"""Scores of the shown images: each different image once by each scorer, kept on disk, so that a killed command goes on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from prefbench.bench.device import release_memory
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.judges.choices import HumanChoices
from prefbench.bench.progress import Advance, Stages, silent
from prefbench.bench.store.keys import pixels_sha256, score_key
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.bench.wording import count
from prefbench.reference_trainers.preferences.opening import is_miniature
from prefbench.scorers.protocol import ChecksPrompts, MayFail, Scorer
from prefbench.scorers.registry import load_scorer

__all__ = ["LOGITS", "JudgedScores", "recorded_scores", "score_images", "shown_images", "without_gaps"]

Floats = npt.NDArray[np.float64]

CHUNK = 32
"""Images read, scored and kept together."""
TRUTH = "mini:truth"
"""The scorer that knows proper captions of the miniature world only."""
LOGITS = "logit-scaled cosine"
"""How the scale of a scorer begins whose softmax over two images is a preference."""


@dataclass(frozen=True)
class JudgedScores:
    """One scorer's scores of all shown images.

    Attributes:
        name: of the scorer or column.
        values: (S,) float64, turned so that higher is better.
        info: what is known of it, for results.json.
        logits: whether a softmax over two of its scores is a preference.
    """

    name: str
    values: Floats
    info: Mapping[str, Any]
    logits: bool = False


def recorded_scores(choices: HumanChoices, columns: Sequence[tuple[str, bool]]) -> list[JudgedScores]:
    """Scores that stand beside the choices; `columns` are (name, whether higher is better)."""
    return [
        JudgedScores(
            name,
            choices.recorded[name] if higher else -choices.recorded[name],
            {"name": name, "recorded_in": choices.source, "direction": "higher" if higher else "lower"},
        )
        for name, higher in columns
    ]


def without_gaps(choices: HumanChoices, scorers: Sequence[JudgedScores]) -> HumanChoices:
    """The choices without images for which one of the scorers has no score: all are judged on the same pairs."""
    shown = np.unique(choices.pairs)
    for scorer in scorers:
        gaps = shown[np.isnan(scorer.values[shown])]
        if len(gaps):
            choices = choices.without(gaps, f"pairs in which {scorer.name} has no score")
            shown = np.unique(choices.pairs)
    return choices


def shown_images(choices: HumanChoices) -> dict[tuple[str, str], list[int]]:
    """(prompt, image) -> places where it is shown, of the places that are in a pair."""
    found: dict[tuple[str, str], list[int]] = {}
    for place in np.unique(choices.pairs).tolist():
        found.setdefault((choices.prompts[place], choices.names[place]), []).append(place)
    return found


def score_images(
    choices: HumanChoices,
    names: Sequence[str],
    cache: MeasureCache,
    *,
    weights: Mapping[str, str] | None = None,
    architectures: Mapping[str, str] | None = None,
    device: str = "cpu",
    stages: Stages = silent,
) -> list[JudgedScores]:
    """Scores by every scorer of `names`, one scorer in memory at a time.

    Args:
        choices: with images.
        names: scorers as `load_scorer` knows them.
        cache: kept scores, by pixels x prompt x fingerprint; written after every `CHUNK` images.
        weights: scorer -> path of local weights.
        architectures: scorer -> JSON file of sizes.
        device: torch device.
        stages: told how far it is.

    Raises:
        UsageError, MissingWeightsError: an unknown scorer or absent weights, before anything is scored.
        DataError: a prompt that a scorer cannot score (before anything is scored), an image that cannot be decoded, or
            a score that is not finite.
    """
    images = shown_images(choices)
    prompts = list(dict.fromkeys(prompt for prompt, _ in images))

    def load(name: str) -> Scorer:
        scorer = load_scorer(
            name,
            weights=(weights or {}).get(name),
            architecture=(architectures or {}).get(name),
            device=device,
        )
        if isinstance(scorer, ChecksPrompts):
            _check_prompts(scorer, name, prompts, choices.source)
        return scorer

    for name in names if len(names) > 1 else ():  # missing weights of the last one must not show after hours
        load(name)
        release_memory(device)
    found = []
    pixels: dict[int, str] = {}
    for name in names:
        scorer = load(name)
        reasons: dict[int, str] = {}
        with stages(name, len(images), "images") as advance:
            values = _score_all(scorer, name, choices, list(images.values()), pixels, cache, reasons, advance)
        failed = Counter(reasons.values())
        info = scorer.info
        cut = None if info.prompt_blind else int(scorer.truncated(prompts).sum())
        described = {
            **info.as_dict(),
            "name": name,
            "truncated_prompts": cut,
            "failed": dict(failed.most_common()),
        }
        oriented = values if info.direction == "higher" else -values
        found.append(JudgedScores(name, oriented, described, logits=info.scale.startswith(LOGITS)))
        del scorer
        release_memory(device)
    return found


def _score_all(
    scorer: Scorer,
    name: str,
    choices: HumanChoices,
    shown: Sequence[list[int]],
    pixels: dict[int, str],
    cache: MeasureCache,
    reasons: dict[int, str],
    advance: Advance,
) -> Floats:
    """(S,) scores; NaN at places that are in no pair, and where a scorer that may fail did.

    `shown` lists the places of each different image; `reasons` gets (place -> why) of those that failed.
    """
    values = np.full(len(choices.prompts), np.nan)
    for start in range(0, len(shown), CHUNK):
        part = shown[start : start + CHUNK]
        scores = _score_chunk(scorer, name, choices, [places[0] for places in part], pixels, cache, reasons)
        for places, score in zip(part, scores, strict=True):
            values[places] = score
        advance(len(part))
    return values


def _check_prompts(scorer: ChecksPrompts, name: str, prompts: Sequence[str], source: str) -> None:
    try:
        scorer.check_prompts(prompts)
    except DataError as error:
        bad = [prompt for prompt in prompts if not _can_score(scorer, prompt)]
        share = f"{len(bad):,} of {count(len(prompts), 'prompt')}"
        if is_miniature(source) and name == TRUTH:
            raise DataError(
                f"{source}: {share} ask for no scene, such as {bad[0]!r}. They are there on purpose, as in any crowd's prompts, "
                f"and {name} has no score for them. Leave out --scorer {name}, or judge miniature:50x4 (50 prompts, four images "
                "of each), where every prompt asks for a scene; nothing was scored."
            ) from error
        raise DataError(
            f"{source}: {name} cannot score {share}. {error} Leave out --scorer {name}, or the rows with such prompts; "
            "nothing was scored."
        ) from error


def _can_score(scorer: ChecksPrompts, prompt: str) -> bool:
    try:
        scorer.check_prompts([prompt])
    except DataError:
        return False
    return True


def _score_chunk(
    scorer: Scorer,
    name: str,
    choices: HumanChoices,
    places: Sequence[int],
    pixels: dict[int, str],
    cache: MeasureCache,
    reasons: dict[int, str],
) -> list[float]:
    """Scores of the images at `places`, in order, NaN for those that failed; what is not in the cache is scored and put there."""
    opened = {place: _read(choices, place) for place in places if place not in pixels}
    pixels.update({place: pixels_sha256(image) for place, image in opened.items()})
    prompts = {place: choices.prompts[place] for place in places}
    keys = [score_key(pixels[place], prompts[place], scorer.info.fingerprint) for place in places]
    known = cache.get(keys)
    missing = {key: place for key, place in zip(keys, places, strict=True) if key not in known}
    if missing:
        wanted = [opened.get(place) or _read(choices, place) for place in missing.values()]
        texts = [prompts[place] for place in missing.values()]
        if isinstance(scorer, MayFail):
            places_of = list(missing)
            scores, why = scorer.score_or_reason(
                wanted, texts, keep=lambda k, score: cache.put({places_of[k]: score})
            )
            reasons.update({place: r for place, r in zip(missing.values(), why, strict=True) if r})
        else:
            scores = np.asarray(scorer.score(wanted, texts))
        for place, image, score in zip(missing.values(), wanted, scores, strict=True):
            if place not in reasons and not np.isfinite(score):
                raise DataError(
                    f"{choices.source}: the scorer {name} gave {score} for {image.filename}. A score must be finite: "  # type: ignore[attr-defined]
                    "look at the image and the weights, or leave the scorer out."
                )
        fresh = dict(zip(missing, map(float, scores), strict=True))
        cache.put({key: score for key, score in fresh.items() if missing[key] not in reasons})
        known |= fresh
    return [float(known[key]) for key in keys]


def _read(choices: HumanChoices, place: int) -> Image.Image:
    if choices.read is None:
        raise UsageError(f"{choices.source} was opened without its images.")
    image = choices.read(place)
    image.filename = f"{choices.names[place]} ({choices.source})"  # type: ignore[attr-defined]
    return image
