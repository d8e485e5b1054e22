"""t2v-metrics 3.0 as a process: VQAScore with CLIP-FlanT5. Scores come from its own `VQAScore`, in float32.

Settings: `model` (clip-flant5-xl or -xxl), `device`. Weights, tokenizer and vision tower come from the hub's cache, which
the parent lays out: the package knows them by the names of their repositories only.

Upstream casts the weights to bfloat16 and runs under CUDA autocast, which on a CPU fails on mixed types. Here the
weights are cast back to float32 once they are loaded, so they have been through bfloat16: weights that are exact in
bfloat16 pass unchanged.
"""

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from imports import empty_module, package_without_init
from wire import ScoreMany, serve


def open_t2v_metrics(settings: dict[str, Any]) -> ScoreMany:
    """CLIP-FlanT5 of the package, without its video tools and its twenty other model families."""
    spec = importlib.util.find_spec("t2v_metrics")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    package_without_init("t2v_metrics", root)
    package_without_init("t2v_metrics.models", root / "models")
    families = package_without_init("t2v_metrics.models.vqascore_models", root / "models" / "vqascore_models")
    import transformers  # noqa: F401  (first: it would take the empty cv2 for the real one)

    empty_module("cv2")
    flan = importlib.import_module("t2v_metrics.models.vqascore_models.clip_t5_model")
    families.list_all_vqascore_models = lambda: list(flan.CLIP_T5_MODELS)
    families.get_vqascore_model = lambda name, device, **rest: flan.CLIPT5Model(name, device=device, **rest)
    vqascore = importlib.import_module("t2v_metrics.vqascore")
    cache = os.environ["HF_HUB_CACHE"]  # else it makes a folder in the working directory
    scorer = vqascore.VQAScore(model=settings["model"], device=settings["device"], cache_dir=cache)
    scorer.model.model.float()

    def score(paths: list[str], prompt: str) -> list[float]:
        return [float(row[0]) for row in scorer(images=paths, texts=[prompt])]

    return score


if __name__ == "__main__":
    serve(open_t2v_metrics, ("t2v-metrics", "torch", "transformers", "pillow"))
