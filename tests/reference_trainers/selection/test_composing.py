"""Scores, labels, flips and selection in one chain, on pairs whose scores are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.selection.composing import Composed, compose
from prefbench.reference_trainers.selection.composition import Composition
from prefbench.reference_trainers.selection.selection_table import reasons_table, write_reasons
from prefbench.reference_trainers.selection.summary import composition_card, summary_lines

# Greys of (image 0, image 1). The human prefers image 0 in all but the last pair.
GREYS = [(200, 100), (50, 150), (90, 80), (10, 250), (120, 120), (0, 255)]
HUMAN = [1, 1, 1, 1, 1, 0]
MARGIN_BY_HUMAN = np.array([100, -100, 10, -240, 0, 255]) / 255
VOTERS = ("pickscore", "hpsv2.1", "imagereward")
"""Registered names, for the check of names; the scorers behind them are grey ones here."""


@pytest.fixture
def scorers(grey_scorer):
    """Bright, bright and dark: by majority the brighter image wins."""
    return {
        "pickscore": grey_scorer("pickscore"),
        "hpsv2.1": grey_scorer("hpsv2.1"),
        "imagereward": grey_scorer("imagereward", sign=-1.0),
    }


@pytest.fixture
def run(grey_pairs, scorers, tmp_path: Path):
    def make(cfg: Composition, **more) -> Composed:
        pairs = more.pop("pairs", None) or grey_pairs(GREYS, HUMAN)
        return compose(pairs, cfg, cache_dir=tmp_path / "cache", load=scorers.__getitem__, **more)

    return make


def majority(**more) -> Composition:
    return Composition(labels="majority", electorate=",".join(VOTERS), tie_rule="drop", **more)


def margin(keep: int = 2, **more) -> Composition:
    return Composition(select="margin", select_scorer="pickscore", keep=keep, **more)


def test_a_vote_replaces_the_human_label_and_drops_ties(run):
    """The brighter image wins two votes to one; the pair of equal greys has three abstentions."""
    composed = run(majority())
    assert composed.pairs.rows.tolist() == [0, 1, 2, 3, 5]
    assert composed.pairs.winner_side.tolist() == [0, 1, 0, 1, 1]
    table = reasons_table(composed)
    assert table["relabelled"].tolist() == [False, True, False, True, False, False]
    assert table["verdict"].tolist() == [1, -1, 1, -1, 0, -1]
    assert table["winner"].isna().tolist() == [False] * 4 + [True, False]
    assert table["reason"][4].startswith("no label")
    assert table["kept"].tolist() == [True] * 4 + [False, True]


def test_a_vote_costs_nothing_the_second_time(run, scorers):
    """Twelve images, of which the fifth pair's are one and the same."""
    first = run(majority())
    assert [scorer.asked for scorer in scorers.values()] == [11, 11, 11]
    second = run(majority())
    assert [scorer.asked for scorer in scorers.values()] == [11, 11, 11]
    assert second.pairs.sha256 == first.pairs.sha256
    for name in VOTERS:
        assert (second.scores[name].values == first.scores[name].values).all()


def test_an_image_that_is_known_is_not_scored_again_in_other_data(run, scorers, grey_pairs):
    run(majority())
    prompts = ["grey 0", "new"]
    run(majority(), pairs=grey_pairs([(200, 33), (200, 100)], None, prompts))
    assert scorers["pickscore"].asked == 11 + 3  # 33 beside the first prompt, both beside the new one


def test_the_selection_orders_winner_and_loser_by_the_labels_in_force(run):
    """By the human the best margins are pairs 6 and 1; by the majority pairs 6 and 4, which it turned round."""
    assert run(margin()).pairs.rows.tolist() == [0, 5]
    composed = run(majority(select="margin", select_scorer="pickscore", keep=2))
    assert composed.pairs.rows.tolist() == [3, 5]
    assert composed.pairs.winner_side.tolist() == [1, 1]
    np.testing.assert_allclose(composed.selection.score, np.array([100, 100, 10, 240, 255]) / 255, rtol=1e-12)


def test_flips_come_before_the_selection_and_the_truth_is_kept(run):
    """All labels turned round: the margins change their sign, and every pair says that it was flipped."""
    composed = run(margin(), flip=1.0)
    np.testing.assert_allclose(composed.selection.score, -MARGIN_BY_HUMAN, rtol=1e-12)
    assert composed.pairs.rows.tolist() == [1, 3]
    assert composed.pairs.flipped.all()
    table = reasons_table(composed)
    assert table["flipped"].all()
    assert table["human_winner"].tolist() == [0, 0, 0, 0, 0, 1]
    assert (table["winner"] == 1 - table["human_winner"]).all()
    assert not table["relabelled"].any()
    card = composition_card(composed, margin())["selection"]
    assert card["flipped"] == {"before": {"count": 6, "share": 1.0}, "after": {"count": 2, "share": 1.0}}
    assert card["label_agrees_with_human"]["after"] == {"count": 0, "share": 0.0}


