import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.checkpoints.sources import HubSource
from prefbench.bench.exceptions import DataError, MissingWeightsError, PrefbenchError, UsageError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.suite import Sampling

SAMPLING = Sampling(steps=2, guidance=2.0)


@pytest.fixture
def copy(tiny_pipeline: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline, tmp_path / "copy"))


def test_identity_is_of_contents_and_not_of_place(
    tiny_pipeline: Path, other_pipeline: Path, copy: Path
) -> None:
    here, there, other = (
        open_checkpoint("x", str(p)).identity for p in (tiny_pipeline, copy, other_pipeline)
    )
    assert here == there
    assert here != other


@pytest.mark.parametrize(
    "name", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"]
)
def test_identity_changes_with_any_file_that_decides_pixels(copy: Path, name: str) -> None:
    before = open_checkpoint("x", str(copy)).identity
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    assert open_checkpoint("x", str(copy)).identity != before


def test_identity_does_not_change_with_what_is_not_loaded(copy: Path) -> None:
    before = open_checkpoint("x", str(copy)).identity
    (copy / "README.md").write_text("hello")
    (copy / "unet" / ".cache").write_text("hidden")
    (copy / "safety_checker").mkdir()
    (copy / "safety_checker" / "config.json").write_text("{}")
    assert open_checkpoint("x", str(copy)).identity == before


def test_identity_says_that_the_safety_checker_is_off(tiny_pipeline: Path) -> None:
    assert open_checkpoint("x", str(tiny_pipeline)).identity["safety_checker"] == "off"


def test_sample_key_depends_on_all_that_decides_the_pixels(tiny_pipeline: Path, other_pipeline: Path) -> None:
    mine, other = open_checkpoint("a", str(tiny_pipeline)), open_checkpoint("a", str(other_pipeline))
    cat = Prompt("1", "cat")
    keys = [
        mine.sample_key(cat, 0, SAMPLING),
        mine.sample_key(cat, 1, SAMPLING),
        mine.sample_key(Prompt("1", "dog"), 0, SAMPLING),
        other.sample_key(cat, 0, SAMPLING),
        *(
            mine.sample_key(cat, 0, SAMPLING.model_copy(update=change))
            for change in (
                {"steps": 3}, {"guidance": 3.0}, {"scheduler": "euler"}, {"width": 32, "height": 32},
                {"negative_prompt": "blur"}, {"dtype": "float16"},
            )
        ),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    renamed = open_checkpoint("b", str(tiny_pipeline))
    assert renamed.sample_key(Prompt("2", "cat"), 0, SAMPLING) == keys[0]


def test_size_is_the_pipelines_own_unless_the_suite_says(tiny_pipeline: Path) -> None:
    checkpoint = open_checkpoint("x", str(tiny_pipeline))
    assert checkpoint.size(SAMPLING) == (16, 16)  # sample_size 8, VAE factor 2
    assert checkpoint.size(SAMPLING.model_copy(update={"width": 32, "height": 24})) == (32, 24)


def test_training_card_of_a_lora_leads_to_its_base(tiny_pipeline: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "pytorch_lora_weights.safetensors").write_bytes(b"")
    card = {"kind": "lora", "base": str(tiny_pipeline), "method": "sft"}
    (folder / "prefbench.json").write_text(json.dumps(card))
    checkpoint = open_checkpoint("x", str(folder))
    assert (checkpoint.kind, checkpoint.training) == ("lora", card)
    assert checkpoint.identity == open_checkpoint("x", f"lora:{folder}@{tiny_pipeline}").identity
    with pytest.raises(UsageError, match="the base .* is itself a LoRA"):
        open_checkpoint("x", f"lora:{folder}@{folder}")


def test_training_card_of_a_pipeline_is_kept(copy: Path) -> None:
    (copy / "prefbench.json").write_text('{"kind": "pipeline", "method": "sft"}')
    checkpoint = open_checkpoint("x", str(copy))
    assert (checkpoint.kind, checkpoint.training) == ("pipeline", {"kind": "pipeline", "method": "sft"})


def test_a_path_may_hold_an_at_sign(tiny_pipeline: Path, tmp_path: Path) -> None:
    unet = tmp_path / "run@2" / "unet"
    shutil.copytree(tiny_pipeline / "unet", unet)
    checkpoint = open_checkpoint("x", f"unet:{unet.parent}@{tiny_pipeline}")
    assert checkpoint.kind == "unet"
    checkpoint.check([], [0])


def test_hub_commit_comes_from_the_local_cache_without_a_network(
    tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub client's own cache layout: refs/main names the commit, snapshots/<commit> holds the files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--model"
    shutil.copytree(tiny_pipeline, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    checkpoint = open_checkpoint("x", "some/model")
    assert checkpoint.base == HubSource("some/model", commit)  # type: ignore[attr-defined]
    assert checkpoint.identity == {
        "kind": "pipeline", "hub": "some/model", "commit": commit, "safety_checker": "off",
    }  # fmt: skip
    checkpoint.check([], [0])
    assert checkpoint.size(SAMPLING) == (16, 16)
    with pytest.raises(DataError, match="no such checkpoint"):
        open_checkpoint("x", "some/other@v2")


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("/no/such/folder", DataError, "does not exist"),
        ("out", DataError, "does not exist, and it is no hub id"),
        ("lora:x", UsageError, "names no base. Write lora:PATH@BASE"),
        ("unet:x@", UsageError, "names no base"),
        ("images:", UsageError, "names no folder"),
        ("images:/no/such", DataError, "there is no folder /no/such"),
        ("lora:/no/such@{base}", DataError, "/no/such does not exist"),
        ("lora:{empty}@{base}", MissingWeightsError, "no LoRA weights"),
        ("unet:{empty}@{base}", MissingWeightsError, "holds no UNet"),
        ("{empty}", DataError, "no model_index.json"),
        ("{base}/unet", DataError, "unet:{base}/unet@BASE"),
    ],
)
def test_a_spec_that_leads_nowhere_says_so(
    spec: str, error: type[PrefbenchError], said: str, tiny_pipeline: Path, tmp_path: Path
) -> None:
    names = {"base": str(tiny_pipeline), "empty": str(tmp_path)}
    with pytest.raises(error) as caught:
        open_checkpoint("x", spec.format(**names))
    assert said.format(**names) in str(caught.value)


def test_a_pipeline_of_another_class_is_refused(copy: Path) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    with pytest.raises(DataError, match="'FluxPipeline'; supported are StableDiffusionPipeline"):
        open_checkpoint("x", str(copy))


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "merge"}'])
def test_a_broken_card_is_refused(copy: Path, content: str) -> None:
    (copy / "prefbench.json").write_text(content)
    with pytest.raises(DataError, match=r"prefbench\.json"):
        open_checkpoint("x", str(copy))


