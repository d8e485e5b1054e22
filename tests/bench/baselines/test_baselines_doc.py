"""docs/baselines.md says what the code does: kinds, files, fields, commands."""

import re
from pathlib import Path

import pytest
import stored_runs

from prefbench.bench.baselines.differences import KINDS
from prefbench.bench.baselines.folder import save_baseline
from prefbench.bench.baselines.history import HISTORY, PAGE, make_history

DOC = (Path(__file__).parents[3] / "docs" / "baselines.md").read_text(encoding="utf-8")


def keys(block: str) -> set[str]:
    """Words in quotes before a colon, comma or brace: the keys that a schema block names."""
    return set(re.findall(r'"(\w+)"', block))


def test_every_kind_of_difference_is_explained() -> None:
    assert [kind for kind in KINDS if f"| `{kind}` |" not in DOC] == []
    assert HISTORY in DOC
    assert PAGE in DOC


def test_the_schemas_name_every_field(tmp_path: Path) -> None:
    run = stored_runs.write_run(tmp_path / "run", stored_runs.table({"a": {"k": [[1]]}, "b": {"k": [[2]]}}))
    stored = [save_baseline(run, name, checkpoint=name, folder=tmp_path / "baselines") for name in ("a", "b")]
    record, history = stored[0].record, make_history(stored, resamples=1000)
    first, second = (block for block in DOC.split("```") if block.lstrip().startswith("{"))
    assert set(record) | set(record["source"]) | set(record["scores"]) <= keys(first)
    parts = [
        history["electorate"],
        history["releases"][0],
        history["means"][0],
        history["scorers"]["k"],
        history["intervals"],
    ]
    assert set(history).union(*parts) <= keys(second)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = stored_runs.table({"candidate": {"k": [[1, 1]]}, "base": {"k": [[2, 2]]}})
    stored_runs.write_run(tmp_path / "runs" / "today", frame)
    old = stored_runs.write_run(tmp_path / "runs" / "old", frame[frame["seed"] == 0])
    save_baseline(old, "sd15-2026-11", checkpoint="base", folder=tmp_path / "baselines")
    monkeypatch.chdir(tmp_path)
    code = DOC.split("```python")[1].split("```")[0]
    exec(code, {})
    assert "Allowed: Seeds differ" in capsys.readouterr().out
