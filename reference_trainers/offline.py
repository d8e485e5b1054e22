"""The loop for methods that learn from finished pairs.

It owns seeds, order of the data, accumulation, precision, clipping, the optimizer and its schedule, states,
metrics and the finished checkpoint; a method brings a loss and a step. Data order, timesteps and noise depend
on (seed, step) alone (see draws.py), so a run that was killed and started again makes the same steps as one
that was not.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.out_folder import check_out
from prefbench.bench.user_cache import cache_folder
from prefbench.bench.wording import count
from prefbench.reference_trainers.backbones.backbone import Backbone
from prefbench.reference_trainers.backbones.opening import is_local, open_backbone
from prefbench.reference_trainers.loop_config import LoopConfig
from prefbench.reference_trainers.preferences.decoding import check_images
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.opening import MINIATURE, MINIATURE_LISTS
from prefbench.reference_trainers.processes import process_state
from prefbench.reference_trainers.progress import ProgressReport, SilentProgress
from prefbench.reference_trainers.recipes import Recipe
from prefbench.reference_trainers.registry import load_method
from prefbench.reference_trainers.run_folder import RunFolder
from prefbench.reference_trainers.selection.composing import Composed, open_composed
from prefbench.reference_trainers.selection.stages import noted
from prefbench.reference_trainers.selection.summary import composition_card, summary_lines
from prefbench.reference_trainers.trackers import check_tracker, finish_trackers, start_trackers, track
from prefbench.reference_trainers.trained_unet import weights_sha256
from prefbench.reference_trainers.training_card import training_card
from prefbench.reference_trainers.training_steps import (
    OfflineRun,
    check_settings,
    prepare_run,
    training_steps,
)

__all__ = ["LoopConfig", "OfflineRun", "TrainingResult", "prepare_run", "train", "training_steps"]

RESULT_BLIND = frozenset(
    {
        "llm_url",
        "llm_concurrency",
        "llm_attempts",
        "llm_timeout_s",
        "checkpoint_every",
        "export_every",
        "image_folder",
        "keep_state",
        "log_with",
        "workers",
        "cache_dir",
    }
)
"""Settings that cannot change the result, so a resume may change them."""


@dataclass(frozen=True)
class TrainingResult:
    """What `train` did.

    Attributes:
        out: the checkpoint's folder.
        card: the training card, as in prefbench.json.
        resumed_from: steps that an earlier process had made; equal to all of them if the run was finished
            before.
        was_finished: whether there was nothing to do.
    """

    out: Path
    card: dict[str, Any]
    resumed_from: int
    was_finished: bool


def _deciding(config: Any) -> dict[str, Any]:
    values = dataclasses.asdict(config)
    return {name: str(v) if v == math.inf else v for name, v in values.items() if name not in RESULT_BLIND}


def _configuration(recipe: Recipe, pairs: PreferencePairs, unet_sha256: str) -> dict[str, Any]:
    """All that decides the result; two runs with the same are the same run."""
    return {
        "method": {"name": recipe.method, **_deciding(recipe.config)},
        "loop": {name: v for part in recipe.parts()[1:] for name, v in _deciding(part).items()},
        "data": {"sha256": pairs.sha256},
        "backbone": {"unet_sha256": unet_sha256},
    }


def _optimizer_state(run: OfflineRun) -> dict[str, Any]:
    scaler = run.accelerator.scaler
    return {"optimizer": run.optimizer.state_dict(), "scaler": scaler.state_dict() if scaler else {}}


def _restore(run: OfflineRun, folder: RunFolder, step: int) -> None:
    weights, state, moving = folder.load_state(step)
    trainable = run.trained.trainable()
    fits = weights.keys() == trainable.keys()
    try:
        run.trained.load_moving_state(moving)
    except KeyError:
        fits = False
    if not fits:
        raise DataError(
            f"The state of step {step} in {folder.out} does not fit this network. Delete the folder."
        )
    with torch.no_grad():
        for name, value in weights.items():
            trainable[name].copy_(value)
    run.optimizer.load_state_dict(state["optimizer"])
    if run.accelerator.scaler is not None:
        run.accelerator.scaler.load_state_dict(state["scaler"])


def _steps_to_the_end(
    run: OfflineRun, folder: RunFolder, write: Callable[[Path], None], progress: ProgressReport
) -> tuple[int, Mapping[str, Any]]:
    """Resume, train, save states, exports and metrics; returns (steps done before, metrics of the last step)."""
    main, export_every = run.accelerator.is_main_process, run.loop.export_every
    if main:
        folder.resume()
    run.accelerator.wait_for_everyone()
    done = folder.steps_done()
    if done:
        _restore(run, folder, done)
        progress.note(f"Going on after step {done} of {run.loop.steps}.")
    start_trackers(run.accelerator, run.loop.log_with, folder.out, folder.flat_config())
    progress.start(done, run.loop.steps)
    try:
        for metrics in training_steps(run, done):
            if main:
                folder.log(metrics)
                track(run.accelerator, metrics)
                progress.step(metrics)
                if metrics["step"] % run.loop.checkpoint_every == 0 or metrics["step"] == run.loop.steps:
                    folder.save_state(
                        metrics["step"],
                        run.trained.trainable(),
                        _optimizer_state(run),
                        run.trained.moving_state(),
                    )
                # The last step's is OUT itself.
                if export_every and metrics["step"] % export_every == 0 and metrics["step"] < run.loop.steps:
                    folder.export(metrics["step"], write)
    finally:
        progress.stop()
        finish_trackers(run.accelerator)
    return done, folder.last_metrics()


def _composed(recipe: Recipe, data: str, progress: ProgressReport) -> Composed:
    """Scores, labels, flips and selection; the first process computes what the others then find on disk."""
    state = process_state()
    method = load_method(recipe.method)
    if method.unit == "ranking" and data == MINIATURE:
        data = MINIATURE_LISTS
    with state.main_process_first():
        return open_composed(
            data,
            recipe.data,
            recipe.composition,
            wanted=method.scorers(recipe.config),
            cache_dir=cache_folder(recipe.data.cache_dir),
            stages=noted(progress.note),
            device=str(state.device),
        )


def train(
    recipe: Recipe, *, backbone: str, data: str, out: Path, progress: ProgressReport | None = None
) -> TrainingResult:
    """Train a method, or go on with an unfinished run of the same configuration, or find that it is finished.

    Args:
        recipe: from `resolve_recipe`.
        backbone: "miniature", a pipeline folder or a hub id.
        data: "miniature", a manifest, or Pick-a-Pic style Parquet.
        out: the run's folder; at the end it is the checkpoint, which plain diffusers loads.
        progress: what to tell a person; nothing if None.

    Raises:
        UsageError: `out` holds something else, or settings do not fit together.
        DataError: data that cannot be used; a loss that is not finite.
        MissingWeightsError: the backbone cannot be loaded.
        LedgerError: another process trains into `out`, or the disk is full.
    """
    main = process_state().is_main_process
    if progress is None or not main:
        progress = SilentProgress()
    check_tracker(recipe.loop.log_with)
    is_local(backbone)  # a wrong name or folder is the first thing to hear of
    check_settings(recipe)
    if main:
        check_out(out)
    composed = _composed(recipe, data, progress)
    opened = open_backbone(backbone)
    resolution = _resolution(recipe, opened)
    unet_sha256 = weights_sha256(opened.unet)
    folder = RunFolder(out, _configuration(recipe, composed.pairs, unet_sha256))
    card = folder.finished_card()
    if card is not None:
        return TrainingResult(out, card, resumed_from=recipe.loop.steps, was_finished=True)
    process_state().wait_for_everyone()  # all have looked at the folder before one writes into it
    with folder.held() if main else contextlib.nullcontext():
        return _train_into(folder, recipe, composed, opened, unet_sha256, resolution, progress)


def _resolution(recipe: Recipe, backbone: Backbone) -> int:
    """Side in pixels."""
    resolution = recipe.data.resolution or backbone.resolution
    cell = backbone.resolution // int(backbone.unet.config.sample_size)
    if resolution < cell:
        raise UsageError(
            f"resolution = {resolution}: one number of the latents of {backbone.spec} stands for {cell} x {cell} pixels, "
            f"so nothing would be left. Give a multiple of {cell}; its own is {backbone.resolution}."
        )
    return resolution


def _train_into(
    folder: RunFolder,
    recipe: Recipe,
    composed: Composed,
    opened: Backbone,
    unet_sha256: str,
    resolution: int,
    progress: ProgressReport,
) -> TrainingResult:
    """All that is done while the folder is held."""
    pairs = composed.pairs
    if counted := pairs.counts.sentence():
        progress.note(counted)
    composition = composition_card(composed, recipe.composition)
    for line in summary_lines(composition):
        progress.note(line)
    if recipe.data.cache:
        met = min(len(pairs), recipe.loop.steps * recipe.loop.batch)
        progress.note(f"Encoding {count(met, 'pair')} once, before training.")
    run = prepare_run(recipe, opened, pairs)
    if not recipe.data.cache and not folder.steps_done():
        _check_images(run, pairs, progress)
    save = opened.save_pipeline if recipe.loop.lora_rank is None else opened.save_lora

    def write(work: Path) -> None:
        save(run.accelerator.unwrap_model(run.model), work)

    done, last = _steps_to_the_end(run, folder, write, progress)
    card = training_card(
        recipe,
        run.method,
        opened,
        pairs,
        rows=run.rows,
        resolution=resolution,
        unet_sha256=unet_sha256,
        processes=run.accelerator.num_processes,
        device=run.accelerator.device.type,
        last=dict(last),
    ) | {"composition": composition}
    if run.accelerator.is_main_process:
        folder.finish(write, card, keep_state=recipe.loop.keep_state)
    run.accelerator.wait_for_everyone()
    return TrainingResult(folder.out, card, resumed_from=done, was_finished=False)


def _check_images(run: OfflineRun, pairs: PreferencePairs, progress: ProgressReport) -> None:
    """Decode what the run will meet, shared out among the processes. A cache does so by encoding it."""
    images = run.feed.images(run.order.met())
    own = images[run.accelerator.process_index :: run.accelerator.num_processes]
    check_images(pairs, own, noted(progress.note))
