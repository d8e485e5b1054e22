"""How steady a training is: the spread of its reward over its last steps, and over training seeds.

A selection that keeps few pairs goes through them many times, so its paper's claim is about more than where it ends.
Traced arms keep checkpoints on the way (`export_every`), and those of the last two fifths of the steps, the last one among
them, draw the same prompts with the same noise. So a spread over steps is of the training and not of prompts or noise.

    spread over steps   standard deviation (n - 1) of the mean reward over these checkpoints, averaged over seeds
    spread over seeds   standard deviation (n - 1) over seeds of the mean reward of the last checkpoint

How many checkpoints and prompts is ours. The miniature recipe lowers its learning rate to zero, which calms the last steps
of every arm alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from prefbench.bench.suite import Suite, with_limit

__all__ = ["PROMPTS", "draw_trace", "export_every", "spreads", "traced_steps"]

PARTS, FOLLOWED = 10, 5
"""A training is cut into so many parts; the checkpoints at the ends of the last of them are drawn."""
PROMPTS = 50
"""So many of the reporting prompts, evenly spread: a mean that moves by the training alone needs no more."""
BASE = "base"


def export_every(steps: int) -> int:
    """Steps between the checkpoints that a traced training keeps."""
    return max(1, steps // PARTS)


def traced_steps(steps: int) -> list[int]:
    """The checkpoints that are drawn, the last step's among them.

    >>> traced_steps(120), traced_steps(3)
    ([72, 84, 96, 108, 120], [1, 2, 3])
    """
    every = export_every(steps)
    kept = [step for step in range(every, steps, every)]
    return [*kept[-(FOLLOWED - 1) :], steps]


def draw_trace(suite: Suite, checkpoint: Path, steps: int, out: Path, batch_size: int) -> None:
    """Draw and score the base and the kept checkpoints of a finished training into the run folder `out`."""
    from prefbench.bench.run import score_suite
    from prefbench.reference_trainers.run_folder import export_folder

    # The base as well: fewer prompts need not be among those on which it was drawn before.
    specs = {BASE: "miniature"} | {
        _name(step): str(checkpoint if step == steps else export_folder(checkpoint, step))
        for step in traced_steps(steps)
    }
    fewer = with_limit(suite, min(PROMPTS, suite.limit or PROMPTS))
    score_suite(fewer, specs, out, device="cpu", batch_size=batch_size)


def _name(step: int) -> str:
    return f"step-{step}"


def spreads(traces: Mapping[int, pd.DataFrame], steps: int, judges: Sequence[str]) -> dict[str, Any]:
    """What reproduce.json says of one arm.

    Args:
        traces: training seed -> scores table of the base and the kept checkpoints; of the seeds that did not diverge.
        steps: of a training.
        judges: scorers.

    Returns:
        {"steps", "prompts", "judges": {scorer: {"means": {seed: [mean of each step]}, "base": mean on the same prompts,
        "over_steps", "over_seeds": None where there are fewer than two}}}.
    """
    met, any_trace = traced_steps(steps), next(iter(traces.values()))
    found: dict[str, Any] = {}
    for judge in judges:
        means = {str(seed): _means(table, judge, map(_name, met)) for seed, table in traces.items()}
        ends = [values[-1] for values in means.values()]
        found[judge] = {
            "means": means,
            "base": _means(any_trace, judge, [BASE])[0],
            "over_steps": mean(stdev(values) for values in means.values()) if len(met) > 1 else None,
            "over_seeds": stdev(ends) if len(ends) > 1 else None,
        }
    return {"steps": met, "prompts": any_trace["prompt_id"].nunique(), "judges": found}


def _means(table: pd.DataFrame, judge: str, checkpoints: Iterable[str]) -> list[float]:
    by_checkpoint = table[table["scorer"] == judge].groupby("checkpoint")["score"].mean()
    return [float(by_checkpoint[name]) for name in checkpoints]
