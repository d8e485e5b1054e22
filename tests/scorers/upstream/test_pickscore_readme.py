"""The files that PickScore's README example is given, and the example as a backend."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from prefbench.bench.exceptions import DataError, UpstreamError
from prefbench.scorers.clip_tokenizer import bundled_tokenizer, read_tokenizer
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.upstream.originals import open_original
from prefbench.scorers.upstream.parity_inputs import write_images
from prefbench.scorers.upstream.parity_models import PICKSCORE_SIZES, SUBJECTS
from prefbench.scorers.upstream.pickscore_readme import write_processor

from ..conftest import CLIPImageProcessorPil


def test_the_processor_is_clips_own(tmp_path: Path) -> None:
    """What transformers' CLIP image processor does when it is told nothing, and CLIP's 49,408 tokens."""
    write_processor(tmp_path / "processor", 224, None)
    written, default = (
        CLIPImageProcessorPil.from_pretrained(tmp_path / "processor").to_dict(),
        CLIPImageProcessorPil().to_dict(),
    )
    for settings in (written, default):
        for name in ("image_mean", "image_std"):
            settings[name] = list(settings[name])
        settings.pop("processor_class", None)
    assert written == default
    assert read_tokenizer(tmp_path / "processor").get_vocab() == bundled_tokenizer().get_vocab()


def test_a_models_own_tokenizer_goes_to_the_example(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    bundled_tokenizer().save_pretrained(own)
    write_processor(tmp_path / "processor", 32, own)
    assert (tmp_path / "processor" / "tokenizer.json").read_bytes() == (own / "tokenizer.json").read_bytes()
    image = json.loads((tmp_path / "processor" / "preprocessor_config.json").read_text())
    assert (image["size"], image["crop_size"]) == ({"shortest_edge": 32}, {"height": 32, "width": 32})


@pytest.mark.parametrize(
    ("given", "linked"), [("mine.safetensors", "model.safetensors"), ("mine.bin", "pytorch_model.bin")]
)
def test_a_weights_file_of_any_name_lies_where_the_library_looks(
    tmp_path: Path, given: str, linked: str
) -> None:
    (tmp_path / given).write_bytes(b"weights")
    (tmp_path / "work").mkdir()
    open_original("pickscore@upstream", tmp_path / given, PICKSCORE_SIZES, "cpu", tmp_path / "work")
    assert (tmp_path / "work" / "model" / linked).read_bytes() == b"weights"
    assert json.loads((tmp_path / "work" / "model" / "config.json").read_text()) == PICKSCORE_SIZES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers folder with today's classes; the example's library of 4.49 reads it."""
    path = SUBJECTS["pickscore"].prepare(tmp_path_factory.mktemp("pickscore"))
    torch.manual_seed(3)
    network = CLIPModel(CLIPConfig(**PICKSCORE_SIZES))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)  # else it hardly reacts to its input
    network.save_pretrained(path)
    return path


@pytest.mark.upstream
def test_the_example_as_a_backend_sees_what_the_port_sees(folder: Path, tmp_path: Path) -> None:
    """Transparent, 16-bit and turned files are decoded by our rule first; the two then agree."""
    files = write_images(tmp_path)
    images = [files[name] for name in ("transparent", "16-bit greyscale", "EXIF-rotated", "JPEG 640 x 427")]
    prompts = ["a cat", "a cat", "", "cat " * 90]
    original, port = (load_scorer(name, weights=folder) for name in ("pickscore@upstream", "pickscore"))
    scores = original.score(images, prompts)
    assert np.ptp(scores) > 1
    np.testing.assert_allclose(scores, port.score(images, prompts), rtol=0, atol=2e-3)
    assert list(original.truncated(prompts)) == list(port.truncated(prompts)) == [False, False, False, True]
    assert original.info.identity["scorer"] == "example in the README of pickscore, transformers==4.49.0"
    with pytest.raises(DataError, match=r"one-pixel-high\.png.*mean must have 1 elements"):
        original.score([files["one pixel high"]], ["a cat"])


@pytest.mark.upstream
def test_weights_that_lack_something_are_refused_and_not_filled_in(folder: Path, tmp_path: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["text_projection.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    original = load_scorer(
        "pickscore@upstream", weights=tmp_path / "model.safetensors", architecture=PICKSCORE_SIZES
    )
    with pytest.raises(UpstreamError, match=r"the weights lack \['text_projection\.weight'\]"):
        original.score([write_images(tmp_path)["512 x 512"]], ["a cat"])
