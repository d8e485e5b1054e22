from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prefbench.bench.checkpoints.opening import open_checkpoint
from prefbench.bench.exceptions import DataError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.suite import Sampling

SAMPLING = Sampling(steps=1, guidance=1.0)
PROMPTS = [Prompt("a", "x"), Prompt("anime/00001", "y")]


def _paint(path: Path, value: int, size: tuple[int, int] = (4, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def _levels(folder: Path, seeds: list[int]) -> list[int]:
    checkpoint = open_checkpoint("x", f"images:{folder}")
    checkpoint.check(PROMPTS, seeds)
    pairs = [(prompt, seed) for seed in seeds for prompt in PROMPTS]
    images = checkpoint.load("cpu").generate([p for p, _ in pairs], [s for _, s in pairs], SAMPLING)
    return [int(np.asarray(image)[0, 0, 0]) for image in images]


def test_one_image_a_prompt_in_the_layout_of_hpdv2(tmp_path: Path) -> None:
    _paint(tmp_path / "a.png", 10)
    _paint(tmp_path / "anime" / "00001.png", 20)
    assert _levels(tmp_path, [0]) == [10, 20]


def test_one_image_a_prompt_and_seed(tmp_path: Path) -> None:
    for seed in (3, 4):
        _paint(tmp_path / f"a_{seed}.png", 10 * seed)
        _paint(tmp_path / "anime" / f"00001_{seed}.webp", 0)
    assert _levels(tmp_path, [3, 4])[::2] == [30, 40]


def test_manifest_may_put_images_anywhere(tmp_path: Path) -> None:
    _paint(tmp_path / "deep" / "1.png", 10)
    _paint(tmp_path / "2.png", 20)
    (tmp_path / "images.csv").write_text("prompt_id,seed,image\na,0,deep/1.png\nanime/00001,0,2.png\n")
    assert _levels(tmp_path, [0]) == [10, 20]


def test_holes_are_listed(tmp_path: Path) -> None:
    _paint(tmp_path / "a.png", 10)
    checkpoint = open_checkpoint("mine", f"images:{tmp_path}")
    with pytest.raises(DataError, match=r"'mine': 1 of 2 images are missing: anime/00001 seed 0\."):
        checkpoint.check(PROMPTS, [0])
    with pytest.raises(DataError, match="4 of 4 images are missing"):
        checkpoint.check(PROMPTS, [0, 1])  # a.png has no seed, so it is nobody's
    many = [Prompt(f"p{i}", "x") for i in range(30)]
    with pytest.raises(DataError, match="30 of 30 images are missing: p0 seed 0.* and 20 more"):
        checkpoint.check(many, [0])


def test_mixed_sizes_are_refused(tmp_path: Path) -> None:
    _paint(tmp_path / "a.png", 10)
    _paint(tmp_path / "anime" / "00001.png", 20, size=(5, 5))
    with pytest.raises(DataError, match=r"00001\.png is 5 x 5 pixels, .*a\.png is 4 x 6"):
        open_checkpoint("x", f"images:{tmp_path}").check(PROMPTS, [0])


def test_two_images_for_one_sample_are_refused(tmp_path: Path) -> None:
    for name in ("a.png", "a_0.png", "anime/00001.png"):
        _paint(tmp_path / name, 10)
    with pytest.raises(DataError, match=r"prompt a seed 0 has 2 images: a_0\.png, a\.png"):
        open_checkpoint("x", f"images:{tmp_path}").check(PROMPTS, [0])


def test_damaged_image_is_named(tmp_path: Path) -> None:
    _paint(tmp_path / "a.png", 10)
    (tmp_path / "anime").mkdir()
    (tmp_path / "anime" / "00001.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"'x': .*00001\.png is not an image that Pillow can read"):
        open_checkpoint("x", f"images:{tmp_path}").check(PROMPTS, [0])


def test_a_cut_off_image_is_found_by_the_check(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for prompt in PROMPTS:
        (tmp_path / prompt.id).parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / f"{prompt.id}.png")
    cut = tmp_path / "anime" / "00001.png"
    cut.write_bytes(cut.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"'x': Image .*00001\.png cannot be decoded"):
        open_checkpoint("x", f"images:{tmp_path}").check(PROMPTS, [0])


def _as_bench_reads(path: Path) -> np.ndarray:
    checkpoint = open_checkpoint("x", f"images:{path.parent}")
    checkpoint.check(PROMPTS[:1], [0])
    image = checkpoint.load("cpu").generate(PROMPTS[:1], [0], SAMPLING)[0]
    assert checkpoint.size(SAMPLING) == image.size
    return np.asarray(image)


def test_16_bits_are_reduced_to_8_as_score_does(tmp_path: Path) -> None:
    """257 v stands for v: 0, 10, 255."""
    Image.fromarray(np.array([[0, 2570, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert _as_bench_reads(tmp_path / "a.png")[0, :, 0].tolist() == [0, 10, 255]


def test_exif_orientation_is_applied_as_score_does(tmp_path: Path) -> None:
    """Orientation 3 is upside down; 6 lies on its side, so that 4 x 6 becomes 6 x 4."""
    image, exif = Image.new("RGB", (4, 6)), Image.Exif()
    image.putpixel((0, 0), (255, 0, 0))
    for orientation, red in ((3, (5, 3)), (6, (0, 5))):
        exif[0x0112] = orientation
        image.save(tmp_path / "a.png", exif=exif)
        array = _as_bench_reads(tmp_path / "a.png")
        assert np.argwhere(array[..., 0] == 255).tolist() == [list(red)]


def test_transparency_shows_white_as_score_does(tmp_path: Path) -> None:
    for alpha, level in ((255, 9), (0, 255)):
        Image.new("RGBA", (4, 6), (9, 9, 9, alpha)).save(tmp_path / "a.png")
        assert _as_bench_reads(tmp_path / "a.png").tolist() == np.full((6, 4, 3), level).tolist()


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    _paint(tmp_path / "a.png", 10)
    (tmp_path / "b.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"b\.png is a link to a file that is not there"):
        open_checkpoint("x", f"images:{tmp_path}")
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").mkdir()
    with pytest.raises(DataError, match=r"b\.png is a folder"):
        open_checkpoint("x", f"images:{tmp_path}")
    (tmp_path / "b.png").rmdir()
    (tmp_path / "images.csv").mkdir()
    with pytest.raises(DataError, match=r"images\.csv is no file"):
        open_checkpoint("x", f"images:{tmp_path}")


def test_an_image_too_large_for_pillow_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 10)
    _paint(tmp_path / "a.png", 10)
    with pytest.raises(DataError, match=r"a\.png is refused: .*decompression bomb"):
        open_checkpoint("x", f"images:{tmp_path}").check(PROMPTS[:1], [0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,image\n1,a.png\n", "needs the columns prompt_id, seed and image"),
        (
            "prompt_id,seed,image\na,x,a.png\n",
            "line 2: prompt_id and image must be filled and seed a whole number",
        ),
        ("prompt_id,seed,image\na,0,b.png\n", "b.png does not exist"),
        ("prompt_id,seed,image\na,0,a.png\na,0,a.png\n", "line 3: prompt a seed 0 stands in it twice"),
        ("prompt_id,seed,image\n", "images.csv has no rows"),
        ("prompt_id,seed,image\na,²,a.png\n", "seed a whole number, not '²'"),
        ("prompt_id,seed,image\na,0,/etc/a.png\n", "/etc/a.png is an absolute path"),
        (f"prompt_id,seed,image\na,0,{'x' * 300}\n", "line 2: the image"),
        ("prompt_id,seed,image\na,0,a.png,1\n", "line 2: the row has another number of fields"),
        ("prompt_id,seed,image\na,0\n", "line 2: the row has another number of fields"),
        ('prompt_id,seed,image\na,"0,a.png\n', "Mend the quotation marks"),
    ],
)
def test_a_faulty_manifest_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    _paint(tmp_path / "a.png", 10)
    (tmp_path / "images.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        open_checkpoint("x", f"images:{tmp_path}")
    assert said in str(caught.value)


def test_identity_follows_contents_and_names(tmp_path: Path) -> None:
    _paint(tmp_path / "a.png", 10)
    first = open_checkpoint("x", f"images:{tmp_path}").identity
    assert open_checkpoint("y", f"images:{tmp_path}").identity == first
    _paint(tmp_path / "a.png", 11)
    second = open_checkpoint("x", f"images:{tmp_path}").identity
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert len({str(i) for i in (first, second, open_checkpoint("x", f"images:{tmp_path}").identity)}) == 3


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        open_checkpoint("x", f"images:{tmp_path}")
