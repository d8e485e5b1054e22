from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from prefbench.bench.exceptions import LedgerError
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.keys import canonical_sha256, pixels_sha256, score_key

KEY = "ab" + "0" * 62


def _noise(seed: int, width: int = 9, height: int = 7) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(seed=st.integers(0, 2**32), width=st.integers(1, 20), height=st.integers(1, 20))
def test_every_pixel_comes_back(tmp_path: Path, seed: int, width: int, height: int) -> None:
    store, image = ImageStore(tmp_path), _noise(seed, width, height)
    pixels = store.write(KEY, image)
    assert np.array_equal(np.asarray(store.read(KEY, pixels)), np.asarray(image))


def test_files_lie_under_the_first_two_digits(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    store.write(KEY, _noise(0))
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")] == [Path(f"images/ab/{KEY}.png")]


def test_pixel_hash_is_of_pixels_and_shape() -> None:
    """The same 12 bytes as 2 x 2, 4 x 1 and 1 x 4 pixels are three pictures."""
    hashes = {pixels_sha256(Image.frombytes("RGB", size, bytes(12))) for size in ((2, 2), (4, 1), (1, 4))}
    assert len(hashes) == 3


def test_changed_gone_or_cut_off_images_are_noticed(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    pixels = store.write(KEY, _noise(0))
    whole = store.path(KEY).read_bytes()
    _noise(1).save(store.path(KEY))
    with pytest.raises(LedgerError, match="other pixels"):
        store.read(KEY, pixels)
    store.path(KEY).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LedgerError, match="cannot be read"):
        store.read(KEY, pixels)
    store.path(KEY).unlink()
    with pytest.raises(LedgerError, match=r"is gone\. .* run the same `prefbench bench` again"):
        store.read(KEY, pixels)


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.tidy()  # there is no folder yet
    store.write(KEY, _noise(0))
    orphan = tmp_path / KEY[:2] / f".{KEY}.png.k7ypqwgd"
    orphan.write_bytes(b"half")
    store.tidy()
    assert (orphan.exists(), store.has(KEY)) == (False, True)


def test_keys_depend_on_every_part() -> None:
    keys = [
        score_key("p", "t", "f"),
        score_key("q", "t", "f"),
        score_key("p", "u", "f"),
        score_key("p", "t", "g"),
    ]
    assert len(set(keys)) == 4
    assert canonical_sha256({"a": 1, "b": [2.0]}) == canonical_sha256({"b": [2.0], "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        canonical_sha256(float("nan"))
