"""The loop for methods that learn from finished pairs.

It owns seeds, order of the data, accumulation, precision, clipping, the optimizer and its schedule, states,
metrics and the finished checkpoint; a method brings a loss and a step. Data order, timesteps and noise depend
on (seed, step) alone (see draws.py), so a run that was killed and started again makes the same steps as one
that was not.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.backbones.backbone import Backbone
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.draws import micro_batches
from prefbench.reference_trainers.loop_config import ADAM_EPSILON, LoopConfig, learning_rate
from prefbench.reference_trainers.method import Method, Nets
from prefbench.reference_trainers.pair_feed import PairFeed
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.opening import open_preferences
from prefbench.reference_trainers.progress import ProgressReport, SilentProgress
from prefbench.reference_trainers.recipes import Recipe
from prefbench.reference_trainers.registry import load_method
from prefbench.reference_trainers.run_folder import RunFolder
from prefbench.reference_trainers.trained_unet import TrainedUnet, weights_sha256
from prefbench.reference_trainers.training_card import training_card

__all__ = ["LoopConfig", "OfflineRun", "TrainingResult", "prepare_run", "train", "training_steps"]

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
RESULT_BLIND = frozenset({"checkpoint_every", "keep_state", "workers"})
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


@dataclass(frozen=True)
class OfflineRun:
    """Everything that a step needs."""

    method: Method
    config: Any
    loop: LoopConfig
    accelerator: Accelerator
    model: Any
    trained: TrainedUnet
    optimizer: Any
    nets: Nets
    feed: PairFeed
    rows: int


def _accelerator(precision: str) -> Accelerator:
    # accelerate keeps the first precision of a process for ever; a demo trains several times in one process.
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(mixed_precision="no" if precision == "fp32" else precision)
    except ValueError as error:
        raise UsageError(
            f"precision = {precision}: {error}. Set precision=fp32, or bf16 where supported."
        ) from None
    if precision == "fp16" and accelerator.scaler is None:
        raise UsageError(
            f"precision = fp16 on {accelerator.device.type}: gradients would not be scaled and would vanish. Set "
            "precision=bf16 or fp32, or train on a GPU."
        )
    return accelerator


def prepare_run(recipe: Recipe, backbone: Backbone, pairs: PreferencePairs) -> OfflineRun:
    """Networks, optimizer and data of a run, before its first step."""
    method, loop = load_method(recipe.method), recipe.loop
    accelerator = _accelerator(loop.precision)
    device, dtype = accelerator.device, DTYPES[loop.precision]
    backbone.to(device, dtype)
    trained = TrainedUnet(backbone, loop, device=device, dtype=dtype, needs_reference=method.needs_reference)
    optimizer = torch.optim.AdamW(
        trained.trainable().values(),
        lr=loop.lr,
        betas=(loop.beta1, loop.beta2),
        eps=ADAM_EPSILON,
        weight_decay=loop.weight_decay,
    )
    rows = method.prepare(pairs)
    feed = PairFeed(
        backbone, pairs, rows, recipe.data, seed=loop.seed, device=device, uses_loser=method.uses_loser
    )
    model, optimizer = accelerator.prepare(trained.unet, optimizer)
    return OfflineRun(
        method=method,
        config=recipe.config,
        loop=loop,
        accelerator=accelerator,
        model=model,
        trained=trained,
        optimizer=optimizer,
        nets=trained.nets(model, accelerator.autocast),
        feed=feed,
        rows=len(rows),
    )


def _scalars(result: PairLoss, loss: Tensor) -> dict[str, Tensor]:
    values = {"loss": loss.detach()}
    if result.logit is not None:
        # Equal preference counts half: at the first step policy and reference are the same.
        values["implicit_accuracy"] = ((result.logit > 0) + 0.5 * (result.logit == 0)).float().mean()
    return values | result.log


def _mean_scalars(run: OfflineRun, passes: list[dict[str, Tensor]]) -> dict[str, float]:
    """Means over micro-batches and processes, in one transfer from the device."""
    names = list(passes[0])
    stacked = torch.stack([torch.stack([values[name].float() for name in names]) for values in passes]).mean(
        dim=0
    )
    return dict(zip(names, run.accelerator.reduce(stacked, reduction="mean").tolist(), strict=True))


def _diverged(step: int, what: str, value: float) -> DataError:
    return DataError(
        f"Step {step}: the {what} is {value}. Training stopped before this step changed any weight, and the "
        "last saved state is kept. Lower lr or raise warm_up (a resume needs the same settings: give another "
        "--out); with precision=fp16 try bf16 or fp32; or look for images and latents that are not finite."
    )


def _update(run: OfflineRun, step: int, loss: float) -> float | None:
    """Clip and step; the gradient's norm, or None where fp16 overflowed and the step was left out."""
    if not math.isfinite(loss):
        raise _diverged(step + 1, "loss", loss)
    norm = float(run.accelerator.clip_grad_norm_(run.trained.trainable().values(), run.loop.clip))
    if not math.isfinite(norm) and run.accelerator.scaler is None:
        raise _diverged(step + 1, "norm of the gradient", norm)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(run.loop, step)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return norm if math.isfinite(norm) else None


