"""`prefbench score --compile`: what is compiled, that nothing falls back in silence, and what it costs in exactness.

Tests with the inductor backend need a C++ compiler; the others trace with torch's own tracer and count.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, fx, nn

from prefbench.bench.exceptions import UsageError
from prefbench.bench.image_manifest import Manifest, read_manifest
from prefbench.bench.score_manifest import CHECKED_ROWS, score_manifest
from prefbench.scorers import compiled
from prefbench.scorers.compiled import check_compile, compile_scorer, compiling
from prefbench.scorers.dual_encoder import tower_of
from prefbench.scorers.info import ScorerInfo
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream import tiny_flan_t5

from . import tiny_vlm
from .conftest import NAMES, picture

COMPILER = os.environ.get("CXX") or "g++"
needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"no C++ compiler ({COMPILER}): torch.compile cannot work on this CPU",
)
COUNT = CHECKED_ROWS + 4


@dataclass
class Counter:
    """Stands for the compiler: runs each graph as it is, and counts."""

    graphs: int = 0
    runs: int = 0

    def __call__(self, graph: fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        self.graphs += 1

        def run(*given: Tensor) -> Any:
            self.runs += 1
            return graph.forward(*given)

        return run


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    counter = Counter()
    monkeypatch.setattr(compiled, "BACKEND", counter)
    yield counter
    torch.compiler.reset()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("images")
    for k in range(COUNT):
        picture(24, 24, k).save(folder / f"{k}.png")
    (folder / "m.csv").write_text(
        "image,prompt\n" + "".join(f"{k}.png,a cat {k % 3}\n" for k in range(COUNT))
    )
    return read_manifest(folder / "m.csv")


# Which modules, and that they run compiled


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_of_every_tower_passes_through_a_compiled_graph(
    name: str, folders: dict[str, Path], pictures: list[Image.Image], prompts: list[str], counter: Counter
) -> None:
    """Two layers a tower, one batch of six images, one of five distinct prompts: four runs, two where no prompt is read."""
    scorer = load_scorer(name, weights=folders[name])
    expected = scorer.score(pictures, prompts)
    compile_scorer(scorer)
    with compiling(scorer):
        np.testing.assert_allclose(scorer.score(pictures, prompts), expected, rtol=1e-5)
    assert counter.runs == (2 if name == "mini:aesthetic" else 4)


def test_batches_of_other_sizes_use_the_same_graph_but_for_a_batch_of_one(
    folders: dict[str, Path], counter: Counter
) -> None:
    scorer = load_scorer("mini:aesthetic", weights=folders["mini:aesthetic"])
    compile_scorer(scorer)
    graphs = []
    with compiling(scorer):
        for size in (4, 3, 7, 2, 1, 1, 5):
            scorer.score([picture(24, 24)] * size, [""] * size)
            graphs.append(counter.graphs)
    assert graphs == [1, 1, 1, 1, 2, 2, 2]


def test_texts_of_any_length_use_the_same_graphs(tmp_path: Path, counter: Counter) -> None:
    scorer = load_scorer(f"vqascore.vlm:{tiny_vlm.save_llava(tmp_path / 'llava')}")
    compile_scorer(scorer)
    graphs = []
    with compiling(scorer):
        for words in (3, 30, 12):
            scorer.score([picture(24, 24)] * 2, ["cat " * words] * 2)
            graphs.append(counter.graphs)
    assert graphs[0] == graphs[-1]


@pytest.mark.slow
def test_clip_flant5_is_compiled_in_its_three_stacks(tmp_path: Path, counter: Counter) -> None:
    name = "vqascore.clip-flant5-xl"
    scorer = load_scorer(name, weights=tiny_flan_t5.save_original(tmp_path / "flan"))
    expected = scorer.score([picture(24, 24), picture(30, 20)], ["a cat", "a dog"])
    compile_scorer(scorer)
    with compiling(scorer):
        again = scorer.score([picture(24, 24), picture(30, 20)], ["a cat", "a dog"])
    np.testing.assert_allclose(again, expected, rtol=1e-5)
    assert scorer.info.identity["compiled"]["blocks"] == ["CLIPEncoderLayer", "T5Block"]
    layers = tiny_flan_t5.T5["num_layers"] + tiny_flan_t5.T5["num_decoder_layers"]
    assert counter.runs == layers + tiny_flan_t5.VISION["num_hidden_layers"]


def test_the_packed_image_tower_of_qwen2_vl_stays_and_the_identity_says_so(
    tmp_path: Path, counter: Counter
) -> None:
    scorer = load_scorer(f"vqascore.vlm:{tiny_vlm.save_qwen2_vl(tmp_path / 'qwen')}")
    compile_scorer(scorer)
    with compiling(scorer):
        scorer.score([picture(24, 24), picture(30, 20)], ["a cat", "a dog"])
    assert counter.runs == 2
    assert scorer.info.identity["compiled"]["blocks"] == ["Qwen2VLDecoderLayer"]


# Nothing falls back


class Stack(nn.Module):
    """A network whose one block is made of a function."""

    def __init__(self, block: Callable[[Tensor], Tensor]) -> None:
        super().__init__()

        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(4, 4)

            def forward(self, x: Tensor) -> Tensor:
                return block(self.inner(x))

        self.layers = nn.ModuleList([Block()])


@dataclass
class PlugIn:
    """What somebody else's scorer may look like."""

    network: Any
    info: ScorerInfo
    batch_size: int = 2

    def score(self, images: Any, prompts: Any) -> Any:
        return self.network.layers[0](torch.ones(len(images), 4)).sum(dim=1).detach().double().numpy()

    def truncated(self, prompts: Any) -> Any:
        return np.zeros(len(prompts), bool)


