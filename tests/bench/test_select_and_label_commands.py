"""`prefbench select` and `prefbench label` on the miniature data, and training from the files that they write."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefbench.bench.cli import main

DATA = "miniature:200"
ELECTORATE = ["mini:hpsv2", "mini:clip", "mini:pickscore", "mini:aesthetic"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """One cache for the file: every image is scored once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("COLUMNS", "200")
        yield


@pytest.fixture
def prefbench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., tuple[int, str]]:
    """(exit code, all that was printed) of the command line."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["prefbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, " ".join((out + err).split())

    return run


def done(found: tuple[int, str]) -> str:
    code, text = found
    assert code == 0, text
    return text


@pytest.fixture
def qsd(prefbench, tmp_path: Path) -> pd.DataFrame:
    text = done(prefbench("select", "qsd", "--data", DATA, "--out", tmp_path / "qsd.parquet"))
    assert "Selection qsd by mini:hpsv2: 10 of 200 pairs (5.0 %)" in text  # 5.33 % of 200, rounded down
    return pd.read_parquet(tmp_path / "qsd.parquet")


def test_every_term_of_qsd_is_in_the_file_and_agrees_with_the_formula(qsd: pd.DataFrame):
    assert list(qsd.columns) == [
        "row", "prompt", "image_0", "image_1", "human_winner", "winner", "relabelled", "flipped", "mini:hpsv2_0",
        "mini:hpsv2_1", "score_winner", "score_loser", "psi_winner", "psi_loser", "score", "rank", "kept", "reason",
    ]  # fmt: skip
    first = qsd["winner"] == 0
    np.testing.assert_array_equal(qsd["psi_winner"], qsd["mini:hpsv2_0"].where(first, qsd["mini:hpsv2_1"]))
    np.testing.assert_allclose(qsd["score"], qsd["psi_winner"] * (1 - qsd["psi_loser"]), rtol=1e-12)
    by_rank = qsd.sort_values("rank")
    assert by_rank["rank"].tolist() == list(range(1, 201))
    assert (np.diff(by_rank["score"]) <= 0).all()
    assert by_rank["kept"].tolist() == [True] * 10 + [False] * 190
    assert qsd["row"].tolist() == list(range(1, 201))
    assert qsd["image_0"].is_unique


def test_controls_keep_as_many_pairs_and_differ(prefbench, qsd: pd.DataFrame, tmp_path: Path):
    kept = {"qsd": set(qsd["row"][qsd["kept"]])}
    for control in ("random", "margin"):
        out = tmp_path / f"{control}.parquet"
        text = done(prefbench("select", "dpo_qsd", "--data", DATA, "--control", control, "--out", out))
        assert f"control {control}" in text
        table = pd.read_parquet(out)
        kept[control] = set(table["row"][table["kept"]])
        assert len(kept[control]) == 10
    margin = (qsd["score_winner"] - qsd["score_loser"]).to_numpy()
    assert kept["margin"] == {int(i) + 1 for i in np.argsort(-margin, kind="stable")[:10]}
    assert len({frozenset(rows) for rows in kept.values()}) == 3


def test_fifa_writes_its_three_terms_and_counts_low_rated_prompts(prefbench, tmp_path: Path):
    out = tmp_path / "fifa.parquet"
    text = done(prefbench("select", "fifa", "--data", DATA, "--keep", 15, "--out", out))
    assert "prompts rated by the miniature world's grammar (a rule, no LLM)" in text
    assert "low-rated prompts (below 5): before" in text
    table = pd.read_parquet(out)
    total = table["margin_z"] + 0.5 * table["text_quality_z"] + 0.5 * table["text_diversity_z"]
    np.testing.assert_allclose(table["score"], total, rtol=1e-9, atol=1e-12)
    for term in ("margin", "text_quality", "text_diversity"):
        z = (table[term] - table[term].mean()) / table[term].std(ddof=0)
        np.testing.assert_allclose(table[f"{term}_z"], z, rtol=1e-6, atol=1e-9)
    assert set(table["text_quality"]) == {0.0, 10.0}
    assert table["kept"].sum() == 15
    assert (table["text_quality"][table["kept"]] == 10).all()


def test_votes_are_in_the_file_and_ties_have_no_label(prefbench, tmp_path: Path):
    out = tmp_path / "votes.parquet"
    text = done(prefbench("label", "majority", "--data", DATA, "--out", out))
    table = pd.read_parquet(out)
    votes = sum(np.sign(table[f"{name}_0"] - table[f"{name}_1"]) for name in ELECTORATE)
    np.testing.assert_array_equal(table["verdict"], votes)
    tied = (votes == 0).to_numpy()
    assert 0 < tied.sum() < 200
    assert (table["winner"].isna().to_numpy() == tied).all()
    assert (table["kept"].to_numpy() == ~tied).all()
    assert table["winner"][~tied].tolist() == [0 if vote > 0 else 1 for vote in votes[~tied]]
    assert table["relabelled"].sum() == (table["winner"] != table["human_winner"])[~tied].sum()
    assert f"{200 - tied.sum()} of 200 pairs have one" in text
    assert f"tied votes {tied.sum()}" in text


@pytest.mark.parametrize(("rule", "kept"), [("scorer:mini:clip", 200), ("random", 200), ("vanilla", 200)])
def test_other_rules_label_every_pair_whose_scores_differ(rule: str, kept: int, prefbench, tmp_path: Path):
    out = tmp_path / "labels.parquet"
    done(prefbench("label", rule, "--data", DATA, "--out", out))
    table = pd.read_parquet(out)
    assert table["winner"].notna().sum() == kept
    if rule == "scorer:mini:clip":
        assert (table["winner"] == (table["mini:clip_1"] > table["mini:clip_0"])).all()


def train(prefbench, out: Path, *arguments: object) -> dict:
    """The card of a training run of two steps in the miniature world."""
    common = ["--backbone", "miniature", "--data", DATA, "--out", out, "--steps", 2, "--batch", 2]
    done(prefbench("train", "diffusion_dpo", *common, *arguments))
    return json.loads((out / "prefbench.json").read_text())


def test_training_from_the_files_is_training_on_what_they_say(prefbench, tmp_path: Path):
    """select and label once; then the run that names the rules and the run that names the files see the same pairs."""
    both = tmp_path / "both.parquet"
    rules = ["--labels", "majority", "--flip", 0.0]
    done(prefbench("select", "qsd", "--data", DATA, *rules, "--out", both))
    table = pd.read_parquet(both)
    composition = ["--select", "qsd", "--labels", "majority"]
    by_rules = train(prefbench, tmp_path / "rules", *composition)
    by_files = train(prefbench, tmp_path / "files", "--select", f"file:{both}", "--labels", f"file:{both}")
    assert by_files["composition"]["pairs_sha256"] == by_rules["composition"]["pairs_sha256"]
    assert by_rules["data"]["pairs"] == table["kept"].sum()
    by_scores = train(prefbench, tmp_path / "scores", "--select", "qsd", "--scores", both)
    assert by_scores["composition"]["selection"]["kept"] == 10


def test_a_composition_means_what_it_says(prefbench, tmp_path: Path):
    """FiFA's selection on majority labels with a refreshed reference, flips on top: every part shows in the card."""
    select = tmp_path / "select.parquet"
    rules = ["--labels", "majority", "--flip", 0.3, "--flip-seed", 5]
    done(prefbench("select", "fifa", "--data", DATA, *rules, "--out", select))
    table = pd.read_parquet(select)
    labelled = table["winner"].notna()
    card = train(
        prefbench, tmp_path / "run", *rules, "--select", "fifa", "--reference", "refresh:1", "--kappa", 900
    )
    made = card["composition"]
    assert made["labels"]["electorate"] == ELECTORATE
    assert made["labels"]["labelled"] == labelled.sum()
    assert made["selection"]["select"] == "fifa"
    assert made["selection"]["kept"] == table["kept"].sum() == labelled.sum() // 10
    assert (
        made["selection"]["flipped"]["before"]["count"]
        == table["flipped"].sum()
        == round(0.3 * labelled.sum())
    )
    assert made["selection"]["flipped"]["after"]["count"] == table["flipped"][table["kept"]].sum()
    turned = table["winner"] != np.where(table["verdict"] > 0, 0, 1)
    assert (turned[labelled] == table["flipped"][labelled]).all()
    constants = card["constants"]
    assert constants["reference"] == {"value": "refresh:1", "source": "--reference"}
    assert (
        "2503.12575" in constants["electorate"]["source"] or "miniature" in constants["electorate"]["source"]
    )
    assert constants["keep"]["value"] == "10%"
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["reference_moves"] for row in metrics] == [1, 2]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(prefbench, tmp_path: Path):
    text = done(prefbench("select", "fifa", "--data", DATA, "--out", tmp_path / "x.parquet", "--dry-run"))
    assert "400 image scores by each of mini:pickscore" in text
    assert "distinct prompts to rate (grammar) and embed (clip:miniature)" in text
    assert "not in any source that could be read" in text
    assert not list(tmp_path.iterdir())


