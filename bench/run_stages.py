"""The stages of a run that make something: open its folder for a suite, draw and score all of its prompts or some."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from prefbench.bench.device import release_memory
from prefbench.bench.exceptions import DataError, LedgerError, UsageError
from prefbench.bench.gaps import Incomplete
from prefbench.bench.generate import DEFAULT_BATCH_SIZE, generate_missing
from prefbench.bench.networks import Hold, load_anew
from prefbench.bench.plan import wanted_images
from prefbench.bench.progress import Stages, silent
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.run_folder import IMAGES, claim, find_ledger
from prefbench.bench.run_work import Work, look
from prefbench.bench.scoring import score_all, told
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite
from prefbench.bench.wording import count

__all__ = ["OpenRun", "draw_and_score", "open_run"]


@dataclass(frozen=True)
class OpenRun:
    """A run that was looked at and whose folder is claimed for its suite."""

    work: Work
    ledger: Ledger
    store: ImageStore
    batch_size: int


def open_run(
    stack: ExitStack,
    suite: Suite,
    checkpoints: Mapping[str, str],
    out: Path,
    *,
    prompts_dir: Path | None = None,
    device: str = "auto",
    batch_size: int = DEFAULT_BATCH_SIZE,
    weights: Mapping[str, str] | None = None,
    stages: Stages = silent,
    fewest: int = 2,
) -> OpenRun:
    """Look at everything, then claim the folder; its ledger stays open as long as `stack`.

    Arguments and errors as in `run.run_suite`.
    """
    if batch_size < 1:
        raise UsageError(f"The batch size is {batch_size}; it must be 1 or more.")
    ledger = stack.enter_context(Ledger(out)) if find_ledger(out) else None
    work = look(suite, checkpoints, ledger, prompts_dir, device, weights or {}, stages, fewest)
    if ledger is None:
        ledger = stack.enter_context(Ledger(out))
        if ledger.meta("suite") is not None:
            raise LedgerError(f"Another process started a run in {out} just now. Run the same command again.")
    claim(ledger, suite, work.sets, work.checkpoints)
    return OpenRun(work, ledger, ImageStore(out / IMAGES), batch_size)


def draw_and_score(
    run: OpenRun,
    prompts: Sequence[Prompt],
    *,
    checkpoints: Iterable[str] | None = None,
    incomplete: Incomplete = "refuse",
    hold: Hold = load_anew,
    stages: Stages = silent,
) -> None:
    """Make the images that these prompts lack, and every score that an image of the run lacks.

    Args:
        run: opened.
        prompts: of its suite, all or some.
        checkpoints: names; None for all.
        incomplete: what is done where a scorer that may fail has no score: "drop" leaves the gap to who reads the scores.
        hold: who keeps the networks.
        stages: shows progress.

    Raises:
        DataError: a scorer that may fail did, and `incomplete` is "refuse"; all else is done.
    """
    work = run.work
    for name in work.checkpoints if checkpoints is None else checkpoints:
        _draw(run, name, prompts, hold, stages)
        release_memory(work.device)
    failed = score_all(
        work.judges,
        ledger=run.ledger,
        store=run.store,
        prompts={prompt.id: prompt.text for prompt in work.prompts},
        weights=work.weights,
        device=work.device,
        stages=stages,
        hold=hold,
    )
    if failed and incomplete == "refuse":
        gaps = ". ".join(
            f"{name} has no score for {count(n.total(), 'image')}: {told(n)}" for name, n in failed.items()
        )
        raise DataError(
            f"{gaps}. Everything else is done and kept. The same command asks for these again; with --drop-incomplete it "
            "leaves their (prompt, seed) out of the comparison, for all checkpoints, and counts them."
        )


def _draw(run: OpenRun, name: str, prompts: Sequence[Prompt], hold: Hold, stages: Stages) -> None:
    work = run.work
    checkpoint = work.checkpoints[name]
    of_suite = len(wanted_images(checkpoint, work.prompts, work.suite))
    with stages(f"draw {name}", len(wanted_images(checkpoint, prompts, work.suite)), "images") as advance:
        generate_missing(
            checkpoint,
            prompts,
            work.suite,
            ledger=run.ledger,
            store=run.store,
            device=work.device,
            batch_size=min(run.batch_size, of_suite),
            advance=advance,
            hold=hold,
        )
