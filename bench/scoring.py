"""Score what a run still lacks, one scorer in memory at a time."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.bench.device import release_memory
from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.networks import Hold, load_anew
from prefbench.bench.progress import Stages
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.registry import unknown_name
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.keys import score_key
from prefbench.bench.store.ledger import Ledger, ScoreRow

if TYPE_CHECKING:
    from prefbench.scorers.dual_encoder import EmbeddingStore

__all__ = ["Judge", "check_distinct", "check_weights", "meet_judge", "score_all", "told"]

CHUNK = 64
"""Images read, scored and recorded together; what a killed run loses at most."""


@dataclass(frozen=True)
class Judge:
    """What is known of a scorer without holding its weights."""

    name: str
    fingerprint: str
    info: dict[str, Any]
    """Its entry in results.json, without the role."""
    cut: frozenset[str] = frozenset()
    """Prompts that it does not read to the end."""
    tower: str | None = None
    """Hash of its image tower, where its embeddings can be shared."""


def check_weights(scorers: Sequence[str], weights: Mapping[str, str]) -> None:
    """Refuse weights for a scorer that the suite does not use: they would be ignored.

    Raises:
        UsageError: with the nearest name.
    """
    for name in weights:
        if name not in scorers:
            raise unknown_name("scorer of this suite in --weights", name, list(scorers))


def check_distinct(known: dict[str, str], name: str, fingerprint: str) -> None:
    """Refuse one scorer under two names: it would count twice. `known`, fingerprint -> name, gets this one.

    Raises:
        UsageError: naming both.
    """
    other = known.setdefault(fingerprint, name)
    if other != name:
        raise UsageError(
            f"{other!r} and {name!r} are one scorer under two names (the same fingerprint). Name it once: its vote would count "
            "twice."
        )


def meet_judge(name: str, prompts: Sequence[str], weights: Mapping[str, str], device: str) -> Judge:
    """Load a scorer, note who it is and how many prompts it cuts off, and let it go.

    Args:
        name: of the scorer.
        prompts: texts of the suite, one a prompt id.
        weights: scorer -> path, where its own are not to be used.
        device: a torch device.

    Raises:
        UsageError: an unknown name.
        MissingWeightsError: weights that are absent or do not fit.
        DataError: a prompt that this scorer cannot score.
    """
    from prefbench.scorers.dual_encoder import tower_of
    from prefbench.scorers.protocol import ChecksPrompts
    from prefbench.scorers.registry import load_scorer

    scorer = load_scorer(name, weights=weights.get(name), device=device)
    if isinstance(scorer, ChecksPrompts):
        try:
            scorer.check_prompts(prompts)
        except DataError as error:
            raise DataError(
                f"{error} Leave {name} out of the suite's electorate, or use prompts that it can score."
            ) from error
    blind = scorer.info.prompt_blind
    cut = [] if blind else [p for p, long in zip(prompts, scorer.truncated(prompts), strict=True) if long]
    info = {**scorer.info.as_dict(), "name": name, "truncated": None if blind else len(cut)}
    return Judge(name, scorer.info.fingerprint, info, frozenset(cut), tower_of(scorer))


def read_to_the_end(
    judges: Mapping[str, Judge], voters: Sequence[str], prompts: Sequence[Prompt]
) -> set[str]:
    """Texts of the prompts that every voter reads to the end."""
    return {prompt.text for prompt in prompts}.difference(*(judges[name].cut for name in voters))


def score_missing(
    judge: Judge,
    *,
    ledger: Ledger,
    store: ImageStore,
    prompts: Mapping[str, str],
    weights: Mapping[str, str],
    device: str,
    embeddings: "EmbeddingStore | None" = None,
    advance: Callable[[int], None],
    hold: Hold = load_anew,
) -> Counter[str]:
    """Score every sample of the ledger that has no score of this fingerprint.

    Args:
        judge: the scorer.
        ledger: of the run, all samples listed.
        store: of the run.
        prompts: id -> text.
        weights: as in `meet_judge`.
        device: a torch device.
        embeddings: what scorers of this run have in common.
        advance: called with the number of scores that are done, those found first.
        hold: who keeps the loaded scorer.

    Returns: how many images have no score, by reason; of a scorer that never fails, none.

    Raises:
        DataError: a score that is not finite, no score for any image, or the scorer changed since it was met.
        LedgerError: an image that is listed is gone or changed.
    """
    from prefbench.scorers.dual_encoder import SharesEmbeddings
    from prefbench.scorers.protocol import MayFail
    from prefbench.scorers.registry import load_scorer

    failed: Counter[str] = Counter()
    wanted = wanted_scores(judge.fingerprint, ledger, prompts)
    done = ledger.scores(judge.fingerprint)
    missing = [(key, image, text) for key, (image, text) in wanted.items() if key not in done]
    advance(len(wanted) - len(missing))
    if not missing:
        return failed
    pixels = {key: row.pixels for key, row in ledger.images().items()}
    scorer = hold(
        f"scorer {judge.name}",
        lambda: load_scorer(judge.name, weights=weights.get(judge.name), device=device),
    )
    if scorer.info.fingerprint != judge.fingerprint:
        raise DataError(
            f"Scorer {judge.name!r} changed while the run was going on: its weights were replaced. Run again."
        )
    if isinstance(scorer, SharesEmbeddings):
        scorer.embeddings = embeddings
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        images = [store.read(image, pixels[image]) for _, image, _ in chunk]
        texts = [text for _, _, text in chunk]
        try:
            if isinstance(scorer, MayFail):
                scores, reasons = scorer.score_or_reason(images, texts, keep=_keeper(judge, chunk, ledger))
                failed.update(reason for reason in reasons if reason)
                scored = [k for k, reason in enumerate(reasons) if not reason]
                chunk, scores = [chunk[k] for k in scored], scores[scored]
            else:
                scores = scorer.score(images, texts)
        except DataError as error:
            raise DataError(f"Scorer {judge.name!r}: {error}") from error
        _check_scores(judge.name, scores, chunk, store)
        # Those that were kept on the way stand there already, and stay.
        ledger.add_scores(_row(judge, *one) for one in zip(chunk, scores, strict=True))
        advance(len(images))
    if failed.total() == len(wanted):
        raise DataError(
            f"Scorer {judge.name!r} has no score for any of {len(wanted)} images: {told(failed)}."
        )
    return failed


def _row(judge: Judge, wanted: tuple[str, str, str], score: float) -> ScoreRow:
    return ScoreRow(wanted[0], judge.name, judge.fingerprint, float(score))


def _keeper(
    judge: Judge, chunk: Sequence[tuple[str, str, str]], ledger: Ledger
) -> Callable[[int, float], None]:
    return lambda k, score: ledger.add_scores([_row(judge, chunk[k], score)])


def told(failed: Counter[str]) -> str:
    """The commonest reasons for missing scores, for a person."""
    return "; ".join(f"{count} x {reason}" for reason, count in failed.most_common(3))


def score_all(
    judges: Mapping[str, Judge],
    *,
    ledger: Ledger,
    store: ImageStore,
    prompts: Mapping[str, str],
    weights: Mapping[str, str],
    device: str,
    stages: Stages,
    hold: Hold = load_anew,
) -> dict[str, Counter[str]]:
    """`score_missing` by every judge, one in memory at a time; judge -> its missing scores by reason, where it has some."""
    from prefbench.scorers.dual_encoder import EmbeddingStore

    embeddings = EmbeddingStore(judge.tower for judge in judges.values())
    failed = {}
    for name, judge in judges.items():
        with stages(
            f"score {name}", len(wanted_scores(judge.fingerprint, ledger, prompts)), "images"
        ) as advance:
            failed[name] = score_missing(
                judge,
                ledger=ledger,
                store=store,
                prompts=prompts,
                weights=weights,
                device=device,
                embeddings=embeddings,
                advance=advance,
                hold=hold,
            )
        release_memory(device)
    return {name: reasons for name, reasons in failed.items() if reasons}


def wanted_scores(fingerprint: str, ledger: Ledger, prompts: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Score key -> (image key, prompt) of every different (pixels, prompt) among the samples."""
    images = ledger.images()
    wanted: dict[str, tuple[str, str]] = {}
    for sample in ledger.samples():
        text = prompts[sample.prompt_id]
        key = score_key(images[sample.image].pixels, text, fingerprint)
        wanted.setdefault(key, (sample.image, text))
    return wanted


def _check_scores(name: str, scores: Any, chunk: list[tuple[str, str, str]], store: ImageStore) -> None:
    values = np.asarray(scores)
    if values.shape != (len(chunk),):
        raise UsageError(
            f"Scorer {name!r} returned an array of shape {values.shape} for {len(chunk)} images; a scorer "
            "returns one float an "
            "image. Mend the plug-in."
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        _, image, text = chunk[int(bad[0])]
        raise DataError(
            f"Scorer {name!r} gave {values[bad[0]]} for {store.path(image)} under {text[:60]!r}. Its "
            "weights are broken, or its "
            "arithmetic overflowed: check the weights, or leave the scorer out of the electorate."
        )
