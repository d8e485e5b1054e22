"""The output folder of a training run: states to resume from, metrics, and the finished checkpoint.

OUT/metrics.jsonl           one line an optimizer step
OUT/state/config.json       the resolved configuration that a resume must match, once a state is saved
OUT/state/run.lock          held by the process that trains, gone when it ends
OUT/state/step-00000050/    weights.safetensors (trained weights only), optimizer.pt, and where shadows or a
                            reference move beside the policy, moving.safetensors
OUT/exports/step-00000050/  with export_every: the checkpoint as it was after that step
OUT/prefbench.json          the training card, written last: its presence means that the run is finished
OUT/model_index.json ...    the checkpoint itself, or OUT/pytorch_lora_weights.safetensors
"""

import contextlib
import json
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prefbench.bench.atomic import new_folder, write_json, write_text
from prefbench.bench.exceptions import DataError, LedgerError, UsageError
from prefbench.bench.store.folder_lock import folder_lock

__all__ = ["CARD", "METRICS", "RunFolder", "export_folder"]

CARD = "prefbench.json"
METRICS = "metrics.jsonl"
STATE = "state"
EXPORTS = "exports"
LOCK = f"{STATE}/run.lock"
WEIGHTS = "weights.safetensors"
MOVING = "moving.safetensors"


def export_folder(out: Path, step: int) -> Path:
    """Where `export_every` puts the checkpoint of a step."""
    return out / EXPORTS / f"step-{step:08d}"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            out.update(_flat(entry, f"{prefix}{key}."))
        else:
            out[prefix + key] = entry
    return out


def _ordinary_modes(folder: Path) -> None:
    """Give files the mode that the umask gives to new ones; safetensors writes some that only their owner may read."""
    probe = folder / ".mode"
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(
            f"{path} is not valid JSON ({error}). Give another --out, or delete this folder."
        ) from None


