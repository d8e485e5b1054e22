"""The optimizer steps of the offline loop: networks and data of a run, passes, clipping, the update.

Data order, timesteps and noise depend on (seed, step) alone (see draws.py), so the steps from any step on are those
that an uninterrupted run makes.
"""

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from prefbench.bench.exceptions import DivergedError, UsageError
from prefbench.reference_trainers.backbones.backbone import Backbone
from prefbench.reference_trainers.data_order import DataOrder, OrderContext
from prefbench.reference_trainers.draws import Draws, MicroBatch, micro_batches
from prefbench.reference_trainers.loop_config import ADAM_EPSILON, LoopConfig, learning_rate
from prefbench.reference_trainers.method import ImageBatch, Method, Nets, PairBatch, RankBatch
from prefbench.reference_trainers.pair_feed import PairFeed
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.single_images import single_images
from prefbench.reference_trainers.recipes import Recipe
from prefbench.reference_trainers.reference_policy import prediction_divergence
from prefbench.reference_trainers.registry import load_method
from prefbench.reference_trainers.trained_unet import TrainedUnet

__all__ = ["OfflineRun", "check_settings", "prepare_run", "training_steps"]

AnyBatch = PairBatch | ImageBatch | RankBatch
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


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
    order: DataOrder
    reference_cap: float | None = None


def _accelerator(recipe: Recipe) -> Accelerator:
    precision = recipe.loop.precision
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
            f"precision = fp16 on {accelerator.device.type}: gradients would not be scaled and would vanish. fp16 is "
            f"what {recipe.sources['precision']} says (recipe {recipe.name!r}); change it by --precision fp32 (or bf16), "
            "or train on a GPU."
        )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise UsageError(
            f"{launched} processes were launched, and accelerate sees {accelerator.num_processes}: each would train "
            "alone and write the same files. On CPUs set ACCELERATE_USE_CPU=true."
        )
    return accelerator


def check_settings(recipe: Recipe) -> None:
    """What this machine and its processes cannot do, known before data and networks are opened.

    Raises:
        UsageError: a precision that the device lacks, or a batch that cannot be shared out.
    """
    recipe.loop.micro_batch_for(_accelerator(recipe).num_processes)


def prepare_run(recipe: Recipe, backbone: Backbone, pairs: PreferencePairs) -> OfflineRun:
    """Networks, optimizer and data of a run, before its first step."""
    method, loop = load_method(recipe.method), recipe.loop
    accelerator = _accelerator(recipe)
    device, dtype = accelerator.device, DTYPES[loop.precision]
    backbone.to(device, dtype)
    trained = TrainedUnet(
        backbone,
        loop,
        device=device,
        dtype=dtype,
        needs_reference=method.needs_reference,
        rule=recipe.reference.rule,
        shadow_decays=method.shadow_decays(recipe.config),
        taught=method.teaching is not None,
    )
    optimizer = torch.optim.AdamW(
        trained.trainable().values(),
        lr=loop.lr,
        betas=(loop.beta1, loop.beta2),
        eps=ADAM_EPSILON,
        weight_decay=loop.weight_decay,
    )
    rows = method.prepare(pairs)
    images = single_images(pairs, rows) if method.unit == "image" else None
    lists = None if method.lists is None else method.lists(pairs, rows, recipe.config)
    order = method.order(
        OrderContext(pairs, rows, images, recipe.config, loop.seed, loop.batch, loop.steps, lists)
    )
    feed = PairFeed(
        backbone,
        pairs,
        rows,
        recipe.data,
        seed=loop.seed,
        device=device,
        uses_loser=method.uses_loser,
        met=order.met(),
        images=images,
        lists=lists,
        scorers=method.scorers(recipe.config),
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
        nets=dataclasses.replace(
            trained.nets(model, accelerator.autocast),
            process_mean=lambda value: accelerator.reduce(value, reduction="mean"),
        ),
        feed=feed,
        rows=order.units,
        order=order,
        reference_cap=recipe.reference.reference_cap,
    )


def _scalars(result: PairLoss, loss: Tensor) -> dict[str, Tensor]:
    values = {"loss": loss.detach()}
    if result.logit is not None:
        # Equal preference counts half: at the first step policy and reference are the same.
        values["implicit_accuracy"] = ((result.logit > 0) + 0.5 * (result.logit == 0)).float().mean()
    return values | result.log


