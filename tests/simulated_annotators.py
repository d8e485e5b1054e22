"""Annotators whose care is known: pairs with a better image each, judged by a few people drawn by lot.

Run as a program it prints the table of docs/human_votes.md and the counts below it, in about a quarter of an hour.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prefbench.bench.people.reliability import weigh_annotators
from prefbench.bench.people.shown_pairs import arrange_votes
from prefbench.bench.people.votes_table import Judgements

MIXED = ["careful"] * 9 + ["random", "contrary", "first"]


def judgements(
    rng: np.random.Generator,
    kinds: Sequence[str],
    *,
    pairs: int,
    a_pair: int,
    images: int = 1,
    right: float = 0.9,
    ties: float = 0.1,
) -> Judgements:
    """Judgements of `pairs` prompts with `images` seeds each, each by `a_pair` annotators named KIND and a number.

    The careful ones name the better image with the probability `right` and tie with `ties`; the random ones answer by lot
    with as many ties; the contrary ones answer as the careful ones would, the other way round; the first ones always take
    what is shown first. Which checkpoint is shown first is drawn for each judgement.
    """
    rows = []
    for prompt in range(pairs):
        for seed in range(images):
            better = rng.choice(["mine", "base"])
            for k in rng.choice(len(kinds), size=a_pair, replace=False).tolist():
                a, b = rng.permutation(["mine", "base"]).tolist()
                wanted = better if rng.random() < right else {a: b, b: a}[better]
                if kinds[k] == "contrary":
                    wanted = {a: b, b: a}[wanted]
                if kinds[k] == "random":
                    wanted = rng.choice([a, b])
                choice = "a" if kinds[k] == "first" or wanted == a else "b"
                if kinds[k] != "first" and rng.random() < ties:
                    choice = "tie"
                rows.append((f"p{prompt}", f"prompt {prompt}", seed, a, b, f"{kinds[k]} {k}", choice, ""))
    columns = ["prompt_id", "prompt", "seed", "checkpoint_a", "checkpoint_b", "annotator", "choice", "where"]
    return Judgements("simulated", "Votes on pairs", pd.DataFrame(rows, columns=columns), True, ordered=True)


def gappy(
    rng: np.random.Generator, annotators: int, prompts: int, images: int, *, sees: float, by_lot: int = 0
) -> Judgements:
    """Equally good annotators who see a prompt with the chance `sees`, and half of its images.

    On half of the prompts everybody answers by lot, on the others 97 % are right; the first `by_lot` annotators always
    answer by lot.
    """
    right = np.where(rng.random(prompts) < 0.5, 0.97, 0.5)
    met = (rng.random((annotators, prompts, 1)) < sees) & (rng.random((annotators, prompts, images)) < 0.5)
    correct = rng.random(met.shape) < right[:, None]
    correct[:by_lot] = rng.random(correct[:by_lot].shape) < 0.5
    better = rng.random((prompts, images)) < 0.5
    who, prompt, image = np.nonzero(met)
    table = pd.DataFrame(
        {"prompt_id": [f"p{k}" for k in prompt], "seed": image, "annotator": [f"{k}" for k in who]}
    )
    table["choice"] = np.where(correct[met] == better[prompt, image], "a", "b")
    table = table.assign(prompt=table["prompt_id"], checkpoint_a="mine", checkpoint_b="base", where="")
    return Judgements("simulated", "Votes on pairs", table, True, ordered=True)


@dataclass(frozen=True)
class Study:
    """What became of annotators in several simulated studies."""

    flagged: dict[str, float]
    """Kind -> share of its annotators that are flagged."""
    careful_flagged: float
    """Share of the studies in which some careful annotator is."""
    agreement: float
    """Of a careful annotator with the others, the mean."""


def study(kinds: Sequence[str], studies: int, *, each: int, rng: np.random.Generator, **world: Any) -> Study:
    """Simulate studies in which three judge a pair and an annotator judges `each` pairs, on average."""
    seen, flagged, wrongly, agreements = Counter[str](), Counter[str](), 0, []
    for _ in range(studies):
        given = judgements(rng, kinds, pairs=each * len(kinds) // 3, a_pair=3, **world)
        found = weigh_annotators(arrange_votes(given), resamples=1, seed=0)
        for one in found:
            kind = one.name.split()[0]
            seen[kind] += 1
            flagged[kind] += one.flagged
            if kind == "careful" and one.agreement:
                agreements.append(one.agreement.win_rate)
        wrongly += any(one.flagged for one in found if one.name.startswith("careful"))
    shares = {kind: flagged[kind] / number for kind, number in seen.items()}
    return Study(shares, wrongly / studies, float(np.mean(agreements)))


def gappy_studies(studies: int, *size: int, rng: np.random.Generator, **world: Any) -> tuple[float, float]:
    """Shares of studies in which an annotator as good as the others is flagged, and in which annotator 0 is."""
    found = [
        [
            one.name == "0"
            for one in weigh_annotators(arrange_votes(gappy(rng, *size, **world)), resamples=1, seed=0)
            if one.flagged
        ]
        for _ in range(studies)
    ]
    zeroth = sum(any(flagged) for flagged in found)
    others = sum(not all(flagged) for flagged in found)
    return others / studies, zeroth / studies


def main() -> None:
    """Print the table, a line as soon as it is known."""
    print(
        "| careful ones agree | judgements each | random flagged | contrary | first | studies with a careful one flagged |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for right, ties in ((0.95, 0.05), (0.9, 0.1)):
        for each in (30, 60, 120, 240):
            rng = np.random.default_rng(0)
            found = study(MIXED, 50, each=each, rng=rng, right=right, ties=ties)
            shares = [f"{100 * found.flagged[kind]:.0f} %" for kind in ("random", "contrary", "first")]
            wrongly = f"{100 * found.careful_flagged:.0f} %"
            print(
                f"| {100 * found.agreement:.0f} % | {each} | {' | '.join(shares)} | {wrongly} |", flush=True
            )

    for right in (0.9, 0.65):
        for each in (15, 60):
            found = study(["careful"] * 10, 200, each=each, rng=np.random.default_rng(0), right=right)
            wrongly = f"{200 * found.careful_flagged:.0f} of 200 studies"
            agreement = f"{100 * found.agreement:.0f} %"
            print(
                f"Ten careful ones who agree in {agreement}, {each} judgements each: a flag in {wrongly}",
                flush=True,
            )

    for size in ((12, 40, 8), (15, 60, 16)):
        for sees in (0.25, 1.0):
            equal, _ = gappy_studies(200, *size, sees=sees, rng=np.random.default_rng(0))
            _, by_lot = gappy_studies(50, *size, sees=sees, by_lot=1, rng=np.random.default_rng(0))
            print(
                f"{size[0]} annotators, {size[1]} prompts, {size[2]} images: each sees {100 * sees:.0f} % of the prompts, half "
                f"of the images. All equal: a flag in {100 * equal:.1f} %; one answers by lot: {100 * by_lot:.0f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
