"""The gate that draws: plain-coloured checkpoints whose scores are known, and a real process that is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from prefbench.bench.exceptions import LedgerError, UsageError
from prefbench.bench.gate.prompt_order import keyed_order
from prefbench.bench.gate.rules import GateRules
from prefbench.bench.gate.sequential import Settings, sequential_claims
from prefbench.bench.gate.sequential_gating import gate_by_blocks
from prefbench.bench.gate.sequential_run import Drawn, gate_suite, plan_gate
from prefbench.bench.gate.sequential_scores import replay
from prefbench.bench.paired_samples import arrange, cast_ballots
from prefbench.bench.run import run_suite
from prefbench.bench.scores_table import read_scores
from prefbench.bench.store.ledger import Ledger
from prefbench.bench.suite import Suite, load_suite, parse_suite

pytestmark = pytest.mark.usefixtures("toy_plugin")

BETTER = {"kind": "superiority"}
TEXTS = [f"a picture of thing {n}" for n in range(24)]
#: Brighter, redder and greener, so all voters are for white; and the other way round.
WHITE, BLACK = {"base": "plain:gray", "mine": "plain:white"}, {"base": "plain:gray", "mine": "plain:black"}


@pytest.fixture
def suite(suite_file: Path, tmp_path: Path) -> Suite:
    """24 texts, the first of them under two ids: 25 rows x 2 seeds."""
    (tmp_path / "prompts.csv").write_text("\n".join(["prompt", *TEXTS, TEXTS[0]]) + "\n")
    return load_suite(str(suite_file))


def settings(*rules: dict[str, Any], block: int = 4, **options: Any) -> Settings:
    claims = sequential_claims(
        GateRules.model_validate({"rules": list(rules or (BETTER,))}), ["toy:bright", "toy:red", "toy:words"]
    )
    return Settings(claims, block=block, **options)


def gate(
    suite: Suite, specs: dict[str, str], out: Path, given: Settings | None = None, **options: Any
) -> Drawn:
    return gate_suite(suite, specs, out, "mine", "base", given or settings(), device="cpu", **options)


def rows(out: Path, query: str) -> list[Any]:
    db = sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_it_stops_as_soon_as_it_decides_and_draws_no_prompt_beyond(suite: Suite, tmp_path: Path) -> None:
    """All pairs are won, so ten texts are needed: three blocks of four. TEXTS[0] has two rows, if it is among them."""
    out, looks = tmp_path / "gate", []
    found = gate(suite, WHITE, out, told=looks.append)
    first = set(keyed_order(TEXTS, 0)[:12])
    extra = TEXTS[0] in first
    assert (found.gate.outcome, [look.prompts for look in looks]) == ("pass", [4, 8, 12])
    images = 2 * 2 * (12 + extra)
    assert (found.use.prompts, found.use.of_prompts, found.use.images, found.use.of_images) == (
        12,
        24,
        images,
        100,
    )
    numbers = [int(i.removeprefix("row-")) for (i,) in rows(out, "SELECT DISTINCT prompt_id FROM samples")]
    assert {[*TEXTS, TEXTS[0]][n - 1] for n in numbers} == first
    assert rows(out, "SELECT count(*) FROM samples") == [(images,)]
    assert rows(out, "SELECT count(*) FROM images") == [(images,)]

    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    again = gate(suite, WHITE, out)
    assert again.gate.course == found.gate.course
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.png")} == times


def test_a_darker_candidate_fails_and_an_equal_one_is_seen_to_the_end(suite: Suite, tmp_path: Path) -> None:
    worse = gate(suite, BLACK, tmp_path / "worse")
    assert (worse.gate.outcome, worse.use.prompts) == ("fail", 12)
    equal = gate(
        suite, {"base": "plain:gray", "mine": "plain:#808080"}, tmp_path / "equal", settings(block=7)
    )
    assert (equal.gate.outcome, equal.gate.stopped, equal.use.prompts) == ("inconclusive", False, 24)
    assert equal.use.images == equal.use.of_images
    (standing,) = equal.gate.course[-1].standings.values()
    assert (standing.estimate, standing.prompts, standing.pairs) == (0.5, 24, 50)


def test_bench_completes_the_folder_and_the_gate_says_the_same_after_it(suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "gate"
    before = gate(suite, WHITE, out)
    results = run_suite(suite, WHITE, out, device="cpu", resamples=1000)
    fresh = run_suite(suite, WHITE, tmp_path / "fresh", device="cpu", resamples=1000)
    assert results | {"created": ""} == fresh | {"created": ""}
    assert gate(suite, WHITE, out).gate.course == before.gate.course


@pytest.mark.parametrize(
    ("other", "names", "said"),
    [
        (settings(block=8), ("mine", "base"), "block is 4 there and 8 now"),
        (settings(alpha=0.1), ("mine", "base"), "alpha is 0.05 there and 0.1 now"),
        (settings(order_seed=1), ("mine", "base"), "order_seed is 0 there and 1 now"),
        (settings({"kind": "non_inferiority", "margin": 0.03}), ("mine", "base"), "margin"),
        (settings(), ("base", "mine"), "candidate is 'mine' there and 'base' now"),
    ],
)
def test_what_decides_may_not_change_once_it_is_begun(
    suite: Suite, tmp_path: Path, other: Settings, names: tuple[str, str], said: str
) -> None:
    out = tmp_path / "gate"
    gate(suite, WHITE, out)
    kept = (out / "ledger.sqlite").read_bytes()
    for call in (gate_suite, plan_gate):
        with pytest.raises(LedgerError, match="begun with other settings") as caught:
            call(suite, WHITE, out, *names, other, device="cpu")
        assert said in str(caught.value)
    assert (out / "ledger.sqlite").read_bytes() == kept


def test_images_that_were_drawn_before_there_were_rules_are_refused(suite: Suite, tmp_path: Path) -> None:
    run_suite(suite, WHITE, tmp_path / "run", device="cpu", resamples=1000)
    with pytest.raises(LedgerError, match="was not made by a sequential gate"):
        gate(suite, WHITE, tmp_path / "run")


def test_a_plan_says_what_at_most_is_drawn_and_writes_nothing(suite: Suite, tmp_path: Path) -> None:
    out = tmp_path / "gate"
    plan = plan_gate(suite, WHITE, out, "mine", "base", settings(), device="cpu")
    assert [(row.name, row.wanted, row.present) for row in plan.checkpoints] == [
        ("base", 50, 0),
        ("mine", 50, 0),
    ]
    assert not out.exists()


@pytest.mark.parametrize(
    ("specs", "names", "said"),
    [
        (WHITE, ("mime", "base"), "Did you mean 'mine'"),
        (WHITE, ("mine", "mine"), "both name 'mine'"),
        ({**WHITE, "third": "plain:red"}, ("mine", "base"), "names third too"),
    ],
)
def test_two_checkpoints_and_no_other(
    suite: Suite, tmp_path: Path, specs: dict[str, str], names: tuple[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        gate_suite(suite, specs, tmp_path / "gate", *names, settings(), device="cpu")
    assert not (tmp_path / "gate").exists()


def test_a_candidate_trained_against_a_voter_is_not_judged_by_it(
    suite_file: Path, suite: Suite, tmp_path: Path
) -> None:
    """Red beats gray by toy:red alone; without that voter it loses by brightness and by green."""
    specs = {"base": "plain:gray", "mine": "plain:red"}
    text = suite_file.read_text() + '\n[trained_against]\nmine = ["toy:red"]\n'
    rules = settings(BETTER, {"kind": "superiority", "scorer": "toy:red"})
    barred = gate(load_suite(_write(tmp_path / "barred.toml", text)), specs, tmp_path / "barred", rules)
    assert [s.outcome for s in barred.gate.course[-1].standings.values()] == ["fail", "pass"]
    everyone = text.replace('["toy:red"]', '["toy:bright", "toy:red", "toy:words"]')
    with pytest.raises(UsageError, match="nobody is left to vote"):
        gate(parse_suite(everyone, where="here"), specs, tmp_path / "nobody")


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("free", "loads"), [(0.0, 3), (0.9, 1)])
def test_networks_stay_where_half_of_the_memory_is_free_and_are_loaded_a_block_where_not(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, loads: int
) -> None:
    import toy_scorers  # type: ignore[import-not-found]

    counted: list[str] = []
    load = toy_scorers.PlainCheckpoint.load
    monkeypatch.setattr(
        toy_scorers.PlainCheckpoint,
        "load",
        lambda self, device: counted.append(self.name) or load(self, device),
    )
    monkeypatch.setattr("prefbench.bench.networks.free_share", lambda device: free)
    found = gate(suite, WHITE, tmp_path / "gate")
    assert len(found.gate.course) == 3
    assert counted.count("base") == counted.count("mine") == loads


CODE = """
import sys
from pathlib import Path
from prefbench.bench.gate.rules import GateRules
from prefbench.bench.gate.sequential import Settings, sequential_claims
from prefbench.bench.gate.sequential_run import gate_suite
from prefbench.bench.suite import load_suite
suite, out = sys.argv[1:]
loaded = load_suite(suite)
claims = sequential_claims(GateRules.model_validate({"rules": [{"kind": "superiority"}]}), loaded.electorate.scorers)
specs = {"base": "plain:gray", "mine": "plain:white"}
gate_suite(loaded, specs, Path(out), "mine", "base", Settings(claims, block=4), device="cpu")
"""


def test_killed_and_started_again_it_sees_the_same_images_in_the_same_order_and_decides_the_same(
    suite_file: Path, tmp_path: Path, toy_plugin: Path
) -> None:
    """12 prompts in blocks of 4, killed with SIGKILL within the second block, while the slow scorer looks at it. Then what was
    drawn stays as it was, and every look is that of a replay on the scores of `bench`.
    """
    (tmp_path / "prompts.csv").write_text("\n".join(["prompt", *TEXTS[:12]]) + "\n")
    text = suite_file.read_text().replace("seeds = [0, 1]", "seeds = [7]").replace("toy:blue", "toy:slow")
    suite = load_suite(_write(suite_file, text))
    killed, bench = tmp_path / "killed", tmp_path / "bench"
    environment = os.environ | {"PYTHONPATH": str(toy_plugin)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CODE, str(suite_file), str(killed)], env=environment
    )
    try:
        deadline = time.monotonic() + 120
        while _count(killed) < 10:
            assert process.poll() is None, "the gate ended before its second block"
            assert time.monotonic() < deadline, "no second block in 120 s"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 10 <= _count(killed) <= 16
    drawn = {path: path.stat().st_mtime_ns for path in killed.rglob("*.png")}

    resumed = gate(suite, WHITE, killed)
    run_suite(suite, WHITE, bench, device="cpu", resamples=1000)
    scores = read_scores(bench / "scores.parquet")
    samples = arrange(scores, ["base", "mine"], suite.electorate.voters, suite.electorate.held_out)
    replayed, use = replay(samples, cast_ballots(samples, [("mine", "base")]), settings())
    assert resumed.gate.course == replayed.course
    assert resumed.use == use
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn
    pictures = [{p.name: p.read_bytes() for p in out.rglob("*.png")} for out in (killed, bench)]
    assert pictures[0].items() <= pictures[1].items()
    assert len(pictures[0]) == use.images
    with Ledger(killed, read_only=True) as ledger:
        assert json.loads(ledger.meta("sequential_gate") or "")["block"] == 4


def _count(out: Path) -> int:
    try:
        return int(rows(out, "SELECT count(*) FROM images")[0][0])
    except sqlite3.OperationalError:
        return 0  # not there yet


def test_one_checkpoint_under_two_names_is_refused_before_anything_is_drawn(
    suite: Suite, tmp_path: Path
) -> None:
    twice, out = {"base": "plain:gray", "mine": "plain:gray"}, tmp_path / "gate"
    for call in (gate_suite, plan_gate):
        with pytest.raises(UsageError, match="The checkpoints mine and base are one"):
            call(suite, twice, out, "mine", "base", settings(), device="cpu")
    assert not out.exists()
    assert gate(suite, twice, out, allow=["identical"]).gate.outcome == "inconclusive"


def test_two_specs_of_the_same_pictures_are_no_pass(suite: Suite, tmp_path: Path) -> None:
    """At a margin of 40 points 24 ties pass, and say nothing."""
    equal = {"base": "plain:gray", "mine": "plain:#808080"}
    options = {"margin": 0.4, "block": 12, "device": "cpu"}
    with pytest.raises(UsageError, match="exactly the same score on all .*--allow identical"):
        gate_by_blocks(suite, equal, tmp_path / "gate", "mine", "base", **options)
    assert not (tmp_path / "gate" / "gate.json").exists()
    report = gate_by_blocks(suite, equal, tmp_path / "gate", "mine", "base", allow=["identical"], **options)
    assert (report["outcome"], report["allowed"]) == ("pass", ["identical"])
