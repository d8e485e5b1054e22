"""Published scores: the machinery on small weights and a local server; the scores themselves where there is a hub."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from prefbench.bench.commands.doctor import doctor_command
from prefbench.bench.exceptions import DataError, PrefbenchError, UsageError
from prefbench.scorers import golden as golden_module
from prefbench.scorers.golden import GOLDENS, IMAGES, Golden, check_golden, fetch_image
from prefbench.scorers.registry import TABLE, load_scorer

from .conftest import picture


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(IMAGES):
        picture(40, 50, seed).save(folder / name)
    return folder


@pytest.fixture
def server(images: Path) -> Iterator[str]:
    """Address of a real server with the images."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(images))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def made_up(images: Path, folders: dict[str, Path]) -> tuple[Golden, dict[str, str]]:
    """A golden that holds: what the small PickScore says of two images, in a hundredth of its unit."""
    names = ("imagereward-1.webp", "imagereward-2.webp")
    weights = {"mini:pickscore": str(folders["mini:pickscore"])}
    scores = load_scorer("mini:pickscore", weights=folders["mini:pickscore"]).score(
        [images / name for name in names], ["a cat", "a dog"]
    )
    expected = tuple(0.01 * scores)
    return Golden(
        "mini:pickscore", names, ("a cat", "a dog"), expected, 1e-6, "here", "authors", scale=0.01
    ), weights


def test_a_published_score_that_is_met_holds_and_one_that_is_not_does_not(
    made_up: tuple[Golden, dict[str, str]], images: Path
) -> None:
    golden, weights = made_up
    assert check_golden(golden, weights, "cpu", images).holds
    other = replace(golden, expected=(golden.expected[0], golden.expected[1] + 1e-3))
    outcome = check_golden(other, weights, "cpu", images)
    assert not outcome.holds
    assert outcome.largest == pytest.approx(1e-3, rel=1e-2)


def test_one_number_for_two_images_is_their_mean(
    made_up: tuple[Golden, dict[str, str]], images: Path
) -> None:
    golden, weights = made_up
    outcome = check_golden(
        replace(golden, expected=(float(np.mean(golden.expected)),)), weights, "cpu", images
    )
    assert outcome.holds
    assert len(outcome.got) == 1


def test_an_image_is_fetched_once_from_where_the_table_says(
    server: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "hpsv2-demo.jpg"
    monkeypatch.setitem(golden_module.IMAGES, name, f"{server}/{name}")
    fetched = fetch_image(name)
    assert fetched.read_bytes() == (images / name).read_bytes()
    (images / name).unlink()
    assert fetch_image(name) == fetched


@pytest.mark.parametrize("where", ["/absent.jpg", ":1/refused.jpg"])
def test_an_image_that_cannot_be_fetched_is_told_with_the_way_out(
    server: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server if where.startswith("/") else "http://127.0.0.1"
    monkeypatch.setitem(golden_module.IMAGES, "hpsv2-demo.jpg", address + where)
    with pytest.raises(DataError, match="save it as hpsv2-demo.jpg, and name its folder: --images FOLDER"):
        fetch_image("hpsv2-demo.jpg")


def test_what_cannot_be_had_is_a_reason_and_never_a_pass(
    made_up: tuple[Golden, dict[str, str]], tmp_path: Path
) -> None:
    golden, weights = made_up
    outcome = check_golden(golden, weights, "cpu", tmp_path)
    assert not outcome.holds
    assert "has no imagereward-1.webp" in outcome.reason


def test_the_command_fails_where_nothing_could_be_computed_or_something_differs(
    made_up: tuple[Golden, dict[str, str]],
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    golden, weights = made_up
    option = [f"{name}={path}" for name, path in weights.items()]
    monkeypatch.setattr(golden_module, "GOLDENS", (golden,))
    doctor_command(golden=True, images=images, weights=option)
    assert "same" in capsys.readouterr().out
    with pytest.raises(PrefbenchError, match="None of the published scores could be computed"):
        doctor_command(golden=True, images=tmp_path, weights=option)
    monkeypatch.setattr(golden_module, "GOLDENS", (golden, replace(golden, expected=(9.0, 9.0))))
    with pytest.raises(PrefbenchError, match="Other scores than published: mini:pickscore"):
        doctor_command(golden=True, images=images, weights=option)
    with pytest.raises(UsageError, match="Did you mean 'mini:pickscore'"):
        doctor_command(golden=True, images=images, weights=["mini:pickscor=x"])


def test_the_table_names_scorers_and_images_that_exist_and_as_many_prompts_as_images() -> None:
    for golden in GOLDENS:
        assert golden.scorer in TABLE
        assert set(golden.images) <= set(IMAGES)
        assert len(golden.images) == len(golden.prompts)
        assert len(golden.expected) in (1, len(golden.images))
        assert golden.by in ("authors", "a port")


@pytest.mark.weights
@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: f"{golden.scorer} {golden.source[:20]}")
def test_the_published_weights_give_the_published_scores(golden: Golden) -> None:
    outcome = check_golden(golden, {}, "cpu")
    assert outcome.holds, outcome.reason or f"{outcome.got} instead of {golden.expected}"
