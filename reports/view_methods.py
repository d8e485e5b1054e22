"""The settings of a run in words, and the paragraphs that can be pasted into a paper."""

from collections.abc import Mapping
from typing import Any

from prefbench.reports.view_facts import Facts
from prefbench.reports.view_numbers import count, join_words, number_word, plain, with_interval

__all__ = ["UNKNOWN", "intervals_text", "methods_text", "sampling_text", "seed_list", "seeds_text", "text_of"]

UNKNOWN = "not recorded"


def text_of(value: Any) -> str:
    """A value of a card as text; nested tables keep their keys."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text_of(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    return str(value)


def sampling_text(sampling: Mapping[str, Any] | None) -> str:
    """Sampling settings as one phrase, what every reader knows first."""
    if not sampling:
        return UNKNOWN
    parts = []
    if sampling.get("scheduler"):
        scheduler = str(sampling["scheduler"])
        parts.append("each pipeline's own scheduler" if scheduler == "pipeline default" else scheduler)
    if sampling.get("steps") is not None:
        parts.append(count(sampling["steps"], "step"))
    if sampling.get("guidance") is not None:
        parts.append(f"guidance {sampling['guidance']:g}")
    if sampling.get("width") and sampling.get("height"):
        parts.append(f"{sampling['width']} × {sampling['height']} pixels")
    if sampling.get("dtype"):
        parts.append(str(sampling["dtype"]))
    known = {"scheduler", "steps", "guidance", "width", "height", "dtype"}
    rest = {key: value for key, value in sampling.items() if key not in known and value not in (None, "")}
    parts += [f"{key.replace('_', ' ')} {text_of(value)}" for key, value in rest.items()]
    return ", ".join(parts)


def seed_list(seeds: list[int]) -> str:
    """The seeds, the first twelve of many."""
    if not seeds:
        return UNKNOWN
    listed = ", ".join(str(seed) for seed in seeds[:12])
    more = f" … ({len(seeds)} in all)" if len(seeds) > 12 else ""
    return listed + more


def _prompts(results: Mapping[str, Any]) -> str:
    """How many prompts; the statistics count a text given twice once, and so does this."""
    suite = results["suite"]
    distinct = count(suite["distinct_prompts"], "prompt")
    if suite["prompts"] == suite["distinct_prompts"]:
        return distinct
    return f"{distinct} ({suite['prompts']:,} with repetitions of the same text)"


def seeds_text(results: Mapping[str, Any]) -> str:
    """How many seeds each prompt has."""
    low, high = results["suite"]["seeds_per_prompt"]
    return count(low, "seed") if low == high else f"{low} to {high} seeds"


def _generation(facts: Facts, results: Mapping[str, Any]) -> str:
    suite = results["suite"]
    given = f"We compare {len(facts.checkpoints)} checkpoints ({join_words(facts.checkpoints)})"
    sets = join_words(
        [f"{s['name']} (version {s['version']}, sha256 {s['sha256'][:12]})" for s in suite["prompt_sets"]]
    )
    text = f"{given} on {_prompts(results)}"
    if sets:
        text += f" of {sets}"
    text += f", {seeds_text(results)} a prompt."
    finished = [name for name, info in results["checkpoints"].items() if info.get("kind") == "images"]
    if not suite.get("sampling"):
        source = "from finished images" if finished else "from a table of scores made elsewhere"
        return f"{text} The comparison starts {source}; how the images were generated is not recorded in it."
    text += (
        " For the same prompt and seed every checkpoint starts from the same initial noise "
        f"({sampling_text(suite['sampling'])})"
    )
    if finished:
        text += f", except {join_words(finished)}: finished images, made elsewhere"
    return text + "."


def _voting(facts: Facts, results: Mapping[str, Any]) -> str:
    voters = join_words([judge.name for judge in facts.voters])
    blind = [judge.name for judge in facts.judges if judge.prompt_blind]
    text = (
        f"{number_word(len(facts.voters))} {'scorer' if len(facts.voters) == 1 else 'scorers'} ({voters}) judged "
        "every pair of images with the same prompt and seed; the majority vote is the sign of the sum of "
        "their votes. A win rate is the mean over pairs of win 1, tie ½, loss 0."
    )
    rule = results["suite"]["electorate"].get("tie_rule")
    if rule:
        text += f" Tie rule: {rule}."
    tolerance = results["suite"]["electorate"].get("tie_tolerance")
    if tolerance:
        told = join_words([f"{name} {value:g}" for name, value in tolerance.items()])
        text += f" Scores that differ by no more than a tolerance tie: {told}."
    for name, scorers in facts.trained_against.items():
        if scorers:
            verb = "does" if len(scorers) == 1 else "do"
            text += f" {name} was trained against {join_words(scorers)}, which {verb} not vote where it takes part."
    if facts.held_out:
        held = join_words([judge.name for judge in facts.held_out])
        text += f" Held out, reported and without a vote: {held}."
    if blind:
        text += f" {join_words(blind)} {'does' if len(blind) == 1 else 'do'} not read the prompt."
    return text


def intervals_text(results: Mapping[str, Any]) -> str:
    """Resamples and seed of the bootstrap."""
    intervals = results["intervals"]
    return f"{intervals['resamples']:,} resamples, seed {intervals['seed']}"


def _planned(facts: Facts, results: Mapping[str, Any]) -> str:
    """What was planned and how p-values are adjusted; empty for results that do not say."""
    if "planned_slices" not in results["suite"]:
        return ""
    slices = results["suite"]["planned_slices"]
    also = f" and on the slices {join_words(slices)}" if slices else ""
    return (
        f" Planned was the vote against {facts.baseline} on all prompts{also}; all else is exploration. p-values are adjusted "
        "by Holm within the planned comparisons and by Benjamini-Hochberg within the others; intervals are not."
    )


def _statistics(facts: Facts, results: Mapping[str, Any]) -> str:
    method = str(results["intervals"]["method"]).rstrip(".")
    text = (
        f"Intervals ({intervals_text(results)}): {method}. They speak of other prompts of this kind, not of "
        "other training runs."
    )
    text += _planned(facts, results)
    agreement = results["agreement"]
    if agreement.get("mean_vote_correlation") is not None and agreement.get("effective_voters") is not None:
        text += (
            f" The votes of two scorers correlate by {plain(agreement['mean_vote_correlation'], 2)} on average, "
            f"which makes {len(facts.voters)} of them worth {agreement['effective_voters']:.1f} independent voters."
        )
    alpha = agreement.get("krippendorff_alpha")
    if alpha is not None:
        text += f" Krippendorff's alpha of the voters is {with_interval(alpha, agreement.get('krippendorff_ci95'), 2)}."
    if results.get("methods"):
        text += f" Methods over training seeds: {results['methods']['method']}"
    if results.get("ranking"):
        text += f" {results['ranking']['method']}"
    return text + f" Computed with prefbench {results['prefbench']}."


def methods_text(facts: Facts, results: Mapping[str, Any]) -> tuple[str, ...]:
    """Three paragraphs for a methods section: images, votes, statistics."""
    return _generation(facts, results), _voting(facts, results), _statistics(facts, results)