def plug_in(network: Any) -> PlugIn:
    return PlugIn(network, ScorerInfo("acme", None, "none", "none", "nothing", {"scorer": "acme"}))


def test_a_block_that_is_not_one_graph_is_an_error_and_not_half_compiled(counter: Counter) -> None:
    scorer = plug_in(Stack(lambda x: x if x.sum() > 0 else -x))
    compile_scorer(scorer)
    with pytest.raises(UsageError, match="acme: torch.compile cannot compile its network"), compiling(scorer):
        scorer.score([0, 1], ["", ""])
    assert counter.runs == 0


def test_too_many_recompilations_are_an_error_and_do_not_run_uncompiled(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MOST_GRAPHS", 1)
    scorer = plug_in(Stack(lambda x: x))
    compile_scorer(scorer)
    with pytest.raises(UsageError, match="cannot compile its network.*recompile limit"), compiling(scorer):
        scorer.score([0, 1], ["", ""])
        scorer.score([0], [""])
    assert counter.runs == 1


@pytest.mark.parametrize("network", [None, "a name", nn.Linear(2, 2)])
def test_a_scorer_without_a_network_of_blocks_is_refused(network: Any) -> None:
    scorer = plug_in(network)
    with pytest.raises(UsageError, match=r"acme has no network.* leave out --compile, or this scorer"):
        compile_scorer(scorer)
    assert "compiled" not in scorer.info.identity


def test_the_original_package_is_refused_before_its_environment_is_made() -> None:
    with pytest.raises(UsageError, match="imagereward@upstream is computed by the original package"):
        check_compile(["imagereward@upstream"], "cpu")


def test_a_switched_off_torch_compile_is_refused(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    check_compile(["mini:clip"], "cpu")
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    with pytest.raises(UsageError, match="is switched off"):
        check_compile(["mini:clip"], "cpu")
    assert counter.runs == 1


def test_a_machine_without_a_compiler_gets_one_paragraph_and_no_scores(
    manifest: Manifest, tmp_path: Path
) -> None:
    """Nothing on the search path, none named in CXX."""
    command = [
        sys.executable,
        "-c",
        "from prefbench.bench.cli import main; main()",
        "score",
        str(manifest.path),
    ]
    command += ["--scorer", "mini:clip", "--out", str(tmp_path / "out"), "--compile", "--device", "cpu"]
    environment = {name: value for name, value in os.environ.items() if name != "CXX"}
    environment |= {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2, done.stderr
    assert "No working C++ compiler found" in said
    assert "install g++" in said
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


# Numbers


def test_the_fingerprint_and_the_tower_change_and_those_of_uncompiled_scorers_do_not(
    folders: dict[str, Path],
) -> None:
    plain, other = (load_scorer("mini:clip", weights=folders["mini:clip"]) for _ in range(2))
    before, identity = plain.info.fingerprint, dict(plain.info.identity)
    compile_scorer(plain, check_only=True)
    assert (plain.info.fingerprint, plain.info.identity) == (before, identity)
    compile_scorer(other)
    assert other.info.fingerprint != before
    assert tower_of(other) not in (None, tower_of(plain))
    assert {k: v for k, v in other.info.identity.items() if k != "compiled"} == identity
    assert load_scorer("mini:clip", weights=folders["mini:clip"]).info.fingerprint == before


@pytest.fixture(scope="module")
def inductor_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield
    torch.compiler.reset()


@needs_compiler
@pytest.mark.usefixtures("inductor_cache")
def test_the_difference_to_the_uncompiled_network_is_stated_and_true(
    manifest: Manifest, folders: dict[str, Path], tmp_path: Path
) -> None:
    """And scores kept from before are never taken for compiled ones, nor the other way round."""
    name, weights = "mini:aesthetic", {"mini:aesthetic": str(folders["mini:aesthetic"])}
    plain = score_manifest(manifest, [name], tmp_path / "plain", weights=weights)
    scored = score_manifest(manifest, [name], tmp_path / "out", weights=weights, compiled=True)
    stated = json.loads((tmp_path / "out" / "scorers.json").read_text())["scorers"][name]["precision"]
    differences = np.abs(scored.scores["score"] - plain.scores["score"]).to_numpy()[:CHECKED_ROWS]
    assert (stated["dtype"], stated["compiled"], stated["rows"]) == ("float32", True, CHECKED_ROWS)
    assert stated["largest_difference"] == pytest.approx(differences.max(), rel=1e-9)
    assert 0 < stated["largest_difference"] < 1e-4 * stated["deviation_of_scores"]
    assert scored.kept == {name: 0}
    for compiled_too in (True, False):
        again = score_manifest(manifest, [name], tmp_path / "out", weights=weights, compiled=compiled_too)
        assert again.kept == {name: COUNT}


@needs_compiler
@pytest.mark.usefixtures("inductor_cache")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "mini:aesthetic" else pytest.mark.slow) for name in NAMES]
)
def test_a_compiled_score_does_not_depend_on_the_batch(
    name: str, folders: dict[str, Path], pictures: list[Image.Image], prompts: list[str]
) -> None:
    scorer = load_scorer(name, weights=folders[name])
    plain = scorer.score(pictures, prompts)
    compile_scorer(scorer)
    with compiling(scorer):
        together = scorer.score(pictures, prompts)
        backwards = scorer.score(pictures[::-1], prompts[::-1])[::-1]
        alone = np.concatenate([scorer.score([p], [t]) for p, t in zip(pictures, prompts, strict=True)])
        scorer.batch_size = 4
        uneven = scorer.score(pictures, prompts)
    for scores in (backwards, alone, uneven):
        np.testing.assert_allclose(scores, together, rtol=1e-5)
    np.testing.assert_allclose(together, plain, rtol=1e-4, atol=1e-6)


def test_half_precision_is_compiled_too_and_two_scorers_on_one_tower_share_it(
    manifest: Manifest, folders: dict[str, Path], tmp_path: Path, counter: Counter
) -> None:
    """Two layers x batches of 16 and 4; two of CLIP's text x one batch of prompts in each; and the check before it all."""
    folder = tmp_path / "tower"
    shutil.copytree(folders["mini:aesthetic"], folder)
    shutil.copytree(folders["mini:clip"], folder, dirs_exist_ok=True)
    weights = dict.fromkeys(("mini:clip", "mini:aesthetic"), str(folder))
    scored = score_manifest(
        manifest, list(weights), tmp_path / "out", weights=weights, compiled=True, dtype="bfloat16"
    )
    assert counter.runs == 2 * 2 + 2 * 2 + 1
    for described in scored.scorers.values():
        assert (described["precision"]["dtype"], described["precision"]["compiled"]) == ("bfloat16", True)
        assert (
            0 < described["precision"]["largest_difference"] < described["precision"]["deviation_of_scores"]
        )
        assert (described["identity"]["dtype"], described["identity"]["compiled"]["dynamic"]) == (
            "bfloat16",
            True,
        )
