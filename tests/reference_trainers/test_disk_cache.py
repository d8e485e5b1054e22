"""Encodings on disk: the same numbers as in memory, resumed after a kill, damaged files named."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.bench.user_cache import cache_folder
from prefbench.reference_trainers import disk_cache, encodings, shard_store
from prefbench.reference_trainers.backbones.opening import open_backbone
from prefbench.reference_trainers.disk_cache import DiskCache, encoding_fingerprint
from prefbench.reference_trainers.encodings import EncodingPlan, ImageRef
from prefbench.reference_trainers.memory_cache import MemoryCache
from prefbench.reference_trainers.method import Constant
from prefbench.reference_trainers.preferences.opening import DataConfig, open_preferences
from prefbench.reference_trainers.recipes import resolve_recipe
from prefbench.reference_trainers.shard_store import ShardStore
from prefbench.reference_trainers.training_steps import prepare_run, training_steps


@given(groups=st.lists(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), min_size=1, max_size=4))
def test_rows_come_back_in_the_order_asked_for(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]]
):
    store = ShardStore(tmp_path_factory.mktemp("store"), "x")
    for group in groups:
        store.write(group, {"a": torch.tensor(group), "b": torch.tensor(group).double()[:, None] / 3})
    store.scan()
    keys = [key for group in groups for key in group][::-1]
    assert store.has(keys)
    assert not store.has([*keys, -1])
    read = store.read(keys)
    assert read["a"].tolist() == keys
    assert torch.equal(read["b"], torch.tensor(keys).double()[:, None] / 3)


def test_an_empty_store_has_nothing(tmp_path: Path):
    store = ShardStore(tmp_path, "x")
    assert not store.has([0])
    assert store.has([])


def test_few_shards_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shard_store, "OPEN_SHARDS", 3)
    store = ShardStore(tmp_path, "x")
    for key in range(8):
        store.write([key], {"a": torch.tensor([[key]])})
    store.scan()
    assert store.read(list(range(8)))["a"].flatten().tolist() == list(range(8))
    assert len(store._open) == 3


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_and_a_cut_file_are_named(tmp_path: Path):
    store = ShardStore(tmp_path, "x")
    # float64 rows stand last in a safetensors file only if nothing is wider; so every byte at the end is data.
    store.write([1, 2], {"a": torch.rand(2, 64)})
    store.scan()
    (path,) = tmp_path.glob("x-*.safetensors")
    whole = path.read_bytes()
    flip_last_byte(path)
    store.scan()
    with pytest.raises(
        DataError, match=rf"{path.name} is damaged \(the checksum of row . is wrong\).*Delete this file"
    ):
        store.read([1, 2])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{path.name} is damaged.*all other files are kept"):
        store.scan()


def plan_of(pipeline: Path, manifest: Path, **data: Any) -> EncodingPlan:
    pairs = open_preferences(str(manifest), DataConfig(**data))
    groups = [[ImageRef(i, side) for i in range(len(pairs))] for side in (0, 1)]
    backbone = open_backbone(str(pipeline))
    return EncodingPlan(backbone, pairs, groups, backbone.resolution)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 images in shards of 4, so that there are several."""
    monkeypatch.setattr(encodings, "CHUNK", 2)
    monkeypatch.setattr(disk_cache, "CHUNKS_A_SHARD", 2)


def same(one: Any, other: Any, plan: EncodingPlan) -> None:
    images = [ref for group in plan.groups for ref in group][::-1]
    a, b = one.posterior(images), other.posterior(images)
    assert torch.equal(a.mean, b.mean)
    assert torch.equal(a.std, b.std)
    prompts = [*plan.prompts, *plan.prompts]
    a, b = one.condition(prompts), other.condition(prompts)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


class CountingPlan(EncodingPlan):
    """Counts what is encoded; stops like a kill after so many images."""

    encoded = 0
    limit = 10**9

    def encode_images(self, images: Sequence[ImageRef]) -> Any:
        self.encoded += len(images)
        if self.encoded > self.limit:
            raise KeyboardInterrupt
        return super().encode_images(images)


def counting(plan: EncodingPlan, limit: int = 10**9) -> CountingPlan:
    counted = CountingPlan(plan.backbone, plan.pairs, plan.groups, plan.resolution)
    counted.limit = limit
    return counted


@pytest.mark.parametrize("kind", ["sd-eps", "sdxl"])
@pytest.mark.usefixtures("small_shards")
def test_disk_holds_what_memory_holds(
    kind: str, tiny_backbones: dict[str, Path], manifest: Path, tmp_path: Path
):
    plan = plan_of(tiny_backbones[kind], manifest)
    disk = DiskCache(plan, tmp_path)
    same(disk, MemoryCache(plan), plan)
    assert len(list(disk.folder.glob("latents-*.safetensors"))) == 5  # 10 chunks of 2, two a shard
    written = json.loads((disk.folder / "fingerprint.json").read_text())
    assert written["data_sha256"] == plan.pairs.sha256


@pytest.mark.usefixtures("small_shards")
def test_after_a_kill_only_what_is_missing_is_encoded(tiny_pipeline: Path, manifest: Path, tmp_path: Path):
    plan = plan_of(tiny_pipeline, manifest)
    killed = counting(plan, limit=1 + 10)  # one image to measure the room; the third shard is cut
    with pytest.raises(KeyboardInterrupt):
        DiskCache(killed, tmp_path)
    (folder,) = (tmp_path / "encodings").iterdir()
    shards = {path: path.read_bytes() for path in folder.glob("latents-*.safetensors")}
    assert len(shards) == 2
    (folder / ".latents-0.safetensors.abc").write_bytes(b"torn")
    resumed = counting(plan)
    disk = DiskCache(resumed, tmp_path)
    assert resumed.encoded == 1 + 20 - 8
    assert all(path.read_bytes() == content for path, content in shards.items())
    same(disk, MemoryCache(plan), plan)
    again = counting(plan)
    DiskCache(again, tmp_path)
    assert again.encoded == 0


