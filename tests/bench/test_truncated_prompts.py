"""A run whose voters cut some prompts off says what came out on the others."""

import shutil
from pathlib import Path

import pytest

from prefbench.bench.exceptions import UsageError
from prefbench.bench.gate.gating import gate_release
from prefbench.bench.run import run_suite
from prefbench.bench.suite import parse_suite

SUITE = """
name = "long"
prompts = ["{prompts}"]
seeds = [0]

[sampling]
steps = 1
width = 16
height = 16
guidance = 2.0

[electorate]
voters = ["mini:clip"]
held_out = ["mini:pickscore"]
"""


def test_the_untruncated_prompts_are_compared_apart(
    tiny_pipeline: Path, other_pipeline: Path, tmp_path: Path
) -> None:
    """The miniature's CLIP score reads 24 tokens: two of five prompts are longer."""
    short = ["a red circle", "a blue square", "a green star"]
    long = [
        f"a {colour} circle and " + "a small blue square and " * 8 + "a star" for colour in ("red", "pink")
    ]
    (tmp_path / "prompts.csv").write_text("prompt\n" + "\n".join(short + long) + "\n")
    suite = parse_suite(SUITE.format(prompts=tmp_path / "prompts.csv"), where="test")
    checkpoints = {"base": str(tiny_pipeline), "other": str(other_pipeline)}
    results = run_suite(suite, checkpoints, tmp_path / "run", device="cpu", resamples=1000)
    assert results["scorers"]["mini:clip"]["truncated"] == 2
    rows = {row["slice"]: row["prompts"] for row in results["comparisons"]}
    assert rows == {"all": 5, "prompts=untruncated": 3}
    assert results["suite"]["truncated_prompts"] == ["row-00004", "row-00005"]

    # A gate can ask for that slice, and decides by the numbers of the results.
    rules = tmp_path / "gate.toml"
    name = "prompts=untruncated"
    rules.write_text(f'[[rules]]\nkind = "slice_loss"\nslices = ["{name}"]\nmargin = 0.1\n')
    report = gate_release(tmp_path / "run", "other", "base", tmp_path / "gate", rules=rules)
    found = next(row for row in results["comparisons"] if (row["slice"], row["scorer"]) == (name, "majority"))
    (entry,) = report["rules"]
    assert (entry["slice"], entry["prompts"], entry["estimate"]) == (name, 3, found["win_rate"])
    assert entry["interval"] == pytest.approx(found["ci95"], abs=1e-12)
    shutil.copyfile(tmp_path / "run" / "scores.parquet", tmp_path / "bare.parquet")
    with pytest.raises(
        UsageError, match="there is none here.*voters cut off some of the prompts and not all"
    ):
        gate_release(tmp_path / "bare.parquet", "other", "base", tmp_path / "gate", rules=rules)
