"""Scoring through torch.compile: the repeated blocks of a scorer's network, each compiled as one whole.

The blocks (a transformer's layers) are nearly all of the work, and those of one tower have the same code: one graph is made
and used for all of them. A whole tower compiled at once takes several times as long to compile and was not faster
(docs/scorers.md, "Speed and memory"). What stands between the blocks (embeddings, projections, the product) stays as it is.

Nothing falls back to uncompiled code in silence: every block is one graph (`fullgraph`), errors are not suppressed, too many
recompilations are an error, and the identity lists the kinds of block that are compiled.

A compiled network sums in another order, so it is another computation: identity and fingerprint say so.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from prefbench.bench.exceptions import MissingDependencyError, UsageError
from prefbench.scorers.dual_encoder import SharesEmbeddings
from prefbench.scorers.fingerprint import sha256_of_json
from prefbench.scorers.protocol import Scorer
from prefbench.scorers.registry import UPSTREAM

__all__ = ["COMPILED", "check_compile", "compile_scorer", "compiling"]

BACKEND = "inductor"
# Batches differ in size and some scorers' texts in length: one graph serves all of them, but for batches of one, which
# torch always compiles apart. Compiling for each size instead took two more graphs and was not faster.
DYNAMIC = True

COMPILED: dict[str, Any] = {
    "by": "torch.compile",
    "backend": BACKEND,
    "mode": "default",
    "dynamic": DYNAMIC,
}
"""What a compiled scorer's identity says, with the kinds of block; torch's version stands there already."""

# The image tower of transformers' Qwen2-VL packs images of any sizes into one row. Where each of them ends is data, which a
# graph cannot cut by: these blocks stay uncompiled.
PACKED = ("Qwen2VLVisionBlock",)

# Graphs of one process: kinds of block x (batches of one, larger ones). All share one count, because all are calls of
# nn.Module; torch's own limit of 8 is meant for one function.
MOST_GRAPHS = 64


def check_compile(scorers: Sequence[str], device: str) -> None:
    """Refuse, before anything is loaded, what cannot be compiled here.

    Args:
        scorers: names.
        device: torch device.

    Raises:
        UsageError: a scorer that is computed by the original package, or torch.compile is switched off.
        MissingDependencyError: torch.compile does not work, on a CPU mostly for want of a C++ compiler.
    """
    for name in scorers:
        if name.partition("@")[2] == UPSTREAM:
            raise UsageError(
                f"Scorer {name} is computed by the original package's own code: leave out --compile."
            )
    try:
        with torch.inference_mode():
            made = torch.compile(_probe, fullgraph=True, backend=BACKEND)(torch.zeros(8, device=device))
    except RuntimeError as error:
        raise MissingDependencyError(
            f"--compile: torch.compile does not work on this machine's device {device} ({_reason(error)}). On a CPU it needs "
            "a C++ compiler: install g++, or name yours in the variable CXX. On a GPU it needs triton. Or leave out "
            "--compile."
        ) from error
    if not made.all():
        raise UsageError(
            "--compile: torch.compile is switched off, for example by the variable TORCH_COMPILE_DISABLE or "
            "TORCHDYNAMO_DISABLE. Unset it, or leave out --compile."
        )


def _probe(x: torch.Tensor) -> torch.Tensor:
    """One for zero, or zero where it runs uncompiled."""
    return x.exp() if torch.compiler.is_compiling() else x


def compile_scorer(scorer: Scorer, *, check_only: bool = False) -> None:
    """Make a loaded scorer compute through torch.compile, in place; its fingerprint changes.

    Compilation itself happens at the first scores, which then take seconds to minutes more. Score inside `compiling`.

    Args:
        scorer: loaded.
        check_only: leave it as it is, and only refuse what would be refused.

    Raises: UsageError for a scorer without a network of blocks in this process.
    """
    blocks = _blocks_of(scorer)
    if check_only:
        return
    for block in blocks:
        block.compile(fullgraph=True, dynamic=DYNAMIC, backend=BACKEND)
    said = {**COMPILED, "blocks": sorted({type(block).__name__ for block in blocks})}
    scorer.info = replace(scorer.info, identity={**scorer.info.identity, "compiled": said})
    if isinstance(scorer, SharesEmbeddings):
        scorer.tower = sha256_of_json({"tower": scorer.tower, "compiled": COMPILED})


@contextmanager
def compiling(scorer: Scorer) -> Iterator[None]:
    """Where a compiled scorer scores: no fallback, and errors of compilation in the user's words.

    Graphs that were made before are dropped: those of the scorer before would count, and hold its memory. For a scorer
    that is not compiled it does nothing.

    Raises: UsageError if a block cannot be compiled, or needs too many graphs.
    """
    if "compiled" not in scorer.info.identity:
        yield
        return
    torch.compiler.reset()
    try:
        with torch._dynamo.config.patch(suppress_errors=False, recompile_limit=MOST_GRAPHS):
            yield
    except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
        raise UsageError(
            f"Scorer {scorer.info.name}: torch.compile cannot compile its network ({_reason(error)}). Leave out "
            "--compile, or this scorer."
        ) from error


def _blocks_of(scorer: Scorer) -> list[nn.Module]:
    """The repeated blocks of a scorer's network that are compiled; UsageError where there are none."""
    network = getattr(scorer, "network", None)
    blocks = list(_blocks(network)) if isinstance(network, nn.Module) else []
    if not blocks:
        why = "no network of repeated blocks" if isinstance(network, nn.Module) else "no network"
        raise UsageError(
            f"Scorer {scorer.info.name} has {why} here that could be compiled: leave out --compile, or this scorer."
        )
    return blocks


def _blocks(module: nn.Module, listed: bool = False) -> Iterator[nn.Module]:
    """What lies in lists, at any depth of lists, and is more than a single layer."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential | nn.ModuleDict):
            yield from _blocks(child, listed or not isinstance(child, nn.ModuleDict))
        elif not listed:
            yield from _blocks(child)
        elif any(True for _ in child.children()) and type(child).__name__ not in PACKED:
            yield child


def _reason(error: Exception) -> str:
    """The first line of torch's message, which goes on for a page."""
    cause = error.__cause__ if isinstance(error, torch._dynamo.exc.FailOnRecompileLimitHit) else None
    lines = str(cause or error).strip().splitlines() or [type(error).__name__]
    # "backend='inductor' raised:" says nothing; what was raised stands below it.
    return next((line for line in lines if line.strip() and not line.endswith("raised:")), lines[0]).rstrip(
        "."
    )