BAD = {
    "more pairs than there are": (["select", "qsd", "--keep", "201"], "to keep 201 pairs"),
    "a share that could be a mistake": (["select", "qsd", "--keep", "0.05"], "neither a share nor a number"),
    "none to keep": (["select", "qsd", "--keep", "0.1%"], "to keep 0 pairs"),
    "an unknown scorer": (["select", "margin", "--scorer", "pickscor", "--keep", "5"], "Did you mean 'pickscore'"),
    "an unknown rule": (["select", "fiffa"], "Did you mean 'fifa'"),
    "an unknown label rule": (["label", "majorty"], "Did you mean 'majority'"),
    "an even electorate without a tie rule": (
        ["label", "majority", "--scorer", "mini:clip", "--scorer", "mini:hpsv2"],
        "2 scorers can tie, and there is no tie_rule",
    ),
    "a scorer twice": (["label", "majority", "--scorer", "mini:clip", "--scorer", "mini:clip"], "names a scorer twice"),
    "an electorate that nobody reads": (["label", "scorer:mini:clip", "--scorer", "mini:hpsv2"], "has no effect"),
    "a scorer that is no cosine": (["select", "qsd", "--scorer", "mini:aesthetic"], "is no cosine"),
    "a setting of training": (["select", "qsd", "--lr", "1e-3"], "--lr is a setting of training"),
    "an unknown setting": (["select", "qsd", "--neighbor", "1"], "Did you mean 'neighbour'"),
    "no ratings": (["select", "fifa", "--recipe", "paper"], "needs a value for text_quality"),
    "no server": (["select", "fifa", "--text-quality", "llm:m"], "needs llm_url"),
    "ratings of no kind": (["select", "fifa", "--text-quality", "gramar"], "Did you mean 'grammar'"),
    "an absent table": (["select", "qsd", "--scores", "absent.csv"], "there is no file absent.csv"),
    "two rules": (["select", "qsd", "fifa"], "One METHOD is needed"),
    "an option without a value": (["select", "qsd", "--select-seed"], "--select-seed has no value"),
    "a negative seed": (["select", "random", "--keep", "5", "--select-seed", "-1"], "must not be negative"),
    "a control of nothing": (["label", "majority", "--control", "random"], "is the control of a selection"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_paragraph_with_exit_code_2_and_nothing_is_written(
    case: str, prefbench, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    code, text = prefbench(*arguments, "--data", DATA, "--out", tmp_path / "out.parquet")
    assert code == 2, text
    assert message in text
    assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_a_folder_of_data_gets_no_table(prefbench, tmp_path: Path):
    data = tmp_path / "pairs.parquet"
    pd.DataFrame({"prompt": ["a"], "image_0": ["0.png"], "image_1": ["1.png"], "label_0": [1]}).to_parquet(
        data
    )
    before = data.read_bytes()
    code, text = prefbench("label", "scorer:mini:clip", "--data", DATA, "--out", data)
    assert (code, "is there already" in text) == (2, True)
    code, text = prefbench(
        "label", "scorer:mini:clip", "--data", tmp_path, "--out", tmp_path / "votes.parquet"
    )
    assert (code, "would stand among the data" in text) == (2, True)
    assert data.read_bytes() == before
    code, text = prefbench("label", "scorer:mini:clip", "--data", DATA, "--out", "/proc/votes.parquet")
    assert (code, "cannot be written" in text) == (2, True)
    code, text = prefbench("label", "scorer:mini:clip", "--data", DATA, "--out", tmp_path / "votes.csv")
    assert code == 2
    assert "must be the name of a .parquet file" in text
