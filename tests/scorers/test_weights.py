"""Weights enter completely, without running code, or not at all."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import prefbench.scorers.weights as weights_module
from prefbench.bench.exceptions import MissingWeightsError, UsageError
from prefbench.scorers.registry import load_scorer
from prefbench.scorers.weights import (
    HubFile,
    SkipRandomInit,
    find_weights,
    load_strict,
    place,
    read_state_dict,
)

HUB = HubFile("owner/name", "0" * 40, "model.safetensors")


@pytest.fixture
def network() -> nn.Module:
    return nn.Linear(3, 2)


def test_safetensors_and_both_kinds_of_checkpoint_give_the_same_tensors(
    tmp_path: Path, network: nn.Module
) -> None:
    state = network.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": state}, tmp_path / "hps.pt")
    for name in ("a.safetensors", "b.pt", "old.pth", "hps.pt"):
        read = read_state_dict(tmp_path / name, "s")
        assert read.keys() == state.keys()
        assert all(torch.equal(read[key], state[key]) for key in state), name


def test_a_pickle_that_needs_more_than_tensors_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "it_ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (marker,)  # type: ignore[return-value]

    torch.save({"weight": torch.zeros(1), "extra": Payload()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(MissingWeightsError, match="could run code and is refused"):
            read_state_dict(tmp_path / name, "s")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.pt", b"", "an empty file"),
        (
            "pointer.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
            "Git LFS pointer",
        ),
        (
            "pointer.pt",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n",
            "Git LFS pointer",
        ),
        ("words.pt", b"404: Not Found\n", "a text file, not weights"),
        ("noise.safetensors", b"\x01" * 300, "cannot be read"),
        ("noise.pt", b"PK\x03\x04" + b"\x00" * 300, "cannot be read"),
    ],
)
def test_corrupt_files_are_errors_that_name_them(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MissingWeightsError, match=rf"{name}.*") as error:
        read_state_dict(tmp_path / name, "s")
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_truncated_download_is_an_error(tmp_path: Path, name: str) -> None:
    state = {"weight": torch.zeros(200, 200)}
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(MissingWeightsError, match="Download it again"):
        read_state_dict(tmp_path / name, "s")


def test_a_whole_model_or_a_list_is_not_a_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(MissingWeightsError, match="not a state dict"):
        read_state_dict(tmp_path / "list.pt", "s")


def test_every_misfit_is_listed_and_nothing_is_copied(network: nn.Module) -> None:
    before = network.weight.clone()
    state = {"weight": torch.zeros(2, 4), "odd": torch.zeros(1)}
    with pytest.raises(MissingWeightsError) as error:
        load_strict(network, state, scorer="s", source=Path("w.pt"))
    message = str(error.value)
    assert "missing (1): bias" in message
    assert "unexpected (1): odd" in message
    assert "weight (2, 4) instead of (2, 3)" in message
    assert torch.equal(network.weight, before)


def test_ignored_keys_may_be_there_and_needed_ones_may_not_be_absent(network: nn.Module) -> None:
    state = {**network.state_dict(), "head.position_ids": torch.arange(3)}
    load_strict(network, state, scorer="s", source=Path("w"), ignore=("*.position_ids",))
    del state["bias"]
    with pytest.raises(MissingWeightsError, match="bias"):
        load_strict(network, state, scorer="s", source=Path("w"), ignore=("*.position_ids",))


def test_half_precision_files_load_into_float32(network: nn.Module) -> None:
    state = {key: value.half() for key, value in network.state_dict().items()}
    load_strict(network, state, scorer="s", source=Path("w"))
    assert network.weight.dtype == torch.float32
    assert torch.equal(network.weight, state["weight"].float())


def test_find_weights_takes_a_file_or_the_best_candidate_of_a_folder(tmp_path: Path) -> None:
    for name in ("second.pt", "first.pt"):
        (tmp_path / name).touch()
    found = find_weights(tmp_path, default=None, candidates=("first.pt", "second.pt"), scorer="s")
    assert found == tmp_path / "first.pt"
    assert find_weights(str(found), default=None, candidates=(), scorer="s") == found
    with pytest.raises(MissingWeightsError, match=r"looked for x\.pt"):
        find_weights(tmp_path, default=None, candidates=("x.pt",), scorer="s")
    with pytest.raises(MissingWeightsError, match=r"no/such/path does not exist"):
        find_weights("no/such/path", default=HUB, candidates=("x.pt",), scorer="s")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, HUB),
        ("someone/copy", HubFile("someone/copy", "main", "model.safetensors")),
        ("someone/copy@v2", HubFile("someone/copy", "v2", "model.safetensors")),
    ],
)
def test_without_a_path_the_pinned_file_or_the_asked_repository_is_fetched(
    asked: str | None, expected: HubFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    monkeypatch.setattr(weights_module, "download", lambda file, scorer: fetched.append(file) or Path("x"))
    find_weights(asked, default=HUB, candidates=(), scorer="s")
    assert fetched == [expected]


def test_an_unreachable_hub_says_how_to_give_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's own offline mode, with an empty cache: its real error, not a mock of it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeightsError) as error:
        load_scorer("hpsv2.1")
    for part in ("HPS_v2.1_compressed.pt", "xswu/HPSv2@697403c7", "--weights hpsv2.1=PATH"):
        assert part in str(error.value)


def fill_hub_cache(cache: Path, weights: bytes, promised: str) -> Path:
    """The cache as the hub's client lays it out: the file under its sha256, and a link by its name; returns the file."""
    from prefbench.scorers.pickscore import HUB as PICKSCORE

    repository = cache / f"models--{PICKSCORE.repo.replace('/', '--')}"
    snapshot = repository / "snapshots" / PICKSCORE.revision
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / promised).write_bytes(weights)
    (snapshot / PICKSCORE.filename).symlink_to(repository / "blobs" / promised)
    return repository / "blobs" / promised


