"""Where the files of a checkpoint lie: a local path, or a repository on the hub at a resolved commit."""

import re
from dataclasses import dataclass
from pathlib import Path

from prefbench.bench.exceptions import DataError

__all__ = ["HubSource", "LocalSource", "Source", "find_source"]

_HUB_ID = re.compile(r"(?P<repository>[\w][\w.-]*/[\w][\w.-]*)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class LocalSource:
    """A file or folder that exists."""

    path: Path

    def fetch(self, patterns: list[str]) -> Path:
        """The path; everything is here already."""
        return self.path


@dataclass(frozen=True)
class HubSource:
    """A hub repository at one commit."""

    repository: str
    commit: str

    def fetch(self, patterns: list[str]) -> Path:
        """Download the files that match `patterns`, or find them in the hub client's cache.

        Raises:
            DataError: the hub cannot be reached, or has no such files.
        """
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(self.repository, revision=self.commit, allow_patterns=patterns))
        except Exception as error:  # the hub client, httpx and the disk each raise their own families
            raise _unreachable(self.repository, error) from error


Source = LocalSource | HubSource


def find_source(text: str, *, spec: str) -> Source:
    """A local path if it exists, else a hub id `owner/name[@revision]`, whose commit is looked up.

    Args:
        text: the path or hub id.
        spec: the whole SPEC, for errors.

    Raises:
        DataError: neither, or the hub does not answer and holds no copy of it in its local cache.
    """
    path = Path(text).expanduser()
    if path.exists():
        return LocalSource(path)
    match = _HUB_ID.fullmatch(text)
    if match is None:
        raise DataError(
            f"Checkpoint {spec!r}: {text} does not exist, and it is no hub id (owner/name). Check the path; "
            "relative paths "
            f"start at {Path.cwd()}."
        )
    repository, revision = match["repository"], match["revision"] or "main"
    return HubSource(repository, _resolve_commit(repository, revision, text))


def _resolve_commit(repository: str, revision: str, text: str) -> str:
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(repository, revision=revision)
        if info.sha is None:
            raise DataError(f"The hub names no commit for {text}. Pin one: {repository}@COMMIT.")
        return info.sha
    except DataError:
        raise
    except Exception as error:
        # Without a network the local cache still knows which commit it holds; the folder of a snapshot bears
        # its name.
        try:
            return Path(snapshot_download(repository, revision=revision, local_files_only=True)).name
        except Exception:
            raise _unreachable(text, error) from error


def _unreachable(text: str, error: Exception) -> DataError:
    reason = str(error).strip().split("\n")[0]
    return DataError(
        f"{text} is no local path, and the hub gave no such checkpoint ({type(error).__name__}: {reason}). "
        "Check the path or "
        "the id; for a gated model log in with `hf auth login`; without a network download it first and "
        "give the folder."
    )
