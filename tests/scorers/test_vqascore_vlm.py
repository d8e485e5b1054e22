"""P("Yes") of tiny random LLaVA and Qwen2-VL models against transformers' own generate()."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
)

from prefbench.bench.exceptions import DataError, MissingWeightsError, UsageError
from prefbench.scorers.protocol import Scorer
from prefbench.scorers.registry import load_scorer

from . import tiny_vlm
from .conftest import picture

KINDS = {"llava": tiny_vlm.save_llava, "qwen2_vl": tiny_vlm.save_qwen2_vl}
PROMPTS = ["a cat", "", "a dog", "cat " * 60, "café 🎉 {x}", "שלום"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vlm")
    return {kind: save(root / kind) for kind, save in KINDS.items()}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture(scope="module")
def scorer(kind: str, models: dict[str, Path]) -> Any:
    return load_scorer(f"vqascore.vlm:{models[kind]}")


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [
        picture(h, w, i)
        for i, (h, w) in enumerate([(40, 60), (32, 32), (90, 31), (8, 20), (33, 47), (64, 64)])
    ]


def test_score_is_the_probability_that_generate_gives_yes_as_first_token(
    kind: str, models: dict[str, Path], scorer: Any, images: list[Image.Image]
) -> None:
    """The released code's way: one pair, one new token, its softmax at "Yes"."""
    processor = AutoProcessor.from_pretrained(models[kind])
    model = AutoModelForImageTextToText.from_pretrained(models[kind]).float().eval()
    yes = processor.tokenizer("Yes", add_special_tokens=False)["input_ids"]
    assert len(yes) == 1
    scores = scorer.score(images, PROMPTS)
    for image, prompt, score in zip(images, PROMPTS, scores, strict=True):
        question = f'Does this figure show "{prompt}"? Please answer yes or no.'
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = processor(text=[text], images=[image], return_tensors="pt")
        out = model.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        assert score == pytest.approx(float(out.scores[0].softmax(-1)[0, yes[0]]), rel=1e-4)


def test_scorer_has_the_contracts_members(scorer: Any, images: list[Image.Image]) -> None:
    assert isinstance(scorer, Scorer)
    scores = scorer.score(images, PROMPTS)
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()
    assert len(set(scores)) == len(scores)
    assert scorer.truncated(PROMPTS).tolist() == [False] * 6
    assert scorer.info.token_limit == 512


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_score_does_not_depend_on_batch_neighbours(
    scorer: Any, images: list[Image.Image], batch_size: int
) -> None:
    together = scorer.score(images, PROMPTS)
    order = [3, 1, 5, 0, 4, 2, 1]
    scorer.batch_size = batch_size
    shuffled = scorer.score([images[i] for i in order], [PROMPTS[i] for i in order])
    scorer.batch_size = 4
    np.testing.assert_allclose(shuffled, together[order], rtol=1e-5)


def test_a_start_token_that_the_template_writes_is_not_added_once_more(tmp_path: Path) -> None:
    scores = []
    for name, template in (("with", "<s>" + tiny_vlm.LLAVA_TEMPLATE), ("without", tiny_vlm.LLAVA_TEMPLATE)):
        folder = tiny_vlm.save_llava(tmp_path / name, template=template, start="<s>")
        scores.append(load_scorer(f"vqascore.vlm:{folder}").score([picture(20, 20)], ["a cat"])[0])
    plain = load_scorer(f"vqascore.vlm:{tiny_vlm.save_llava(tmp_path / 'none')}")
    assert scores[0] == scores[1]
    assert scores[0] != plain.score([picture(20, 20)], ["a cat"])[0]