def test_a_hub_copy_must_be_what_its_sha256_says(
    monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Whole it loads; with its last byte cut off it is refused before it is read, and the file to delete is named."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = folders["mini:pickscore"]
    weights = (folder / "model.safetensors").read_bytes()
    promised = hashlib.sha256(weights).hexdigest()
    kept = fill_hub_cache(tmp_path, weights, promised)
    sizes = folder / "config.json"
    assert load_scorer("pickscore", architecture=sizes).info.identity["weights"] == promised
    kept.write_bytes(weights[:-1])
    with pytest.raises(
        MissingWeightsError, match=rf"not what the hub sent.*instead of {promised[:12]}.*Delete {kept}"
    ):
        load_scorer("pickscore", architecture=sizes)


def test_skipping_random_initialisation_draws_nothing_and_keeps_constants() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with SkipRandomInit():
        made = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        nn.init.trunc_normal_(made[0].weight, std=0.02)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(made[1].weight, torch.ones(4))


def test_unknown_dtype_and_device_are_usage_errors(network: nn.Module) -> None:
    with pytest.raises(UsageError, match="float8"):
        place(network, "cpu", "float8")
    with pytest.raises(UsageError, match="abacus"):
        place(network, "abacus", "float32")


@pytest.mark.parametrize(
    "name", ["mini:pickscore", "mini:hpsv2", "mini:imagereward", "mini:clip", "mini:aesthetic"]
)
def test_a_scorer_with_a_missing_a_foreign_and_a_misshapen_tensor_lists_all_three(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    for file in folders[name].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    keys = sorted(
        key for key, value in state.items() if value.dim() == 2 and not key.startswith("text.embeddings")
    )
    gone, bent = keys[0], keys[-1]
    del state[gone]
    state[bent] = torch.zeros(1, 1)
    state["visual.foreign" if name == "mini:aesthetic" else "foreign"] = torch.zeros(2)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(MissingWeightsError) as error:
        load_scorer(name, weights=tmp_path)
    message = str(error.value)
    assert gone.removeprefix("visual.") in message
    assert "foreign" in message
    assert bent.removeprefix("visual.") + " (1, 1) instead of" in message
