"""What `prefbench judges` does: open, score, judge, write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefbench.bench.atomic import write_json, write_text
from prefbench.bench.exceptions import UsageError
from prefbench.bench.judges.choices import HumanChoices
from prefbench.bench.judges.judging import judge
from prefbench.bench.judges.opening import open_choices
from prefbench.bench.judges.printing import markdown
from prefbench.bench.judges.scoring import JudgedScores, recorded_scores, score_images, without_gaps
from prefbench.bench.out_folder import check_own_folder
from prefbench.bench.progress import Stages, silent
from prefbench.bench.registry import unknown_name
from prefbench.bench.resamples import check_resamples
from prefbench.bench.store.measure_cache import MeasureCache
from prefbench.bench.user_cache import cache_folder

__all__ = ["PAGE", "RESULTS", "Request", "check_request", "judge_data", "open_data", "open_validation"]

RESULTS, PAGE = "results.json", "judges.md"
LOWER = ":lower"
"""After the name of a recorded score of which lower is better."""


@dataclass(frozen=True)
class Request:
    """Who is judged, and on what.

    Attributes:
        data: as `open_choices` takes it.
        scorers: names of scorers to compute.
        columns: names of recorded scores; NAME:lower where lower is better.
        weights: scorer -> path of local weights.
        architectures: scorer -> JSON file of sizes.
        image_folder: what image paths are relative to.
        validation: data to choose tie thresholds by.
    """

    data: str
    scorers: Sequence[str] = ()
    columns: Sequence[str] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    architectures: Mapping[str, str] = field(default_factory=dict)
    image_folder: Path | None = None
    validation: str | None = None

    @property
    def recorded(self) -> list[tuple[str, bool]]:
        """(column, whether higher is better)."""
        return [(text.removesuffix(LOWER), not text.endswith(LOWER)) for text in self.columns]


def check_request(request: Request) -> None:
    """Refuse what cannot be judged, before any data is read.

    Raises:
        UsageError: nobody to judge, a name given twice, weights for a scorer that is not asked for, or validation data
            that are the data.
    """
    names = [*request.scorers, *(name for name, _ in request.recorded)]
    if not names:
        raise UsageError(
            "Nobody is to be judged: name a scorer with --scorer, e.g. --scorer pickscore, or a recorded score of the data with "
            "--score-column."
        )
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name!r} is given twice. Name each scorer and column once.")
    for option, values in (("--weights", request.weights), ("--architecture", request.architectures)):
        for name in values:
            if name not in request.scorers:
                raise unknown_name(f"scorer in {option}", name, list(request.scorers))
    if request.validation and _one_place(request.data, request.validation):
        raise _same_data(request)


def _one_place(data: str, validation: str) -> bool:
    one, other = Path(data), Path(validation)
    return data == validation or (one.exists() and other.exists() and one.samefile(other))


def _same_data(request: Request) -> UsageError:
    return UsageError(
        f"--validation {request.validation} holds the same choices as DATA {request.data}: a threshold that is chosen on the "
        "pairs it is judged on looks better than it is. Give other pairs, or leave --validation out: the threshold of a prompt "
        "is then chosen on the other prompts."
    )


def open_data(request: Request, data: str) -> HumanChoices:
    """The choices of `data` with what the request needs of them: recorded columns, and images where they are scored."""
    return open_choices(
        data,
        scored=[name for name, _ in request.recorded],
        images=bool(request.scorers),
        image_folder=request.image_folder if data == request.data else None,
        option="DATA" if data == request.data else "--validation",
    )


def open_validation(request: Request, choices: HumanChoices) -> HumanChoices | None:
    """The choices to choose thresholds by, None where none are given.

    Raises:
        UsageError: they are those of `choices`, in whatever file and order.
    """
    if request.validation is None:
        return None
    others = open_data(request, request.validation)
    if len(others.pairs) == len(choices.pairs) and _told(others) == _told(choices):
        raise _same_data(request)
    return others


def _told(choices: HumanChoices) -> list[tuple[Any, ...]]:
    """What people said of which pair, and the recorded scores, in an order of its own."""
    names = choices.names if choices.named else [""] * len(choices.names)
    recorded = list(choices.recorded.values())
    return sorted(
        (
            choices.prompts[one],
            names[one],
            names[other],
            said,
            *(float(v[k]) for v in recorded for k in (one, other)),
        )
        for (one, other), said in zip(choices.pairs.tolist(), choices.people().tolist(), strict=True)
    )


def judge_data(
    request: Request,
    out: Path,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    device: str = "cpu",
    stages: Stages = silent,
) -> dict[str, Any]:
    """Judge and write `results.json` and `judges.md` to `out`.

    Args:
        request: checked by `check_request` first.
        out: folder, new, empty or of an earlier call, whose two files are replaced.
        resamples: bootstrap samples, at least 1000.
        seed: of the bootstrap.
        device: torch device.
        stages: shows progress.

    Returns:
        What results.json holds (`judging.py`).

    Raises:
        UsageError: as `check_request`; a folder that holds something else.
        PrefbenchError: data, weights or images that cannot be used.
    """
    check_request(request)
    check_resamples(resamples)
    check_own_folder(out, "judges", RESULTS, ("schema", "data", "accuracy", "tie_thresholds"))
    choices = open_data(request, request.data)
    tied = bool((choices.people() == 0).any())
    others = open_validation(request, choices) if tied else None
    judged = _scores(request, choices, device, stages)
    choices = without_gaps(choices, judged)
    validation = None
    if others is not None:
        scored = _scores(request, others, device, stages)
        validation = (without_gaps(others, scored), scored)
    results = judge(choices, judged, validation=validation, resamples=resamples, seed=seed)
    if request.validation and not tied:
        results["warnings"].append(f"--validation {request.validation} was not needed: people tied no pair.")
    write_json(out / RESULTS, results)
    write_text(out / PAGE, markdown(results))
    return results


def _scores(request: Request, choices: HumanChoices, device: str, stages: Stages) -> list[JudgedScores]:
    recorded = recorded_scores(choices, request.recorded)
    if not request.scorers:
        return recorded
    with MeasureCache(cache_folder()) as cache:
        scored = score_images(
            choices,
            request.scorers,
            cache,
            weights=request.weights,
            architectures=request.architectures,
            device=device,
            stages=stages,
        )
    return [*scored, *recorded]
