"""The minority metric u of Adaptive-DPO, the weight made of it, and how well it finds wrong labels.

u is high where annotators (the policy and averages of it) are unsure of a pair's label or at odds about it. Source:
fanfanffff1/Adaptive-DPO@a64ae01 dpo_train_un.py [CODE]; see adaptive_dpo.py.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Weight", "detector_log", "minority_metric", "pair_weight"]

Weight = Literal["linear", "quadratic", "sigmoid", "sqrt", "none"]


def minority_metric(logits: Tensor, *, rho: float, normalise: bool) -> Tensor:
    """Distrust in each label, u = |mean_m sigmoid(rho h_m) - 1| * min(std_m(rho h_m), 1); unbiased std of the logits.

    Args:
        logits: l_m of the annotators, shape (M, B). With M = 1 there is nothing to compare: u = |sigmoid(rho l) - 1|.
        rho: multiplies h.
        normalise: h_m = l_m / |l_m|_2 over the batch, 0 where the norm is 0; otherwise h = l.

    Returns:
        u, shape (B,), in [0, 1], detached. High: likely labelled against the majority.

    Source: fanfanffff1/Adaptive-DPO@a64ae01 dpo_train_un.py, cal_un_wy_wstd [CODE]; the guard of 0/0 is ours.

    >>> minority_metric(torch.zeros(3, 2), rho=15.0, normalise=True).tolist()  # policy == reference
    [0.0, 0.0]
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must have shape (M, B), got {tuple(logits.shape)}")
    logits = logits.detach()
    if len(logits) == 1:
        return (torch.sigmoid(rho * logits[0]) - 1).abs()
    if normalise:
        norm = torch.linalg.vector_norm(logits, dim=1, keepdim=True)
        logits = logits / torch.where(norm > 0, norm, 1)
    scaled = rho * logits
    return (torch.sigmoid(scaled).mean(dim=0) - 1).abs() * scaled.std(dim=0).clamp(max=1)


WEIGHTS: Mapping[str, Callable[[Tensor, float, float], Tensor]] = MappingProxyType(
    {
        "linear": lambda u, t, i: 1 / (i + t * u),
        "quadratic": lambda u, t, i: 1 / (i + t * u.square()),
        "sigmoid": lambda u, t, i: 1 / (i + torch.exp(t * u)),
        "sqrt": lambda u, t, i: 1 / (i + torch.exp(t * u.sqrt())),
        "none": lambda u, t, i: torch.ones_like(u),
    }
)


def pair_weight(u: Tensor, *, weight: Weight, temperature: float, intercept: float) -> Tensor:
    """W of u, same shape; linear with temperature 10 and intercept 1 lies in [1/11, 1].

    >>> pair_weight(torch.tensor([0.0, 1.0]), weight="linear", temperature=10.0, intercept=1.0).tolist()
    [1.0, 0.0909...]
    """
    if weight not in WEIGHTS:
        raise ValueError(f"weight must be one of {', '.join(WEIGHTS)}, got {weight!r}")
    return WEIGHTS[weight](u, temperature, intercept)


def detector_log(u: Tensor, flipped: Tensor) -> dict[str, Tensor]:
    """How well u finds labels that were turned round on request; NaN where a batch cannot tell.

    Args:
        u: shape (B,).
        flipped: shape (B,), bool: the truth, which no loss sees.

    Returns:
        flipped_share: of the batch, the precision of a blind detector; flipped_in_top_quarter: share of flipped labels
        among the quarter of the batch with the highest u, pairs of equal u counting in part; u_auc: probability that u
        of a flipped label exceeds that of a kept one, ties half.

    >>> out = detector_log(torch.tensor([0.9, 0.1, 0.2, 0.3]), torch.tensor([True, False, False, True]))
    >>> {name: value.item() for name, value in out.items()}
    {'flipped_share': 0.5, 'flipped_in_top_quarter': 1.0, 'u_auc': 1.0}
    """
    wrong = flipped.to(u.device).bool()
    top = max(1, len(u) // 4)
    edge = u.sort(descending=True).values[top - 1]
    sure, tied = u > edge, u == edge
    partly = (top - sure.sum()) / tied.sum()
    found = (wrong & sure).sum() + partly * (wrong & tied).sum()
    above = u[wrong][:, None] - u[~wrong][None, :]
    return {
        "flipped_share": wrong.float().mean(),
        "flipped_in_top_quarter": found / top,
        "u_auc": (above.sign().float() / 2 + 0.5).mean(),  # the mean of nothing is NaN
    }
