"""LAION's aesthetic heads without their tower: normalise an embedding, then one affine map."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from prefbench.bench.exceptions import MissingWeightsError

__all__ = ["V2_LAYERS", "affine_head", "fold_head"]

# improved-aesthetic-predictor simple_inference.py: nn.Sequential with dropout between, so the Linear layers
# have these indices.
V2_LAYERS = (0, 2, 4, 6, 7)


def affine_head(embedding: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The predictor without its tower: normalise, then one affine map.

    Args:
        embedding: (B, d), of any length but zero.
        weight: (1, d).
        bias: (1,).

    Returns: (B,), float32 or the wider of the inputs.
    """
    unit = normalize(embedding.to(torch.promote_types(embedding.dtype, torch.float32)), dim=-1)
    return (unit * weight).sum(dim=-1) + bias


def fold_head(state: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A published head as one affine map, in float64.

    Args:
        state: v1 (`weight`, `bias`) or v2 (`layers.0.weight`, ...: y = W5(W4(...W1 x + b1...) + b4) + b5).

    Returns: weight (1, d), bias (1,), float64.

    Raises: MissingWeightsError for any other set of keys.

    >>> w, b = fold_head({"weight": torch.ones(1, 3), "bias": torch.zeros(1)})
    >>> tuple(w.shape), b.dtype
    ((1, 3), torch.float64)
    """
    if state.keys() == {"weight", "bias"}:
        return state["weight"].double(), state["bias"].double()
    expected = {f"layers.{layer}.{part}" for layer in V2_LAYERS for part in ("weight", "bias")}
    if state.keys() != expected:
        raise MissingWeightsError(
            f"An aesthetic head has the tensors {', '.join(sorted(state))[:300]}. Expected `weight`, `bias` "
            "(v1) or "
            f"{', '.join(sorted(expected))} (v2)."
        )
    weight, bias = state["layers.0.weight"].double(), state["layers.0.bias"].double()
    for layer in V2_LAYERS[1:]:
        matrix = state[f"layers.{layer}.weight"].double()
        weight, bias = matrix @ weight, matrix @ bias + state[f"layers.{layer}.bias"].double()
    return weight, bias
