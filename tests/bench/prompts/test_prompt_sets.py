import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.prompts import PROMPT_SETS, hpdv2, partiprompts
from prefbench.bench.prompts.files import ENVIRONMENT_VARIABLE
from prefbench.bench.prompts.prompt_set import Prompt, PromptSet, load_prompt_set, spread


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)


def test_partiprompts_has_its_published_counts_and_its_quotation_marks(reference_data: Path) -> None:
    prompts = load_prompt_set("partiprompts", reference_data).prompts
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 1632
    assert len({prompt.category for prompt in prompts}) == 12
    assert len({prompt.challenge for prompt in prompts}) == 11
    assert (prompts[0].id, prompts[0].text, prompts[0].category) == ("parti-0000", "bond", "Abstract")
    assert sum(prompt.text.startswith('"G I G G L E" painted') for prompt in prompts) == 1


def test_hpdv2_has_four_styles_of_800_and_28_repeated_rows(reference_data: Path) -> None:
    chosen = load_prompt_set("hpdv2", reference_data)
    assert Counter(prompt.category for prompt in chosen.prompts) == dict.fromkeys(hpdv2.SHA256, 800)
    assert len({prompt.text for prompt in chosen.prompts}) == 3172
    photo = json.loads((reference_data / "hpdv2_benchmark" / "photo.json").read_text())
    assert {prompt.id: prompt.text for prompt in chosen.prompts}["photo/00799"] == photo[799]


def test_sizes_announced_without_reading_are_true(reference_data: Path) -> None:
    for name in ("partiprompts", "hpdv2", "miniature", "miniature-tuning"):
        source = PROMPT_SETS.get(name)
        loaded = load_prompt_set(name, reference_data)
        assert (source.size, source.version) == (len(loaded.prompts), loaded.version)


def test_environment_variable_names_the_folder(reference_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(reference_data))
    assert load_prompt_set("partiprompts").sha256 == partiprompts.SHA256


def test_a_changed_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "partiprompts" / "PartiPrompts.tsv"
    path.parent.mkdir()
    path.write_text("Prompt\tCategory\tChallenge\tNote\nx\ty\tz\t\n")
    with pytest.raises(DataError) as caught:
        load_prompt_set("partiprompts", tmp_path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found in str(caught.value)
    assert partiprompts.SHA256 in str(caught.value)


def test_one_changed_byte_in_one_style_is_refused(reference_data: Path, tmp_path: Path) -> None:
    shutil.copytree(reference_data / "hpdv2_benchmark", tmp_path / "hpdv2_benchmark")
    path = tmp_path / "hpdv2_benchmark" / "photo.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(DataError, match=r"photo\.json has sha256"):
        load_prompt_set("hpdv2", tmp_path)


def test_a_missing_file_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"{tmp_path}/hpdv2_benchmark/anime\.json does not exist.*zhwang/HPDv2"
    ):
        load_prompt_set("hpdv2", tmp_path)
    with pytest.raises(
        DataError, match=r"google-research/parti at commit .* FOLDER/partiprompts/PartiPrompts\.tsv"
    ):
        load_prompt_set("partiprompts")


def test_hub_out_of_reach_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"could not be read from the hub.*--prompts-dir"):
        load_prompt_set("hpdv2")


def test_unknown_set_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'partiprompts'"):
        load_prompt_set("partiprompt")


def test_plug_in_adds_a_set(toy_plugin: Path) -> None:
    assert [prompt.text for prompt in load_prompt_set("toy:two").prompts] == ["one", "two"]


def test_spread_keeps_every_category_of_a_sorted_set() -> None:
    """100 prompts in 4 blocks of 25; 8 of them are rows 0, 12, 25, 37, 50, 62, 75, 87: two of each block."""
    prompts = [Prompt(str(i), "x", category=str(i // 25)) for i in range(100)]
    assert [prompt.id for prompt in spread(prompts, 8)] == ["0", "12", "25", "37", "50", "62", "75", "87"]
    assert spread(prompts, None) == spread(prompts, 1000) == tuple(prompts)


def test_two_prompts_may_share_a_text_and_not_an_id() -> None:
    PromptSet("s", "1", (Prompt("a", "x"), Prompt("b", "x")), "0", "-", "-")
    with pytest.raises(DataError, match="'a' occurs twice"):
        PromptSet("s", "1", (Prompt("a", "x"), Prompt("a", "y")), "0", "-", "-")