def training_steps(run: OfflineRun, first_step: int = 0) -> Iterator[dict[str, Any]]:
    """Make the optimizer steps from `first_step` on; yields the line of metrics.jsonl after each.

    Raises:
        DataError: the loss or the gradient is not finite; raised before the optimizer steps.
    """
    accelerator, loop = run.accelerator, run.loop
    micro_batch = loop.micro_batch_for(accelerator.num_processes)
    passes_per_step = loop.batch // (micro_batch * accelerator.num_processes)
    plan = micro_batches(
        seed=loop.seed,
        count=run.rows,
        batch=loop.batch,
        micro_batch=micro_batch,
        first_step=first_step,
        steps=loop.steps,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    passes: list[dict[str, Tensor]] = []
    started = time.perf_counter()
    for micro, batch, draws in run.feed.stream(plan):
        with contextlib.nullcontext() if micro.last else accelerator.no_sync(run.model):
            result = run.method.step(run.nets, batch, draws, run.config)
            loss = result.per_pair.mean()
            passes.append(_scalars(result, loss))
            accelerator.backward(loss / passes_per_step)
        if not micro.last:
            continue
        means = _mean_scalars(run, passes)
        norm = _update(run, micro.step, means["loss"])
        passes.clear()
        now = time.perf_counter()
        yield {
            "step": micro.step + 1,
            "loss": means.pop("loss"),
            "implicit_accuracy": means.pop("implicit_accuracy", None),
            "grad_norm": norm,
            "lr": learning_rate(loop, micro.step),
            "step_s": round(now - started, 6),
            **means,
        }
        started = time.perf_counter()


def _deciding(config: Any) -> dict[str, Any]:
    values = dataclasses.asdict(config)
    return {name: str(v) if v == math.inf else v for name, v in values.items() if name not in RESULT_BLIND}


def _configuration(recipe: Recipe, pairs: PreferencePairs, unet_sha256: str) -> dict[str, Any]:
    """All that decides the result; two runs with the same are the same run."""
    return {
        "method": {"name": recipe.method, **_deciding(recipe.config)},
        "loop": {**_deciding(recipe.loop), **_deciding(recipe.data)},
        "data": {"sha256": pairs.sha256},
        "backbone": {"unet_sha256": unet_sha256},
    }


def _optimizer_state(run: OfflineRun) -> dict[str, Any]:
    scaler = run.accelerator.scaler
    return {"optimizer": run.optimizer.state_dict(), "scaler": scaler.state_dict() if scaler else {}}


def _restore(run: OfflineRun, folder: RunFolder, step: int) -> None:
    weights, state = folder.load_state(step)
    trainable = run.trained.trainable()
    if weights.keys() != trainable.keys():
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
    run: OfflineRun, folder: RunFolder, progress: ProgressReport
) -> tuple[int, Mapping[str, Any]]:
    """Resume, train, save states and metrics; returns (steps done before, metrics of the last step)."""
    main = run.accelerator.is_main_process
    if main:
        folder.resume()
    run.accelerator.wait_for_everyone()
    done = folder.steps_done()
    if done:
        _restore(run, folder, done)
        progress.note(f"Going on after step {done} of {run.loop.steps}.")
    progress.start(done, run.loop.steps)
    try:
        for metrics in training_steps(run, done):
            if main:
                folder.log(metrics)
                progress.step(metrics)
                if metrics["step"] % run.loop.checkpoint_every == 0 or metrics["step"] == run.loop.steps:
                    folder.save_state(metrics["step"], run.trained.trainable(), _optimizer_state(run))
    finally:
        progress.stop()
    return done, folder.last_metrics()


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
    """
    progress = progress or SilentProgress()
    pairs = open_preferences(data, recipe.data)
    opened = open_backbone(backbone)
    unet_sha256 = weights_sha256(opened.unet)
    folder = RunFolder(out, _configuration(recipe, pairs, unet_sha256))
    card = folder.finished_card()
    if card is not None:
        return TrainingResult(out, card, resumed_from=recipe.loop.steps, was_finished=True)
    if recipe.data.cache:
        progress.note(f"Encoding {len(pairs)} pairs once, before training.")
    run = prepare_run(recipe, opened, pairs)
    if not run.accelerator.is_main_process:
        progress = SilentProgress()
    done, last = _steps_to_the_end(run, folder, progress)
    card = training_card(
        recipe,
        run.method,
        opened,
        pairs,
        rows=run.rows,
        resolution=recipe.data.resolution or opened.resolution,
        unet_sha256=unet_sha256,
        processes=run.accelerator.num_processes,
        device=run.accelerator.device.type,
        last=dict(last),
    )
    if run.accelerator.is_main_process:
        unet = run.accelerator.unwrap_model(run.model)
        save = opened.save_pipeline if recipe.loop.lora_rank is None else opened.save_lora
        folder.finish(lambda work: save(unet, work), card, keep_state=recipe.loop.keep_state)
    run.accelerator.wait_for_everyone()
    return TrainingResult(out, card, resumed_from=done, was_finished=False)