def test_local_weights_are_used_and_refused_where_nothing_scores_with_them(grey_pairs, tmp_path: Path):
    """The miniature CLIP's own files named by path give its own scores; a name that nobody asks is an error."""
    from importlib.resources import files

    folder = files("prefbench.bench.miniature") / "weights" / "scorers" / "clip"
    pairs, cache = grey_pairs(GREYS, HUMAN), tmp_path / "cache"
    by_name = Composition(labels="scorer:mini:clip")
    by_path = Composition(labels="scorer:mini:clip", weights=f"mini:clip={folder}")
    scores = [compose(pairs, cfg, cache_dir=cache).scores["mini:clip"].values for cfg in (by_name, by_path)]
    np.testing.assert_array_equal(*scores)
    with pytest.raises(UsageError, match="nothing here scores with pickscore. Scorers in use: mini:clip"):
        compose(pairs, Composition(labels="scorer:mini:clip", weights="pickscore=x"), cache_dir=cache)
    with pytest.raises(UsageError, match="weights 'x' is not of the form SCORER=PATH"):
        Composition(labels="scorer:mini:clip", weights="x")


def test_flips_come_after_a_vote(run):
    composed = run(majority(), flip=0.4, flip_seed=1)
    unflipped = run(majority())
    assert composed.pairs.flipped.sum() == 2
    turned = composed.pairs.winner_side != unflipped.pairs.winner_side
    assert (turned == composed.pairs.flipped).all()


@pytest.mark.parametrize("control", ["random", "margin"])
def test_a_control_keeps_as_many_pairs_by_its_own_rule(control: str, run):
    cfg = Composition(
        select="qsd",
        select_scorer="pickscore",
        psi_scale="cosine",
        keep="50%",
        keep_of="pairs",
        control=control,
    )
    composed = run(cfg)
    assert len(composed.pairs) == 3
    if control == "margin":
        assert composed.pairs.rows.tolist() == [0, 2, 5]
    else:
        drawn = [run(Composition(select="random", keep=3, select_seed=seed)).pairs.rows for seed in range(9)]
        assert (composed.pairs.rows == drawn[0]).all()
        assert any((rows != drawn[0]).any() for rows in drawn)


def test_quality_on_psi_of_the_labelled_winner(run):
    """Q of pair 2 is psi(50) (1 - psi(150)) with psi = grey / 255 under the human label."""
    cfg = Composition(select="qsd", select_scorer="pickscore", psi_scale="cosine", keep=1)
    composed = run(cfg)
    assert composed.selection.score[1] == pytest.approx(50 / 255 * (1 - 150 / 255), rel=1e-12)
    assert composed.pairs.rows.tolist() == [5]  # psi 1 for the winner, 0 for the loser


def test_a_share_is_of_pairs_or_of_all_rows(run, grey_pairs):
    """Six rows of which two are ties: half of the pairs are 2, half of the rows 3."""
    pairs = grey_pairs(GREYS, [1, 0.5, 1, 1, 0.5, 0])
    for keep_of, count in (("pairs", 2), ("rows", 3)):
        assert len(run(margin("50%", keep_of=keep_of), pairs=pairs).pairs) == count


def test_a_scorer_of_which_lower_is_better_votes_and_agrees_the_right_way(grey_pairs, grey_scorer, tmp_path):
    """Minus the grey, the lower the better, prefers the brighter image, as a table of these scores does."""
    dark = grey_scorer("pickscore", sign=-1.0, direction="lower")
    pairs, cache = grey_pairs(GREYS, HUMAN), tmp_path / "cache"
    by_dark = compose(pairs, Composition(labels="scorer:pickscore"), cache_dir=cache, load=lambda name: dark)
    assert by_dark.pairs.winner_side.tolist() == [0, 1, 0, 1, 1]
    selected = compose(pairs, margin(), cache_dir=cache, load=lambda name: dark)
    assert selected.pairs.rows.tolist() == [0, 5]
    card = composition_card(selected, margin())["selection"]
    assert card["scorer_agrees_with_label"] == {
        "before": {"count": 3, "share": 0.5},
        "after": {"count": 2, "share": 1.0},
    }
    write_reasons(selected, tmp_path / "dark.parquet")
    again = compose(pairs, margin(scores=str(tmp_path / "dark.parquet")), cache_dir=cache)
    assert again.pairs.rows.tolist() == [0, 5]