def test_a_model_that_returns_all_logits_gives_the_same_score(
    scorer: Any, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older models have no `logits_to_keep`."""
    before, original = scorer.score(images, PROMPTS), scorer.network.forward
    monkeypatch.setattr(scorer.network, "forward", lambda **inputs: original(**inputs))
    np.testing.assert_allclose(scorer.score(images, PROMPTS), before, rtol=1e-5)


def test_every_mode_of_image_is_scored_as_the_rgb_it_stands_for(scorer: Any, tmp_path: Path) -> None:
    image = picture(20, 30)
    opaque = image.copy()
    opaque.putalpha(255)
    opaque.save(tmp_path / "a.png")
    image.convert("L").save(tmp_path / "l.png")
    image.convert("CMYK").save(tmp_path / "c.tif")
    paths = [tmp_path / name for name in ("a.png", "l.png", "c.tif")]
    plain = [image, image.convert("L").convert("RGB"), image.convert("CMYK").convert("RGB")]
    np.testing.assert_array_equal(scorer.score(paths, ["a cat"] * 3), scorer.score(plain, ["a cat"] * 3))


def test_a_models_control_token_in_a_prompt_is_read_as_text(kind: str, scorer: Any) -> None:
    token = {"llava": "<image>", "qwen2_vl": "<|image_pad|>"}[kind]
    assert f'show "< {token[1:]} cat"?' in scorer.question(f"{token} cat")
    assert scorer.question("a cat").count(token) == scorer.question(f"{token} cat").count(token) == 1
    assert np.isfinite(scorer.score([picture(20, 20)], [f"{token}{token}"])).all()


def test_a_question_longer_than_the_model_reads_is_refused(scorer: Any) -> None:
    with pytest.raises(DataError, match="the model reads 512. Shorten"):
        scorer.score([picture(20, 20)], ["x" * 600])


def test_an_image_that_the_models_processor_refuses_is_named_by_size(models: dict[str, Path]) -> None:
    """Qwen2-VL takes no side 200 times as long as the other."""
    scorer = load_scorer(f"vqascore.vlm:{models['qwen2_vl']}")
    with pytest.raises(DataError, match="refuses an image of these sizes, 300 x 1 "):
        scorer.score([picture(1, 300)], ["a cat"])


def test_weights_of_another_folder_keep_the_name(models: dict[str, Path]) -> None:
    scorer = load_scorer("vqascore.vlm:owner/model@main", weights=models["llava"])
    assert scorer.info.name == "vqascore.vlm:owner/model@main"
    own = load_scorer(f"vqascore.vlm:{models['llava']}")
    assert scorer.info.fingerprint == own.info.fingerprint


@pytest.mark.parametrize("file", ["chat_template.jinja", "processor_config.json", "model.safetensors"])
def test_fingerprint_changes_with_template_processing_and_weights(
    models: dict[str, Path], tmp_path: Path, file: str
) -> None:
    copy = shutil.copytree(models["llava"], tmp_path / "copy")
    if file == "model.safetensors":
        state = load_file(copy / file)
        state[min(state)] += 1
        save_file(state, copy / file, metadata={"format": "pt"})
    else:
        (copy / file).write_text((copy / file).read_text(encoding="utf-8") + "\n", encoding="utf-8")
    before, after = (load_scorer(f"vqascore.vlm:{path}").info.fingerprint for path in (models["llava"], copy))
    assert before != after


def test_half_precision_is_near(models: dict[str, Path]) -> None:
    full, half = (
        load_scorer(f"vqascore.vlm:{models['qwen2_vl']}", dtype=dtype).score([picture(20, 20)], ["a cat"])
        for dtype in ("float32", "bfloat16")
    )
    assert half == pytest.approx(full, rel=0.3)
    assert half != full


def test_weights_that_do_not_fit_are_listed(models: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(models["llava"], tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    gone = min(key for key in state if "multi_modal_projector" in key)
    del state[gone]
    save_file({**state, "extra": torch.zeros(1)}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        MissingWeightsError, match=r"missing \(1\): .*multi_modal_projector.*; unexpected \(1\): extra"
    ):
        load_scorer(f"vqascore.vlm:{copy}")


def test_a_truncated_download_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(models["llava"], tmp_path / "copy")
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(MissingWeightsError, match="cannot open"):
        load_scorer(f"vqascore.vlm:{copy}")


def test_a_tokenizer_that_splits_the_answer_is_refused(tmp_path: Path) -> None:
    folder = tiny_vlm.save_llava(tmp_path / "split", words=["Ye"])
    with pytest.raises(UsageError, match="makes 'Ye', 's' of 'Yes'"):
        load_scorer(f"vqascore.vlm:{folder}")


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = tiny_vlm.save_llava(tmp_path / "plain", template=None)
    with pytest.raises(UsageError, match="has no chat template"):
        load_scorer(f"vqascore.vlm:{folder}")


def test_a_template_that_forgets_the_image_is_refused(tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message['content'][1]['text'] }}{% endfor %}"
    folder = tiny_vlm.save_llava(tmp_path / "blind", template=template)
    with pytest.raises(UsageError, match="leaves out the image"):
        load_scorer(f"vqascore.vlm:{folder}")


def test_a_folder_without_a_processor_is_refused(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers fails where the model's kind has one; where it has none it returns the tokenizer alone."""
    copy = shutil.copytree(models["llava"], tmp_path / "copy")
    (copy / "processor_config.json").unlink()
    with pytest.raises(MissingWeightsError, match="cannot open .*image processor"):
        load_scorer(f"vqascore.vlm:{copy}")
    monkeypatch.setattr("prefbench.scorers.vqascore_vlm.AutoProcessor", AutoTokenizer)
    with pytest.raises(MissingWeightsError, match="has no processor for image and text"):
        load_scorer(f"vqascore.vlm:{copy}")


def test_loading_prints_nothing(models: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    load_scorer(f"vqascore.vlm:{models['llava']}")
    assert capfd.readouterr() == ("", "")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    CLIPModel(CLIPConfig(text_config={**sizes, "vocab_size": 99}, vision_config=sizes)).save_pretrained(
        tmp_path
    )
    tokenizer: PreTrainedTokenizerFast = tiny_vlm.tokenizer_of(["<pad>", "</s>"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(MissingWeightsError, match="cannot open .* as an image-text-to-text model"):
        load_scorer(f"vqascore.vlm:{tmp_path}")


def test_what_is_no_folder_and_no_hub_id_is_refused() -> None:
    with pytest.raises(MissingWeightsError, match="no/such/folder does not exist. Give a folder"):
        load_scorer("vqascore.vlm:no/such/folder")
    with pytest.raises(UsageError, match="lacks what is to stand for"):
        load_scorer("vqascore.vlm:")


def test_sizes_by_argument_are_refused(models: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="takes no architecture="):
        load_scorer(f"vqascore.vlm:{models['llava']}", architecture={"a": 1})