def test_a_missing_part_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "vae")
    with pytest.raises(DataError, match="'vae'"):
        open_checkpoint("x", str(copy))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("unet/diffusion_pytorch_model.safetensors", None, "unet has no weights"),
        ("unet/config.json", None, "unet/config.json does not exist"),
        ("unet/config.json", "[]", "unet/config.json holds list, not a JSON object"),
        ("vae/config.json", "{", "vae/config.json is not valid JSON"),
        (
            "unet/diffusion_pytorch_model.safetensors.index.json",
            '{"weight_map": {"a": "b"}}',
            "unet lacks b, which",
        ),
        ("tokenizer/tokenizer.json", None, "tokenizer has 2 words and a limit of 16 tokens"),
        ("tokenizer/tokenizer.json", "{", "tokenizer cannot be opened"),
        ("tokenizer/tokenizer_config.json", None, "tokenizer has 190 words and no limit of tokens"),
        ("scheduler/scheduler_config.json", None, "scheduler_config.json does not exist"),
        ("scheduler/scheduler_config.json", "[]", "scheduler_config.json holds list"),
    ],
)
def test_a_faulty_part_is_found_before_anything_is_drawn(
    copy: Path, name: str, content: str | None, said: str
) -> None:
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(content)
    with pytest.raises(PrefbenchError) as caught:
        open_checkpoint("x", str(copy)).check([], [0])
    assert said in str(caught.value)


@pytest.mark.parametrize("entry", [[], None, [None, None], "x", ["diffusers"]])
def test_an_index_without_a_needed_part_is_refused(copy: Path, entry: object) -> None:
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"unet": entry}))
    with pytest.raises(DataError, match=r"model_index\.json: the part 'unet' is"):
        open_checkpoint("x", str(copy))


@pytest.mark.parametrize("size", [{"width": 30, "height": 32}, {"width": 9, "height": 9}])
def test_a_size_that_diffusers_does_not_draw_is_refused(tiny_pipeline: Path, size: dict[str, int]) -> None:
    with pytest.raises(DataError, match=f"in steps of 8 pixels, not {size['width']} x {size['height']}"):
        open_checkpoint("x", str(tiny_pipeline)).size(SAMPLING.model_copy(update=size))


def test_a_cut_off_lora_is_found_before_anything_is_drawn(tiny_pipeline: Path, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_lora_weights.safetensors"
    save_file({"unet.lora_A.weight": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MissingWeightsError, match=r"pytorch_lora_weights\.safetensors is damaged"):
        open_checkpoint("x", f"lora:{tmp_path}@{tiny_pipeline}").check([], [0])


def test_a_base_that_is_gone_is_told_with_the_card_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"")
    (tmp_path / "prefbench.json").write_text('{"kind": "lora", "base": "gone"}')
    with pytest.raises(
        DataError, match=rf'gone does not exist.*This path is "base" in {tmp_path}/prefbench\.json'
    ):
        open_checkpoint("x", str(tmp_path))


def test_cut_off_weights_are_found_before_anything_is_drawn(copy: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MissingWeightsError, match=r"unet/diffusion_pytorch_model\.safetensors is damaged"):
        open_checkpoint("x", str(copy)).check([], [0])
