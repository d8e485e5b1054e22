"""The worker's end of the wire: JSON lines on what was standard output, everything that a package prints goes to stderr.

Parent to worker: argv[1] is the settings, JSON; then a line a request, {"id": 7, "images": [paths], "prompts": [texts]}.
Worker to parent: first {"ready": {package: version}} or {"failed": why}; then {"id": 7, "results": [...]}, where a result
is a score, or {"error": why} for a pair that the original could not score.
"""

import importlib.metadata
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["ScoreMany", "make_loud", "serve"]

GAIN = 3.0
"""A freshly initialised transformer hardly reacts to its input; with weights three times as large it does."""

ScoreMany = Callable[[list[str], str], list[float]]
"""(paths, one prompt) -> a score a path, as the original computes them."""


def make_loud(network: Any) -> Any:
    """Multiply every weight of two or more dimensions of a torch module, in place."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(GAIN)
    return network


def serve(open_original: Callable[[dict[str, Any]], ScoreMany | None], packages: Sequence[str]) -> None:
    """Answer requests until the parent closes the pipe.

    Args:
        open_original: settings -> how the original scores; None where the settings asked for weights to be made only.
        packages: whose versions the first line states.
    """
    wire = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    try:
        score = open_original(json.loads(sys.argv[1]))
    except Exception as error:
        print(json.dumps({"failed": _reason(error)}), file=wire)
        raise
    versions = {package: importlib.metadata.version(package) for package in packages}
    print(json.dumps({"ready": versions}), file=wire)
    if score is None:
        return
    for line in sys.stdin:
        request = json.loads(line)
        results = _score_all(score, request["images"], request["prompts"])
        print(json.dumps({"id": request["id"], "results": results}, allow_nan=False), file=wire)


def _score_all(score: ScoreMany, images: list[str], prompts: list[str]) -> list[Any]:
    """Results of N pairs; the images of one prompt go to the original together, where they stand together."""
    results: list[Any] = []
    while len(results) < len(images):
        start = len(results)
        stop = start
        while stop < len(images) and prompts[stop] == prompts[start]:
            stop += 1
        results += _score_prompt(score, images[start:stop], prompts[start])
    return results


def _score_prompt(score: ScoreMany, images: list[str], prompt: str) -> list[Any]:
    try:
        return [_as_json(value) for value in score(images, prompt)]
    except Exception as error:
        if len(images) > 1:  # one image has spoilt the whole list: find out which
            return [result for image in images for result in _score_prompt(score, [image], prompt)]
        return [{"error": _reason(error)}]


def _as_json(value: Any) -> Any:
    """The double of the original's number (JSON knows no others), or an error where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else {"error": f"the score is {number}"}


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:400]}"
