"""One decode path."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prefbench.bench.exceptions import DataError
from prefbench.scorers.image_io import image_name, open_rgb

from .conftest import picture


def test_rgb_passes_unchanged_from_path_and_from_memory(tmp_path: Path) -> None:
    image = picture(9, 14)
    image.save(tmp_path / "a.png")
    assert np.array_equal(open_rgb(image), image)
    assert np.array_equal(open_rgb(tmp_path / "a.png"), image)
    assert np.array_equal(open_rgb(str(tmp_path / "a.png")), image)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    """Orientation 6: the stored picture must be turned 90 degrees clockwise to be seen upright."""
    stored = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]]], dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "turned.png", exif=exif)
    upright = np.asarray(open_rgb(tmp_path / "turned.png"))
    assert upright.shape == (2, 1, 3)
    assert upright[:, 0].tolist() == [[255, 0, 0], [0, 255, 0]]


def test_transparent_pixels_are_white_whatever_colour_they_hide() -> None:
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], dtype=np.uint8)
    assert np.asarray(open_rgb(Image.fromarray(pixels, "RGBA")))[0].tolist() == [
        [255, 255, 255],
        [10, 20, 30],
    ]


def test_half_transparent_black_over_white_is_middle_grey() -> None:
    """255 * (1 - 128/255) = 127."""
    pixels = np.array([[[0, 0, 0, 128]]], dtype=np.uint8)
    assert np.asarray(open_rgb(Image.fromarray(pixels, "RGBA")))[0, 0].tolist() == [127, 127, 127]


def test_grey_with_alpha_and_bilevel_images_become_rgb() -> None:
    grey = Image.fromarray(np.array([[[7, 255], [7, 0]]], dtype=np.uint8), "LA")
    assert np.asarray(open_rgb(grey))[0].tolist() == [[7, 7, 7], [255, 255, 255]]
    bilevel = Image.new("1", (2, 1), 1)
    assert np.asarray(open_rgb(bilevel))[0].tolist() == [[255, 255, 255]] * 2
    assert np.asarray(open_rgb(Image.new("L", (1, 1), 93)))[0, 0].tolist() == [93, 93, 93]


def test_palette_images_show_their_colours_and_their_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 10, 10, 10, 200])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "solid.png")
    image.save(tmp_path / "hole.png", transparency=1)
    assert np.asarray(open_rgb(tmp_path / "solid.png"))[0].tolist() == [[200, 10, 10], [10, 10, 200]]
    assert np.asarray(open_rgb(tmp_path / "hole.png"))[0].tolist() == [[200, 10, 10], [255, 255, 255]]


def test_16_bit_greyscale_is_scaled_not_cut(tmp_path: Path) -> None:
    """0, 257, 32896, 65535 divided by 257 are 0, 1, 128, 255; Pillow's own conversion would clip all but the
    first to 255."""
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert np.asarray(open_rgb(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_goes_through_pillows_conversion() -> None:
    assert np.asarray(open_rgb(Image.new("CMYK", (1, 1), (0, 255, 255, 0))))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_images_without_a_stated_range_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match="Convert it to 8 or 16 bits"):
        open_rgb(Image.new(mode, (2, 2), 70_000))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png does not exist"):
        open_rgb(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="is a folder"):
        open_rgb(tmp_path)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(DataError, match=r"text\.png is not an image"):
        open_rgb(tmp_path / "text.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_an_error_not_a_grey_half(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    picture(200, 200).save(buffer, kind)
    path = tmp_path / "cut"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(DataError, match="cut"):
        open_rgb(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(100, 100).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(DataError, match=r"bomb\.png is refused"):
        open_rgb(tmp_path / "bomb.png")


def test_an_array_is_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"Image\.fromarray"):
        open_rgb(np.zeros((4, 4, 3), dtype=np.uint8))  # type: ignore[arg-type]


def test_images_are_named_by_path_or_position(tmp_path: Path) -> None:
    picture(2, 2).save(tmp_path / "a.png")
    assert image_name(tmp_path / "a.png") == str(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        assert image_name(opened) == str(tmp_path / "a.png")
    assert image_name(picture(2, 2), 7) == "image 7 (in memory)"