def test_a_longer_run_adds_what_it_meets_besides(tiny_pipeline: Path, manifest: Path, tmp_path: Path):
    plan = plan_of(tiny_pipeline, manifest)
    few = EncodingPlan(plan.backbone, plan.pairs, [group[:3] for group in plan.groups], plan.resolution)
    DiskCache(few, tmp_path)
    disk = DiskCache(plan, tmp_path)
    assert disk.posterior(plan.groups[1]).mean.shape[0] == 10
    assert len(list((tmp_path / "encodings").iterdir())) == 1


@pytest.mark.usefixtures("small_shards")
def test_a_damaged_file_stops_the_next_run_and_deleting_it_mends(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    plan = plan_of(tiny_pipeline, manifest)
    folder = DiskCache(plan, tmp_path).folder
    path = sorted(folder.glob("latents-*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="Delete this file and start again"):
        DiskCache(plan, tmp_path)
    path.unlink()
    mended = counting(plan)
    same(DiskCache(mended, tmp_path), MemoryCache(plan), plan)
    assert 0 < mended.encoded <= 1 + 4


def test_what_decides_the_encodings_is_in_the_fingerprint(tiny_pipeline: Path, tmp_path: Path):
    plain = encoding_fingerprint(open_backbone(str(tiny_pipeline)), "data", 16)
    moved = Path(shutil.copytree(tiny_pipeline, tmp_path / "moved"))
    assert encoding_fingerprint(open_backbone(str(moved)), "data", 16) == plain
    others = [
        encoding_fingerprint(open_backbone(str(tiny_pipeline)), "other", 16),
        encoding_fingerprint(open_backbone(str(tiny_pipeline)), "data", 32),
    ]
    for part in ("vae", "text_encoder"):
        backbone = open_backbone(str(tiny_pipeline))
        with torch.no_grad():
            next(backbone.encoders()[part].parameters()).add_(1e-3)
        others.append(encoding_fingerprint(backbone, "data", 16))
    half = open_backbone(str(tiny_pipeline))
    half.to(torch.device("cpu"), torch.bfloat16)
    others.append(encoding_fingerprint(half, "data", 16))
    scaled = moved / "vae" / "config.json"
    scaled.write_text(scaled.read_text().replace('"scaling_factor": 0.5', '"scaling_factor": 0.6'))
    others.append(encoding_fingerprint(open_backbone(str(moved)), "data", 16))
    texts = [json.dumps(part, sort_keys=True) for part in [plain, *others]]
    assert len(set(texts)) == len(texts)


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("PREFBENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(None) == tmp_path / "xdg" / "prefbench"
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "own"))
    assert cache_folder(None) == tmp_path / "own"
    assert cache_folder("given") == Path("given")


def test_a_disk_without_room_is_refused_before_encoding(
    tiny_pipeline: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UsageError, match=r"cache=disk needs .* Name another folder with cache_dir"):
        DiskCache(plan_of(tiny_pipeline, manifest), tmp_path)


@pytest.mark.parametrize("method", ["diffusion_dpo", "diffusion_kto"])
def test_the_trajectory_is_that_of_the_cache_in_memory_bit_for_bit(
    method: str, tiny_pipeline: Path, manifest: Path, tmp_path: Path
):
    def run(cache: object) -> tuple[list[float], dict[str, torch.Tensor]]:
        values = {"steps": 3, "batch": 4, "caption_dropout": 0.4, "lr": 1e-3, "kappa": 50, "cache": cache}
        given = {
            key: Constant(value, "test") for key, value in {**values, "cache_dir": str(tmp_path)}.items()
        }
        recipe = resolve_recipe(method, "miniature", given)
        run = prepare_run(
            recipe, open_backbone(str(tiny_pipeline)), open_preferences(str(manifest), recipe.data)
        )
        losses = [line["loss"] for line in training_steps(run)]
        return losses, {name: value.detach() for name, value in run.trained.trainable().items()}

    losses, weights = run("memory")
    assert len(set(losses)) == 3
    others, other_weights = run("disk")
    assert others == losses
    assert all(torch.equal(value, other_weights[name]) for name, value in weights.items())
    files = sorted((tmp_path / "encodings").rglob("latents-*"))
    times = [path.stat().st_mtime_ns for path in files]
    assert run("disk")[0] == losses
    assert [path.stat().st_mtime_ns for path in files] == times


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("memory", "memory"), ("disk", "disk")]
)
def test_the_setting_as_the_command_line_gives_it(text: str, value: object):
    assert resolve_recipe("sft", "miniature", {"cache": Constant(text, "--set")}).data.cache == value


def test_reading_rows_holds_no_more_than_they_need(tmp_path: Path):
    """The index costs 16 bytes a row: 8 for the key, 4 for the shard, 4 for the row in it."""
    store = ShardStore(tmp_path, "x")
    store.write(range(2000), {"a": torch.zeros(2000, 50)})
    store.scan()
    held = sum(array.nbytes for array in (store._keys, store._shard, store._row))
    assert held == 16 * 2000
    assert np.all(np.diff(store._keys) > 0)
