"""The functions behind `prefbench bench` and `prefbench report`; the command line itself is tested in test_cli.py."""

from pathlib import Path

import pytest

from prefbench.bench.commands.bench import bench_command
from prefbench.bench.commands.report import report_command
from prefbench.bench.exceptions import UsageError
from prefbench.bench.named_values import named_values

pytestmark = pytest.mark.usefixtures("toy_plugin")


def test_bench_ends_with_the_table_and_the_path_of_the_report_and_its_bars_go_to_stderr(
    suite_file: Path,
    tiny_pipeline: Path,
    other_pipeline: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "run"
    checkpoints = [f"base={tiny_pipeline}", f"other={other_pipeline}"]
    bench_command(str(suite_file), out, checkpoints, device="cpu", limit=3, dry_run=True)
    said = capsys.readouterr().out
    assert "3 prompts x 2 seeds. Nothing was written." in said
    assert [line.split()[-3:] for line in said.splitlines() if "images of" in line] == [["6", "0", "6"]] * 2
    assert not out.exists()

    bench_command(str(suite_file), out, checkpoints, device="cpu", limit=3)
    said, progress = capsys.readouterr()
    assert "toy:bright" in said
    assert "draw base" in progress
    assert "draw base" not in said
    assert said.splitlines()[-1] == f"Report: {out / 'report.html'}"
    # The path is longer than a line and stays whole, to be copied.
    assert max(len(line) for line in said.splitlines()[:-1]) <= 80

    (out / "report.html").unlink()
    report_command(out)
    assert capsys.readouterr().out == f"Report: {out / 'report.html'}\n"
    assert (out / "report.html").stat().st_size > 10_000


def test_pairs_keep_their_order_and_an_equals_sign_in_the_value() -> None:
    assert list(named_values("--checkpoint", "NAME=SPEC", ["b=x", "a=lora:y=1@z"]).items()) == [
        ("b", "x"),
        ("a", "lora:y=1@z"),
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["miniature"], "'miniature' is not of the form NAME=SPEC"),
        (["=x"], "not of the form"),
        (["a="], "not of the form"),
        ([" =x"], "not of the form"),
        (["a= "], "not of the form"),
        (["a=x", " a=y"], "the name has spaces around it. Write 'a'"),
        (["a=x", "a=y"], "names 'a' twice"),
    ],
)
def test_a_faulty_pair_is_refused(values: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        named_values("--checkpoint", "NAME=SPEC", values)
