"""Order within a prompt and correlation over all images, against scipy and against numbers that were published."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from prefbench.bench.judges.choices import HumanChoices, pairs_within
from prefbench.bench.judges.opening import open_choices
from prefbench.bench.judges.people import PERSON
from prefbench.bench.judges.rank_correlation import Correlation, mean_values, over_all, within_prompts


def choices_of(values: list[list[float]], prompts: list[str]) -> HumanChoices:
    group = np.array([prompts.index(text) for text in prompts])
    table = np.array(values, dtype=float)
    pairs, _ = pairs_within(group, table)
    names = [str(k) for k in range(len(prompts))]
    return HumanChoices("here", "test", prompts, group, table, pairs, "mean", comparable=True, names=names)


def within(choices: HumanChoices, **scores: list[float]) -> dict[str, Correlation]:
    found = {name: np.array(values, dtype=float) for name, values in scores.items()}
    return within_prompts(choices, found, resamples=20, rng=np.random.default_rng(0))


def test_tau_is_the_mean_over_prompts_by_hand() -> None:
    """p: orders 1 2 3 and 1 3 2 differ in one pair of three, tau 1/3; q: reversed, tau -1. Mean -1/3."""
    choices = choices_of([[1, 2, 3, 1, 2]], ["p", "p", "p", "q", "q"])
    found = within(choices, mine=[1, 3, 2, 9, 8])["mine"]
    assert found.tau is not None
    assert (found.tau.mean, found.groups) == (pytest.approx(-1 / 3), 2)


@given(st.integers(0, 2**32 - 1), st.integers(3, 8))
def test_tau_within_one_prompt_is_scipys_tau_b(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    values, scores = rng.integers(1, 4, images).astype(float), rng.integers(1, 4, images).astype(float)
    found = within(choices_of([values.tolist()], ["p"] * images), mine=scores.tolist())["mine"]
    expected = stats.kendalltau(scores, values)[0] if np.ptp(values) and np.ptp(scores) else None
    assert (found.tau is None) == (expected is None)
    if found.tau is not None:
        assert found.tau.mean == pytest.approx(expected)
        assert found.tau.ci95 is None, "one prompt says nothing of others"


def test_a_constant_scorer_has_no_tau_and_says_so() -> None:
    choices = choices_of([[1, 2, 3, 1, 2, 2]], ["p", "p", "p", "q", "q", "q"])
    found = within(choices, constant=[7] * 6)["constant"]
    assert (found.tau, found.groups, found.undefined) == (None, 0, 2)
    assert over_all(choices, {"constant": np.full(6, 7.0)})["constant"] == dict.fromkeys(
        ("kendall", "spearman", "pearson")
    )


def test_an_image_without_a_score_is_left_out_of_the_correlation() -> None:
    choices = choices_of([[1, 2, 3, 4]], ["p", "p", "p", "q"])
    found = over_all(choices, {"mine": np.array([1.0, 2.0, 3.0, np.nan])})["mine"]
    assert found == {"kendall": pytest.approx(1), "spearman": pytest.approx(1), "pearson": pytest.approx(1)}


def test_an_image_rated_by_some_has_the_mean_of_those() -> None:
    nan = float("nan")
    assert mean_values(choices_of([[1, nan], [3, 5]], ["p", "p"])).tolist() == [2.0, 5.0]


def test_without_ties_tau_of_two_people_is_twice_their_agreement_less_one(reference_data: Path) -> None:
    """Weighted by pairs it is exact; prompts here have 36 or 45 pairs, so the mean over prompts is near 2 x 0.7955 - 1."""
    choices = open_choices(str(reference_data / "hpdv2_test"), images=False)
    found = within(choices)[PERSON]
    assert found.tau is not None
    assert (found.groups, found.undefined) == (40 * 45, 0)
    assert found.tau.mean == pytest.approx(2 * 0.79549 - 1, abs=2e-5)


# Printed by Yushi-Hu/tifa@5fdd711 human_annotations/compute_correlation.ipynb: "Spearman's Correlation" (which is
# np.corrcoef, so Pearson's r) and Kendall's tau.
PUBLISHED = {
    "meteor": (0.33965916777485317, 0.27407599432086477),
    "bleu": (0.18334016729588443, 0.18791013860699693),
    "rouge": (0.3288894058298478, 0.24485782545105927),
    "spice": (0.3280527854243443, 0.2317581980131657),
    "clipscore_vitb32": (0.3318181645103688, 0.2314458979024208),
    "tifa_vilt": (0.4932251792578269, 0.3824088520807112),
    "tifa_git-large": (0.5445007948927731, 0.42550824027221545),
    "tifa_ofa-large": (0.4961472092111418, 0.37247819040318836),
    "tifa_blip2-flant5xl": (0.5589831246126169, 0.4359972113027652),
    "tifa_mplug-large": (0.5967201059577838, 0.4717164648720951),
}


def test_tifas_published_correlations_come_out(reference_data: Path) -> None:
    path = reference_data / "human_ratings" / "tifa_human_annotations_with_scores.json"
    choices = open_choices(str(path), scored=list(PUBLISHED), images=False)
    found = over_all(choices, choices.recorded)
    for name, (pearson, kendall) in PUBLISHED.items():
        assert found[name]["pearson"] == pytest.approx(pearson, abs=1e-9)
        assert found[name]["kendall"] == pytest.approx(kendall, abs=1e-9)
    assert found["tifa_mplug-large"]["spearman"] == pytest.approx(0.592, abs=5e-4)
    averages = [entry["human_avg"] for entry in json.loads(path.read_text()).values()]
    assert mean_values(choices).tolist() == averages