def test_a_method_that_would_read_a_lower_is_better_scorer_backwards_is_refused(
    grey_pairs, grey_scorer, tmp_path
):
    dark = grey_scorer("pickscore", sign=-1.0, direction="lower")
    with pytest.raises(UsageError, match="'pickscore' a lower score is better"):
        compose(
            grey_pairs([[200, 10]]),
            Composition(),
            wanted=("pickscore",),
            cache_dir=tmp_path,
            load=lambda name, **_: dark,
        )


def test_scores_of_our_own_table_keep_their_scale(grey_pairs, grey_scorer, run, tmp_path: Path):
    """A scorer that says it is no cosine is refused for QSD as a table as well as by itself."""
    reward = grey_scorer("imagereward", scale="standardised reward")
    pairs = grey_pairs(GREYS, HUMAN)
    cfg = Composition(select="margin", select_scorer="hpsv2.1", keep=2)
    made = compose(pairs, cfg, cache_dir=tmp_path, load=lambda name: reward)
    write_reasons(made, tmp_path / "r.parquet")
    wanted = {"select": "qsd", "select_scorer": "hpsv2.1", "psi_scale": "cosine", "keep": 1}
    with pytest.raises(UsageError, match="standardised reward"):
        run(Composition(**wanted, scores=str(tmp_path / "r.parquet")))


def test_a_table_of_labels_and_one_of_pairs_give_the_same_pairs_again(run, tmp_path: Path):
    cfg = majority(select="margin", select_scorer="pickscore", keep=3)
    composed = run(cfg)
    path = tmp_path / "both.parquet"
    write_reasons(composed, path)
    again = run(Composition(labels=f"file:{path}", select=f"file:{path}"))
    assert again.pairs.sha256 == composed.pairs.sha256
    assert again.scores == {}
    scored = run(Composition(**{**vars(cfg), "scores": str(path)}))
    assert scored.pairs.sha256 == composed.pairs.sha256


def table_of(tmp_path: Path, rows: list[dict]) -> Path:
    path = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


UNLABELLED = [{"row": i + 1, "prompt": f"grey {i}", "kept": i < 2} for i in range(6)]
ROWS = [{"row": i + 1, "prompt": f"grey {i}", "kept": i < 2, "winner": i % 2} for i in range(6)]


def test_a_table_of_someone_else_selects_and_labels(run, tmp_path: Path):
    path = table_of(tmp_path, ROWS)
    labelled = run(Composition(labels=f"file:{path}"))
    assert labelled.pairs.winner_side.tolist() == [0, 1, 0, 1, 0, 1]
    both = run(Composition(labels=f"file:{path}", select=f"file:{path}"))
    assert both.pairs.rows.tolist() == [0, 1]
    assert run(Composition(select=f"file:{table_of(tmp_path, UNLABELLED)}")).pairs.rows.tolist() == [0, 1]
    assert run(Composition(select=f"file:{table_of(tmp_path, UNLABELLED[:1])}")).pairs.rows.tolist() == [0]


def test_a_selection_made_with_other_labels_is_refused(run, tmp_path: Path):
    """Row 2's winner there is image 1, the human label says image 0; a table without winners selects by rows alone."""
    with pytest.raises(DataError, match=r"made with other labels: 2 of its 6 winners .* row 2 the first"):
        run(Composition(select=f"file:{table_of(tmp_path, ROWS)}"))
    write_reasons(run(margin()), tmp_path / "m.parquet")
    mine = Composition(select=f"file:{tmp_path / 'm.parquet'}")
    assert run(mine).pairs.rows.tolist() == run(margin()).pairs.rows.tolist()
    with pytest.raises(DataError, match="made with other labels: 3 of its 6 winners"):
        run(mine, flip=0.5)


@pytest.mark.parametrize(
    ("change", "what", "message"),
    [
        ({"row": 7}, "select", r"the row 7 stands twice, or is no row of greys \(1 to 6\)"),
        ({"row": 2}, "select", "the row 2 stands twice"),
        ({"row": 1.5}, "select", "the row 1.5 stands twice, or is no row"),
        ({"prompt": "a cat"}, "select", "row 1: the prompt is 'a cat', and in greys it is 'grey 0'"),
        ({"kept": "maybe"}, "select", "row 1: kept is maybe, not true or false"),
        ({"winner": 2}, "labels", "row 1: winner is 2, not 0 or 1"),
    ],
)
def test_a_table_of_other_data_is_refused(change: dict, what: str, message: str, run, tmp_path: Path):
    path = table_of(tmp_path, [ROWS[0] | change, *ROWS[1:]])
    with pytest.raises(DataError, match=message):
        run(Composition(**{what: f"file:{path}"}))


