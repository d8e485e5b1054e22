"""`prefbench gate SUITE --sequential`: the gate that draws."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["draw_and_gate"]

FINISHED = (".csv", ".parquet", ".json")
"""Files of scores and results."""


def draw_and_gate(
    source: str,
    checkpoint: Sequence[str],
    candidate: str,
    baseline: str,
    out: Path,
    *,
    sequential: bool,
    allow: Sequence[str],
    looks: dict[str, Any],
    drawing: dict[str, Any],
    options: dict[str, Any],
) -> int:
    """Draw by blocks, or with --dry-run say what at most would be drawn.

    Args:
        source: of the suite.
        checkpoint: NAME=SPEC of candidate and baseline.
        candidate: what is to be released.
        baseline: what it is held against.
        out: the run folder.
        sequential: whether --sequential was given.
        allow: of --allow, which may be "identical" here.
        looks: options of the looks; None where one is not given.
        drawing: options of drawing; None where one is not given.
        options: margin and rules.

    Returns:
        The exit code.

    Raises:
        PrefbenchError: bad input.
    """
    from prefbench.bench.baselines.comparable import IDENTICAL
    from prefbench.bench.exceptions import UsageError
    from prefbench.bench.named_values import named_values
    from prefbench.bench.suite import load_suite, with_limit

    if Path(source).is_dir() or Path(source).suffix.lower() in FINISHED:
        raise UsageError(
            f"{source} is no suite: it was drawn and scored already, and --checkpoint is for drawing. Leave --checkpoint out to "
            "have its scores judged; or give a suite, a built-in name or a TOML file."
        )
    if not sequential:
        raise UsageError(
            "--checkpoint is for a gate that draws, and that is sequential: add --sequential, or give the folder of a finished "
            "`prefbench bench` in place of the suite."
        )
    kinds = [kind for kind in allow if kind != IDENTICAL]
    if kinds:
        raise UsageError(
            f"--allow {kinds[0]} is about a stored baseline; a gate that draws has none. Leave it out."
        )
    suite = with_limit(load_suite(source), drawing["limit"])
    specs = named_values("--checkpoint", "NAME=SPEC", checkpoint)
    options |= {name: value for name, value in looks.items() if value is not None}
    options |= {name: drawing[name] for name in ("prompts_dir", "device") if drawing[name] is not None}
    options["weights"] = named_values("--weights", "SCORER=PATH", drawing["weights"] or [])

    # After the cheap errors: these import torch.
    from rich.console import Console

    from prefbench.bench.gate.printing import conclude, print_look
    from prefbench.bench.gate.prompt_order import keyed_order
    from prefbench.bench.gate.sequential_gating import gate_by_blocks, plan_by_blocks
    from prefbench.bench.plan import plan_prompts
    from prefbench.bench.plan_table import print_plan
    from prefbench.bench.progress import shown_on

    console, bars = Console(), Console(stderr=True)
    if drawing["dry_run"]:
        plan = plan_by_blocks(suite, specs, out, candidate, baseline, allow=allow, **options)
        console.print("At most, if no block before the last decides:", highlight=False)
        print_plan(console, plan)
        return 0
    if drawing["batch_size"] is not None:
        options["batch_size"] = drawing["batch_size"]
    sets = plan_prompts(suite, options.get("prompts_dir"))
    total = len(keyed_order((prompt.text for planned in sets for prompt in planned.prompts), 0))
    report = gate_by_blocks(
        suite,
        specs,
        out,
        candidate,
        baseline,
        allow=allow,
        progress=lambda: shown_on(bars, transient=True),
        told=lambda look: print_look(console, look, total),
        **options,
    )
    console.print()
    return conclude(console, report, out)
