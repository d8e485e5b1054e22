"""The modules of MPS: transformers' CLIP and the layers in which image tokens look at the words of a prompt.

Upstream: Kwai-Kolors/MPS@ae290c2 trainer/models/cross_modeling.py and clip_model.py, read in the copies of
modelscope/evalscope (build_mps_model/cross_modeling.py@dedf94b, clip_model.py@dc02d77). Modules are named so that the
published state dict fits key by key.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import CLIPConfig, CLIPModel

from prefbench.bench.exceptions import MissingWeightsError

__all__ = ["CrossAttention", "CrossModel", "MPSNetwork", "ParallelBlock"]


class _SwiGLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return silu(gate) * value


def _attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Attention of many query heads to one head of keys and values.

    Args:
        query: (B, N, heads, D).
        key: (B, M, D).
        value: (B, M, D).
        allowed: bool (B, M), which keys may be looked at; None for all.

    Returns: (B, N, heads * D).
    """
    query = query.transpose(1, 2)
    key, value = (tensor[:, None].expand(-1, query.shape[1], -1, -1) for tensor in (key, value))
    mask = None if allowed is None else allowed[:, None, None, :]
    found: Tensor = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return found.transpose(1, 2).flatten(2)


class CrossAttention(nn.Module):
    """Image tokens look at text tokens; a feed-forward layer reads the same normalised tokens beside it."""

    def __init__(self, dim: int, heads: int, head_dim: int, ff_mult: int) -> None:
        super().__init__()
        self.heads, inner = heads, ff_mult * dim
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)
        self.ff = nn.Sequential(
            nn.Linear(dim, 2 * inner, bias=False), _SwiGLU(), nn.Linear(inner, dim, bias=False)
        )

    def forward(self, tokens: Tensor, words: Tensor, allowed: Tensor) -> Tensor:
        """What is added to the tokens: (B, N, dim) looking at (B, M, dim) where bool (B, M) allows it."""
        tokens = self.norm(tokens)
        query = self.to_q(tokens).unflatten(-1, (self.heads, -1))
        key, value = self.to_kv(words).chunk(2, dim=-1)
        found: Tensor = self.to_out(_attend(query, key, value, allowed))
        return found + self.ff(tokens)


class _Rotary(nn.Module):
    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(0, head_dim, 2).float() / head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Turn (B, N, ..., D) by the angle of its place in the sequence; angles are float32 in any dtype."""
        angle = torch.arange(x.shape[1], device=x.device).float()[:, None] * self.inv_freq.float()
        angle = torch.cat((angle, angle), dim=-1).view(x.shape[1], *(1,) * (x.dim() - 3), -1)
        first, second = x.float().chunk(2, dim=-1)
        return (x * angle.cos() + torch.cat((-second, first), dim=-1) * angle.sin()).to(x.dtype)


class ParallelBlock(nn.Module):
    """Self-attention of the image tokens (rotary positions) and a feed-forward layer, side by side."""

    def __init__(self, dim: int, heads: int, head_dim: int, ff_mult: int) -> None:
        super().__init__()
        inner = ff_mult * dim
        self.heads, self.widths = heads, (heads * head_dim, head_dim, head_dim, 2 * inner)
        self.norm = nn.LayerNorm(dim)
        self.rotary_emb = _Rotary(head_dim)
        self.fused_attn_ff_proj = nn.Linear(dim, sum(self.widths), bias=False)
        self.attn_out = nn.Linear(heads * head_dim, dim, bias=False)
        self.ff_out = nn.Sequential(_SwiGLU(), nn.Linear(inner, dim, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        """What is added to the tokens (B, N, dim)."""
        query, key, value, wide = self.fused_attn_ff_proj(self.norm(tokens)).split(self.widths, dim=-1)
        query = self.rotary_emb(query.unflatten(-1, (self.heads, -1)))
        found: Tensor = self.attn_out(_attend(query, self.rotary_emb(key), value))
        return found + self.ff_out(wide)


class CrossModel(nn.Module):
    """Layers of cross-attention and a parallel block, each added to its input."""

    def __init__(self, dim: int, *, layers: int, heads: int, head_dim: int, ff_mult: int) -> None:
        super().__init__()
        sizes = (dim, heads, head_dim, ff_mult)
        # The original wraps each part in a module that adds the input back, which gives the keys their "fn".
        self.layers: Any = nn.ModuleList(
            nn.ModuleList(nn.ModuleDict({"fn": part(*sizes)}) for part in (CrossAttention, ParallelBlock))
            for _ in range(layers)
        )

    def forward(self, tokens: Tensor, words: Tensor, allowed: Tensor) -> Tensor:
        """Image tokens (B, N, dim) that have read the words (B, M, dim) where bool (B, M) allows it."""
        for cross, block in self.layers:
            tokens = tokens + cross["fn"](tokens, words, allowed)
            tokens = tokens + block["fn"](tokens)
        return tokens


class MPSNetwork(nn.Module):
    """CLIP and the cross model, as the published state dict names them."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        missing = {"clip", "cross"} - architecture.keys()
        if missing:
            raise MissingWeightsError(
                f"The MPS architecture lacks {', '.join(sorted(missing))}. State both: clip, a CLIPConfig, and "
                "cross, with layers, heads, head_dim and ff_mult."
            )
        clip: Any = CLIPConfig(**architecture["clip"])
        self.model = CLIPModel(clip)
        try:
            self.cross_model = CrossModel(clip.projection_dim, **architecture["cross"])
        except TypeError as error:
            raise MissingWeightsError(
                f"The MPS architecture's cross part does not have layers, heads, head_dim and ff_mult ({error})."
            ) from error