class RunFolder:
    """One run's folder.

    Args:
        out: the folder; made when the run starts.
        config: all that decides the result, as JSON values.
    """

    def __init__(self, out: Path, config: Mapping[str, Any]) -> None:
        self.out = out
        self.config = dict(config)
        self.state = out / STATE

    def flat_config(self) -> dict[str, Any]:
        """The configuration with dotted names."""
        return _flat(self.config)

    def finished_card(self) -> dict[str, Any] | None:
        """The card of a finished run of the same configuration, or None if there is something left to do.

        Raises:
            UsageError: the folder holds a run of another configuration, or something that is no run.
        """
        card, config = self.out / CARD, self.state / "config.json"
        if card.is_file():
            found = _read_json(card)
            self._compare(found.get("config", {}), "a finished run")
            return found
        if self.steps_done() and config.is_file():
            self._compare(_read_json(config), "an unfinished run")
        elif config.is_file() or (self.out / LOCK).is_file():
            return None  # no state was saved, so there is nothing that other settings could spoil
        elif self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise UsageError(
                f"--out {self.out} exists and is not the folder of a training run. Give a new or empty "
                "folder."
            )
        return None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out for the length of the block, which is entered by one process of the run only.

        A block that ends before the first line of metrics leaves nothing behind.

        Raises:
            LedgerError: another process trains into this folder, or has just finished.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        with folder_lock(self.out, LOCK):
            try:
                if (self.out / CARD).is_file():
                    raise LedgerError(
                        f"Another process has just finished the run in {self.out}. Give another --out."
                    )
                yield
            finally:
                (self.out / LOCK).unlink(missing_ok=True)
                if not self.steps_done() and not (self.out / METRICS).exists():
                    shutil.rmtree(self.state, ignore_errors=True)
                    with contextlib.suppress(OSError):
                        self.out.rmdir()

    @contextlib.contextmanager
    def _writing(self, what: str, errors: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
        try:
            yield
        except errors as error:
            done = self.steps_done()
            # What torch.save says of a full disk names a line of its own source.
            reason = "torch.save failed" if isinstance(error, RuntimeError) else " ".join(str(error).split())
            kept = f"The state of step {done} is kept" if done else "No state was saved before"
            raise LedgerError(
                f"{what} could not be written to {self.out}: {reason}. {kept}. Make room on that "
                "disk and give the same command again."
            ) from error

    def _compare(self, other: Mapping[str, Any], what: str) -> None:
        here, there = _flat(self.config), _flat(other)
        absent = object()
        differing = [
            f"{name.rpartition('.')[2] if name.startswith(('loop.', 'method.')) else name} "
            f"({there.get(name, 'absent')} there, {here.get(name, 'absent')} now)"
            for name in sorted(here.keys() | there.keys())
            if here.get(name, absent) != there.get(name, absent)
        ]
        if differing:
            raise UsageError(
                f"--out {self.out} holds {what} with other settings: {', '.join(differing)}. Give another "
                "--out, or the settings of that run."
            )

    def steps_done(self) -> int:
        """Steps of the newest whole state."""
        return max((int(path.name.partition("-")[2]) for path in self.state.glob("step-*")), default=0)

    def resume(self) -> int:
        """Make the folder ready and say how many steps are done; metrics beyond them are cut off."""
        with self._writing("The configuration"):
            self.state.mkdir(parents=True, exist_ok=True)
            write_json(self.state / "config.json", self.config)
        for leftover in self.state.glob(".*"):  # half-written by a process that was killed
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        done = self.steps_done()
        metrics = self.out / METRICS
        if metrics.exists():
            lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)[:done]
            if len(lines) < done or not all(line.endswith("\n") for line in lines):
                raise DataError(
                    f"{metrics} has {len(lines)} whole lines, and the saved state is of step {done}: the "
                    f"file was changed. Delete {self.out} and train again."
                )
            with self._writing("The metrics"):
                write_text(metrics, "".join(lines))
        return done

    def save_state(
        self,
        step: int,
        weights: Mapping[str, Tensor],
        optimizer: Mapping[str, Any],
        moving: Mapping[str, Tensor],
    ) -> None:
        """Keep what a resume needs; the state before it goes only when the new one is whole.

        Raises:
            LedgerError: no room on the disk.
        """
        files = [
            ({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, name)
            for tensors, name in ((weights, WEIGHTS), (moving, MOVING))
            if tensors
        ]
        # torch.save and safetensors have errors of their own for a disk that is full.
        failures = (OSError, SafetensorError, RuntimeError)
        with (
            self._writing(f"The state of step {step}", failures),
            new_folder(self.state / f"step-{step:08d}") as work,
        ):
            for held, name in files:
                save_file(held, work / name)
            torch.save(dict(optimizer), work / "optimizer.pt")
        for older in self.state.glob("step-*"):
            if older.name != f"step-{step:08d}":
                shutil.rmtree(older)

    def load_state(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor]]:
        """Weights by name, optimizer state, and what moves beside the policy, as of `step`."""
        folder = self.state / f"step-{step:08d}"
        try:
            optimizer = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
            moving = load_file(folder / MOVING) if (folder / MOVING).exists() else {}
            return load_file(folder / WEIGHTS), optimizer, moving
        except Exception as error:
            raise DataError(
                f"The saved state {folder} cannot be read ({type(error).__name__}: {error}). Delete "
                f"{self.out} and train again."
            ) from error

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one line, at once."""
        with self._writing("The metrics"), (self.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics, allow_nan=False) + "\n")

    def last_metrics(self) -> dict[str, Any]:
        """The last line of metrics.jsonl."""
        return dict(json.loads((self.out / METRICS).read_text(encoding="utf-8").splitlines()[-1]))

    def export(self, step: int, write: Callable[[Path], None]) -> None:
        """Keep the checkpoint of a step for good; one of the same step, from before a kill, is replaced.

        Raises:
            LedgerError: no room on the disk.
        """
        with (
            self._writing(f"The checkpoint of step {step}", (OSError, SafetensorError)),
            new_folder(export_folder(self.out, step)) as work,
        ):
            write(work)
            _ordinary_modes(work)

    def finish(self, write: Callable[[Path], None], card: Mapping[str, Any], *, keep_state: bool) -> None:
        """Put the checkpoint into the folder, then the card, then remove the state."""
        ready = self.state / "checkpoint"
        with self._writing("The checkpoint", (OSError, SafetensorError)), new_folder(ready) as work:
            write(work)
            _ordinary_modes(work)
        # model_index.json last: until it is there, nothing takes the folder for a pipeline.
        for entry in sorted(ready.iterdir(), key=lambda path: path.name == "model_index.json"):
            target = self.out / entry.name
            if target.is_dir():
                shutil.rmtree(target)
            entry.replace(target)
        ready.rmdir()
        with self._writing("The training card"):
            write_json(self.out / CARD, {**card, "config": self.config})
        if not keep_state:
            shutil.rmtree(self.state)