def test_our_table_is_refused_for_data_with_other_labels(run, grey_pairs, tmp_path: Path):
    write_reasons(run(margin()), tmp_path / "m.parquet")
    with pytest.raises(DataError, match="was made of other data than greys"):
        run(Composition(select=f"file:{tmp_path / 'm.parquet'}"), pairs=grey_pairs(GREYS, [0, *HUMAN[1:]]))


@pytest.mark.parametrize(
    ("cfg", "error", "message"),
    [
        (margin(7), DataError, r"is to keep 7 pairs \(keep = 7\), and greys has 6"),
        (margin("1%", keep_of="pairs"), DataError, r"is to keep 0 pairs \(keep = 1%\)"),
        (Composition(labels="file:absent.csv"), DataError, "labels: there is no file absent.csv"),
        (Composition(select="file:absent.csv"), DataError, "select: there is no file absent.csv"),
        (margin(scores="absent.csv"), DataError, "scores: there is no file absent.csv"),
        (Composition(scores="absent.csv"), UsageError, "has no effect"),
    ],
)
def test_what_can_be_known_is_known_before_any_image_is_scored(cfg, error: type, message: str, run, scorers):
    with pytest.raises(error, match=message):
        run(cfg)
    assert not any(scorer.asked for scorer in scorers.values())


def test_more_to_keep_than_a_vote_leaves_is_an_error(run):
    with pytest.raises(DataError, match="to keep 6 pairs, and there are 5"):
        run(majority(select="margin", select_scorer="pickscore", keep=6))


def test_a_score_that_is_not_finite_names_the_image(run, scorers, grey_scorer, grey_pairs):
    scorers["pickscore"].score = lambda images, prompts: np.full(len(images), np.nan)
    with pytest.raises(DataError, match=r"pickscore gave nan for image 0 of row 1 \(0:0:200\)"):
        run(margin())


FIFA = {
    "select": "fifa",
    "select_scorer": "pickscore",
    "quality_weight": 0.5,
    "diversity_weight": 0.0,
    "neighbour": 1,
    "text_embedding": "clip:miniature",
}


def test_fifa_leaves_out_and_counts_prompts_without_a_rating(run, tmp_path: Path):
    """Prompts 1 to 4 are rated 8, 8, 4, 0, of which the last is harmful; 5 and 6 are not rated.

    z over the four: margins (100, -100, 10, -240) / 255, mean -57.5, sd 127.941; ratings mean 5, sd sqrt(11).
    The unrated pair 6 has by far the largest margin and is not kept, nor counted as a 0.
    """
    path = tmp_path / "ratings.csv"
    path.write_text(
        "prompt,rating,harmlessness\ngrey 0,8,10\ngrey 1,8,10\ngrey 2,4,7\ngrey 3,0,1\n", encoding="utf-8"
    )
    cfg = Composition(**FIFA, text_quality=f"file:{path}", keep=2)
    composed = run(cfg)
    margins = MARGIN_BY_HUMAN[:4]
    ratings = np.array([8, 8, 4, 0])
    expected = (margins - margins.mean()) / margins.std() + 0.5 * (ratings - 5) / np.sqrt(11)
    np.testing.assert_allclose(composed.selection.score[:4], expected, rtol=1e-12)
    assert np.isnan(composed.selection.score[4:]).all()
    assert composed.selection.rank.tolist() == [1, 3, 2, 4, 0, 0]
    assert composed.pairs.rows.tolist() == [0, 2]
    table = reasons_table(composed)
    assert table["reason"].tolist() == [""] * 4 + ["not among the given ratings"] * 2
    assert table["prompt_rating"].isna().tolist() == [False] * 4 + [True] * 2
    assert {
        "margin", "text_quality", "text_diversity", "margin_z", "text_quality_z", "text_diversity_z", "score", "rank"
    } < set(table.columns)  # fmt: skip
    card = composition_card(composed, cfg)["selection"]
    assert card["without_score"] == 2
    assert card["ratings"]["prompts_without_rating"] == {"not among the given ratings": 2}
    assert card["ratings"]["harmful_prompts"] == {
        "before": {"count": 1, "share": 0.25},
        "after": {"count": 0, "share": 0.0},
    }
    assert card["ratings"]["low_rated_pairs"]["before"] == {"count": 2, "share": 0.5}
    lines = summary_lines(composition_card(composed, cfg))
    assert "  harmful prompts (below 5): before 1 (25.0 %), after 0 (0.0 %)" in lines
    assert "  2 prompts without a rating, left out: not among the given ratings" in lines


def test_fifa_cannot_keep_more_than_is_rated(run, tmp_path: Path):
    path = tmp_path / "ratings.csv"
    path.write_text("prompt,rating\ngrey 0,8\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"to keep 2 pairs, and there are 1 \(5 of 6 have no score\)"):
        run(Composition(**FIFA, text_quality=f"file:{path}", keep=2))
