"""Metrics to TensorBoard, Weights & Biases and the rest, through accelerate's trackers.

They get what metrics.jsonl gets. A run that was killed and started again opens its tracker anew and logs the steps since
the saved state once more; metrics.jsonl alone has every step once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator, tracking

from prefbench.bench.exceptions import MissingDependencyError
from prefbench.bench.registry import unknown_name

__all__ = ["check_tracker", "finish_trackers", "start_trackers", "track"]

PROJECT = "prefbench"


def check_tracker(name: str | None) -> None:
    """See before training that the tracker exists and is installed.

    Raises:
        UsageError: accelerate knows no such tracker.
        MissingDependencyError: its package is not installed; accelerate would leave it out without a word.
    """
    if name is None:
        return
    known = [str(tracker) for tracker in tracking.LOGGER_TYPE_TO_CLASS]
    if name not in known:
        raise unknown_name("tracker for log_with", name, known)
    if name not in [str(getattr(t, "value", t)) for t in tracking.get_available_trackers()]:
        raise MissingDependencyError(
            f"log_with = {name}: the tracker's package is not installed. Run `pip install {name.replace('_', '-')}`, "
            "or leave log_with out: OUT/metrics.jsonl has every step."
        )


def start_trackers(accelerator: Accelerator, name: str | None, out: Path, config: Mapping[str, Any]) -> None:
    """Open the tracker; files of those that write locally go to OUT/prefbench.

    Args:
        accelerator: of the run; it logs on the main process alone.
        name: as in accelerate, such as "tensorboard" or "wandb"; None for none.
        out: the run's folder.
        config: settings to store beside the metrics.
    """
    if name is None:
        return
    accelerator.project_configuration.logging_dir = str(out)
    accelerator.log_with = tracking.filter_trackers([name], logging_dir=str(out))
    plain = (bool, int, float, str)
    accelerator.init_trackers(PROJECT, {k: v if isinstance(v, plain) else str(v) for k, v in config.items()})


def track(accelerator: Accelerator, metrics: Mapping[str, Any]) -> None:
    """One line of metrics.jsonl to the trackers; what is null is not sent."""
    values = {name: value for name, value in metrics.items() if name != "step" and value is not None}
    accelerator.log(values, step=metrics["step"])


def finish_trackers(accelerator: Accelerator) -> None:
    """Close them; `Accelerator.end_training` would end the process group as well."""
    for tracker in accelerator.trackers:
        tracker.finish()