def _mean_scalars(run: OfflineRun, passes: list[dict[str, Tensor]]) -> tuple[float, dict[str, float | None]]:
    """Means over micro-batches and processes, in one transfer from the device: of the loss, and of the rest.

    NaN in a method's log means that a pass had nothing to measure: it is left out, and None is the mean of nothing.
    A loss that is not a number stays one.
    """
    names = list(passes[0])
    stacked = torch.stack([torch.stack([values[name].float() for name in names]) for values in passes])
    sums = torch.stack([stacked.sum(dim=0), stacked.nansum(dim=0), (~stacked.isnan()).sum(dim=0).float()])
    whole, known, counts = run.accelerator.reduce(sums, reduction="sum").tolist()
    means = {name: known[i] / counts[i] if counts[i] else None for i, name in enumerate(names)}
    del means["loss"]
    return whole[names.index("loss")] / (len(passes) * run.accelerator.num_processes), means


def _diverged(step: int, what: str, value: float) -> DivergedError:
    return DivergedError(
        f"Step {step}: the {what} is {value}. Training stopped before this step changed any weight; a state that was "
        "saved before is kept. Lower lr or raise warm_up (a resume needs the same settings: give another "
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


def _after_update(run: OfflineRun, step: int, batch: AnyBatch, draws: Draws) -> dict[str, Any]:
    """Shadows and reference follow the policy after optimizer step number `step`; what to log of it."""
    trained = run.trained.trainable()
    for shadow in run.trained.shadows:
        shadow.update(trained)
    reference, cap = run.trained.reference, run.reference_cap
    if reference is None:
        return {}
    divergence = None
    due = reference.rule.due(step)
    if due and cap is not None:
        mean = run.accelerator.reduce(prediction_divergence(run.nets, batch, draws), reduction="mean")
        divergence = float(mean)
    if due and (cap is None or (divergence is not None and divergence < cap)):
        reference.move(trained)
    metrics: dict[str, Any] = {"reference_moves": reference.moves}
    if cap is not None:
        # Not finite: the policy is broken, the reference stays, and the loss of the next step stops the run.
        finite = divergence is not None and math.isfinite(divergence)
        metrics["reference_divergence"] = divergence if finite else None
    return metrics


def _teach(run: OfflineRun, done: int, micro_batch: int) -> None:
    """The policy after `done` steps becomes the teacher and is measured, where the method says so.

    Every process measures the same pairs. Their rows follow those of the batch, so that they draw numbers of their own.
    """
    teaching, teacher = run.method.teaching, run.trained.teacher
    if teaching is None or teacher is None or done == run.loop.steps or not teaching.due(run.config, done):
        return
    teacher.take(run.trained.trainable())
    units = teaching.probe(run.order, done, run.config)
    cuts = [range(i, min(i + micro_batch, len(units))) for i in range(0, len(units), micro_batch)]
    plan = [
        MicroBatch(done, tuple(run.loop.batch + i for i in cut), tuple(int(units[i]) for i in cut), last=True)
        for cut in cuts
    ]
    batches = ((batch, draws) for _, batch, draws in run.feed.stream(plan))
    teacher.measured.update(teaching.measure(run.nets, batches, run.config))


def training_steps(run: OfflineRun, first_step: int = 0) -> Iterator[dict[str, Any]]:
    """Make the optimizer steps from `first_step` on; yields the line of metrics.jsonl after each.

    Raises:
        DivergedError: the loss or the gradient is not finite; raised before the optimizer steps.
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
        order=run.order,
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
        mean_loss, means = _mean_scalars(run, passes)
        norm = _update(run, micro.step, mean_loss)
        moved = _after_update(run, micro.step + 1, batch, draws)
        _teach(run, micro.step + 1, micro_batch)
        passes.clear()
        now = time.perf_counter()
        yield {
            "step": micro.step + 1,
            "loss": mean_loss,
            "implicit_accuracy": means.pop("implicit_accuracy", None),
            "grad_norm": norm,
            "lr": learning_rate(loop, micro.step),
            "step_s": round(now - started, 6),
            **means,
            **moved,
        }
        started = time.perf_counter()
