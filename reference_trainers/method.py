"""What a training method is, as the loop sees it.

A method is a pure loss, a step that calls the networks and that loss, the rows it trains on, and its
constants with their sources. It owns no optimizer, no `.backward()`, no files and no printing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from torch import Tensor

from prefbench.reference_trainers.data_order import DataOrder, OrderContext, shuffled_epochs
from prefbench.reference_trainers.draws import Draws
from prefbench.reference_trainers.pair_loss import PairLoss
from prefbench.reference_trainers.preferences.labelled_pairs import PreferencePairs
from prefbench.reference_trainers.preferences.ranked_lists import RankedLists

__all__ = [
    "Condition",
    "Constant",
    "Denoiser",
    "ImageBatch",
    "Method",
    "Nets",
    "PairBatch",
    "RankBatch",
    "Teaching",
    "all_rows",
]

Condition = dict[str, Tensor]
"""What a backbone made of the prompts; every tensor has the batch as its first dimension."""

Denoiser = Callable[[Tensor, Tensor, Condition], Tensor]
"""(x_t (N, C, H, W), timesteps (N,), condition) -> prediction (N, C, H, W)."""


@dataclass(frozen=True)
class Constant:
    """A number of a recipe and where it is from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Nets:
    """The networks of a run and the noise schedule they share.

    Attributes:
        policy: the network in training.
        reference: the frozen one, evaluated without gradient; None where the method needs none.
        alphas_cumprod: abar, shape (T,).
        prediction_type: "epsilon" or "v_prediction".
        shadows: exponential moving averages of the policy, evaluated without gradient, in the order of
            `Method.shadow_decays`.
        process_mean: mean of a detached tensor over the processes that share the batch; one process's own value where
            there is one process.
        teacher: a frozen copy of the policy, evaluated without gradient, for a method with `Method.teaching`.
        measured: what `Teaching.measure` found out about that copy; empty before the first.
    """

    policy: Denoiser
    reference: Denoiser | None
    alphas_cumprod: Tensor
    prediction_type: str
    shadows: tuple[Denoiser, ...] = ()
    process_mean: Callable[[Tensor], Tensor] = lambda value: value
    teacher: Denoiser | None = None
    measured: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class PairBatch:
    """B pairs on the device.

    Attributes:
        winner: latents times the scaling factor, shape (B, C, H, W).
        loser: the same of the rejected images; None for a method that does not look at losers.
        condition: prompts as the backbone encodes them.
        scores: scorer -> scores of (winner, loser), shape (B, 2), float32, for the scorers of `Method.scorers`.
        flipped: shape (B,), bool: the label was turned round on request. For measuring a detector; no loss may
            look at it.
        tied: shape (B,), bool: a kept tie, whose "winner" is image 0 and means nothing; all False for a method that
            does not accept ties.
    """

    winner: Tensor
    loser: Tensor | None
    condition: Condition
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    flipped: Tensor | None = None
    tied: Tensor | None = None


@dataclass(frozen=True)
class ImageBatch:
    """B single images on the device, for a method of unit "image".

    Attributes:
        latents: times the scaling factor, shape (B, C, H, W).
        label: +1 desirable, -1 undesirable, shape (B,), float32.
        condition: prompts as the backbone encodes them.
    """

    latents: Tensor
    label: Tensor
    condition: Condition


@dataclass(frozen=True)
class RankBatch:
    """L lists of images on the device, N images in all, for a method of unit "ranking".

    Draws are one a list; `draw[place]` is that of each image.

    Attributes:
        latents: times the scaling factor, shape (N, C, H, W), list after list.
        place: the list of each image, shape (N,), int64, 0 to L - 1.
        value: what ranks the image in its list, higher is better, shape (N,), float32.
        condition: prompts as the backbone encodes them, one an image.
    """

    latents: Tensor
    place: Tensor
    value: Tensor
    condition: Condition


def nothing(_: Any) -> tuple[Any, ...]:
    """No shadows, no scorers: what most methods ask for."""
    return ()


def all_rows(pairs: PreferencePairs) -> np.ndarray:
    """Train on every labelled pair."""
    return np.arange(len(pairs))


@dataclass(frozen=True)
class Teaching:
    """When the policy is copied as the teacher of the steps that follow, and what is measured of the copy.

    Attributes:
        due: (config, optimizer steps done) -> whether the policy becomes the teacher now.
        probe: (order, optimizer steps done, config) -> units on which the new teacher is measured; some that the
            rest of the run meets.
        measure: (nets, batches of these units with their draws, config) -> tensors by name, without gradient; the
            steps find them in `nets.measured`, and a resumed run too.
    """

    due: Callable[[Any, int], bool]
    probe: Callable[[Any, int, Any], np.ndarray]
    measure: Callable[[Nets, Iterable[tuple[Any, Draws]], Any], dict[str, Tensor]]


@dataclass(frozen=True)
class Method:
    """One published method.

    Attributes:
        name: as on the command line.
        Config: frozen dataclass of the method's own constants; it validates itself.
        loss: pure function of per-pair arrays, keyword hyper-parameters, returns PairLoss.
        step: (nets, batch, draws, config) -> PairLoss; the loop takes the mean and steps the optimizer. The batch is a
            PairBatch, or an ImageBatch for unit "image", or a RankBatch for unit "ranking".
        paper: citation with its identifier.
        code: repository@commit that was read, or the reason why there is none.
        needs_reference: whether `nets.reference` must exist.
        uses_loser: whether rejected images are read and encoded at all.
        prepare: pairs -> indices of the rows to train on.
        shadow_decays: config -> decay of each moving average of the policy that the step evaluates.
        scorers: config -> names of the scorers whose scores the step, or the order, reads.
        unit: what a batch is made of: "pair", "image" for single images with a label, or "ranking" for lists of
            images of one prompt.
        lists: (pairs, rows, config) -> the lists, for unit "ranking".
        teaching: for a method that learns from a frozen copy of the policy; None for all others.
        order: which pair or image stands where in the run; may leave some out.
        network: what the trained network is for: "policy" generates; "negative" is the unconditional branch of
            guidance beside another policy.
        accepts_ties: whether the step reads `batch.tied`, so that ties=keep may be asked for.
        presets: recipe name -> constant name -> value with source. May also override shared constants of the
            recipe (a learning rate of the paper, say). "NAME-lora" holds what differs with LoRA.
    """

    name: str
    Config: type
    loss: Callable[..., PairLoss]
    step: Callable[[Nets, Any, Draws, Any], PairLoss]
    paper: str
    code: str
    needs_reference: bool
    uses_loser: bool = True
    prepare: Callable[[PreferencePairs], np.ndarray] = all_rows
    shadow_decays: Callable[[Any], tuple[float, ...]] = nothing
    scorers: Callable[[Any], tuple[str, ...]] = nothing
    unit: Literal["pair", "image", "ranking"] = "pair"
    lists: Callable[[PreferencePairs, np.ndarray, Any], RankedLists] | None = None
    teaching: Teaching | None = None
    order: Callable[[OrderContext], DataOrder] = shuffled_epochs
    network: Literal["policy", "negative"] = "policy"
    accepts_ties: bool = False
    presets: Mapping[str, Mapping[str, Constant]] = field(default_factory=lambda: MappingProxyType({}))
