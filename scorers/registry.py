"""Scorers by name."""

from dataclasses import replace
from os import PathLike
from typing import Any, Protocol

from prefbench.bench.exceptions import MissingWeightsError, UsageError
from prefbench.bench.registry import Registry
from prefbench.scorers.backbones import backbone_of
from prefbench.scorers.protocol import Scorer

__all__ = ["HAVE_ORIGINALS", "REGISTRY", "TABLE", "UPSTREAM", "VARIANTS", "Loader", "load_scorer"]

# Name -> callable(name, *, weights, architecture, device, dtype) -> Scorer. A variant follows an "@" and is
# the loader's business, and so is what stands for the <...> of an open name ("@" included).
TABLE = {
    "pickscore": "prefbench.scorers.pickscore:load",
    "hpsv2.0": "prefbench.scorers.hpsv2:load",
    "hpsv2.1": "prefbench.scorers.hpsv2:load",
    "imagereward": "prefbench.scorers.imagereward:load",
    "aesthetic.v1": "prefbench.scorers.aesthetic:load",
    "aesthetic.v2": "prefbench.scorers.aesthetic:load",
    "clip:openai-vit-l-14:cos": "prefbench.scorers.clip:load",
    "clip:openai-vit-l-14:cos100": "prefbench.scorers.clip:load",
    "clip:openai-vit-b-32:clipscore": "prefbench.scorers.clip:load",
    "clip:vit-h-14-laion2b:letterbox": "prefbench.scorers.clip:load",
    "vqascore.clip-flant5-xl": "prefbench.scorers.vqascore:load",
    "vqascore.clip-flant5-xxl": "prefbench.scorers.vqascore:load",
    "vqascore.vlm:<hub id or folder>": "prefbench.scorers.vqascore_vlm:load",
    "mps": "prefbench.scorers.mps:load",
    "hpsv3": "prefbench.scorers.hpsv3:load",
    "judge:<url#model>": "prefbench.scorers.judge:load",
    "mini:pickscore": "prefbench.scorers.pickscore:load",
    "mini:hpsv2": "prefbench.scorers.hpsv2:load",
    "mini:imagereward": "prefbench.scorers.imagereward:load",
    "mini:clip": "prefbench.scorers.clip:load",
    "mini:aesthetic": "prefbench.scorers.aesthetic:load",
    "mini:truth": "prefbench.bench.miniature.truth:load",
}
HPSV2 = ("antialias", "legacy-noaa", "fp16", "legacy-noaa-fp16")
# What may follow the "@" of a name, the default first. Of a plug-in's names this is not known: its loader decides.
VARIANTS: dict[str, tuple[str, ...]] = {
    "hpsv2.0": HPSV2,
    "hpsv2.1": HPSV2,
    "mini:hpsv2": HPSV2,
    "hpsv3": ("fp32", "bf16"),
    "mps": ("t0.3", "t0.01"),
    "aesthetic.v1": ("vit-l-14", "vit-b-32", "vit-b-16"),
    "aesthetic.v2": ("vit-l-14",),
}
# The variant that means: computed by the original package, in a process of its own.
UPSTREAM = "upstream"
HAVE_ORIGINALS = (
    "pickscore",
    "hpsv2.0",
    "hpsv2.1",
    "imagereward",
    "vqascore.clip-flant5-xl",
    "vqascore.clip-flant5-xxl",
)


class Loader(Protocol):
    """What a name in the table, or an entry point of the group `prefbench.scorers`, resolves to."""

    def __call__(
        self,
        name: str,
        *,
        weights: str | PathLike[str] | None,
        architecture: dict[str, Any] | str | PathLike[str] | None,
        device: str,
        dtype: str,
    ) -> Scorer:
        """Load the scorer that `name` (variant included) asks for."""
        ...


REGISTRY: Registry[Loader] = Registry("scorer", TABLE, group="prefbench.scorers")


def load_scorer(
    name: str,
    *,
    weights: str | PathLike[str] | None = None,
    architecture: dict[str, Any] | str | PathLike[str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> Scorer:
    """A scorer ready to score.

    Args:
        name: of the table or of an installed plug-in, with an optional `@variant`: "hpsv2.1@legacy-noaa";
            "hpsv2.1@upstream" is the original package.
        weights: None for the published weights at their pinned revision, a file or folder, or a hub id.
        architecture: sizes that replace the published ones (dict or JSON file), so that a small model runs
            the same code.
        device: torch device.
        dtype: "float32", "float16" or "bfloat16" for the network; the final product or head is float32 in any
            case.

    Raises:
        UsageError: unknown name, variant or dtype, with the nearest known one.
        MissingWeightsError: weights that are absent, corrupt or do not fit.
    """
    base, _, variant = name.partition("@")
    loader = REGISTRY.get(base)
    if base in TABLE and variant.endswith(f"@{UPSTREAM}"):
        raise UsageError(
            f"Scorer {name!r}: the original package computes in one way only; leave out {variant.split('@')[0]!r} or "
            f"{UPSTREAM!r}."
        )
    if variant == UPSTREAM and base in TABLE:
        from prefbench.scorers.upstream.scorer import load as loader
    elif variant and base in TABLE and base not in VARIANTS:
        raise UsageError(f"Scorer {base!r} has no variants: leave out @{variant}.")
    try:
        scorer = loader(name, weights=weights, architecture=architecture, device=device, dtype=dtype)
        if (
            base in TABLE and architecture is None
        ):  # other sizes are another network, whose origin nobody said
            scorer.info = replace(scorer.info, backbone=backbone_of(name))
        return scorer
    except MissingWeightsError as error:
        if name in str(error):
            raise
        given = [
            f"{k} {v}" for k, v in (("weights", weights), ("architecture", architecture)) if v is not None
        ]
        source = f" ({', '.join(given)})" if given else ""
        raise MissingWeightsError(f"Scorer {name}{source}: {error}") from error
