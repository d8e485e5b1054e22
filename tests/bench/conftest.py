"""A tiny random Stable Diffusion folder, tiny scorers, and a suite over both."""

from pathlib import Path

import pytest
import tiny_pipelines


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save_sd(tmp_path_factory.mktemp("tiny") / "base", seed=0)


@pytest.fixture(scope="session")
def other_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save_sd(tmp_path_factory.mktemp("tiny") / "other", seed=1)


KINDS = {"images": "images", "lora": "part", "unet": "part"}
TOY_PLUGIN = Path(__file__).parent / "toy_plugin"


@pytest.fixture
def toy_plugin(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scorers, prompt set and kind of checkpoint of toy_plugin, found through their real entry points."""
    from prefbench.bench import prompts
    from prefbench.bench.checkpoints import opening
    from prefbench.bench.registry import Registry
    from prefbench.scorers import registry

    monkeypatch.syspath_prepend(TOY_PLUGIN)
    # Entry points are read once a process; these tables have not read theirs yet.
    monkeypatch.setattr(registry, "REGISTRY", Registry("scorer", registry.TABLE, group="prefbench.scorers"))
    prompt_sets = Registry(
        "prompt set", {"hpdv2": "prefbench.bench.prompts.hpdv2:SOURCE"}, group="prefbench.prompts"
    )
    monkeypatch.setattr(prompts, "PROMPT_SETS", prompt_sets)
    kinds = {name: f"prefbench.bench.checkpoints.opening:open_{what}" for name, what in KINDS.items()}
    monkeypatch.setattr(
        opening, "KINDS", Registry("kind of checkpoint", kinds, group="prefbench.checkpoints")
    )
    monkeypatch.setattr("prefbench.bench.prompts.prompt_set.PROMPT_SETS", prompt_sets)
    return TOY_PLUGIN


PROMPTS = """prompt,category
a red cat,animals
a blue dog,animals
"a house, tall",things
a tree with very many leaves,things
a sun,things
"""

SUITE = """name = "toy"
prompts = ["{prompts}"]
seeds = [0, 1]

[sampling]
steps = 2
guidance = 2.0
scheduler = "ddim"

[electorate]
voters = ["toy:bright", "toy:red", "toy:words"]
held_out = ["toy:blue"]
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    """5 prompts x 2 seeds, 2 steps, three toy voters and one held out."""
    (tmp_path / "prompts.csv").write_text(PROMPTS)
    path = tmp_path / "toy.toml"
    path.write_text(SUITE.format(prompts=tmp_path / "prompts.csv"))
    return path
