"""Finding a published prompt file and checking that it is the published one.

A file is looked for in `--prompts-dir`, else in the folder that the variable PREFBENCH_PROMPTS names, else on
the hub. A folder that is named and lacks the file is an error: falling through to the network would hide a
wrong path.
"""

import hashlib
import os
from pathlib import Path

from prefbench.bench.exceptions import DataError

__all__ = ["ENVIRONMENT_VARIABLE", "published_file"]

ENVIRONMENT_VARIABLE = "PREFBENCH_PROMPTS"


def published_file(
    relative: str,
    sha256: str,
    *,
    prompts_dir: Path | None,
    where_from: str,
    hub: tuple[str, str, str] | None = None,
) -> bytes:
    """The bytes of one published file, with the published hash.

    Args:
        relative: its place in a prompts folder ("partiprompts/PartiPrompts.tsv").
        sha256: of the published file.
        prompts_dir: the folder of `--prompts-dir`, or None.
        where_from: where a person gets the file, for errors.
        hub: dataset repository, revision and file name on the hub; None if the file has no certain home
        there.

    Raises:
        DataError: no such file, no hub, or another hash.
    """
    path = _locate(relative, prompts_dir, where_from, hub)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DataError(
            f"{path} has sha256 {found}, the published file has {sha256}. A changed prompt list gives "
            "numbers that compare "
            f"with nothing: put the original there ({where_from}), or use the file as a set of your own by "
            "its path."
        )
    return data


def _locate(
    relative: str, prompts_dir: Path | None, where_from: str, hub: tuple[str, str, str] | None
) -> Path:
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    folder = prompts_dir or (Path(named) if named else None)
    if folder is not None:
        path = folder / relative
        if not path.is_file():
            origin = "--prompts-dir" if prompts_dir else ENVIRONMENT_VARIABLE
            raise DataError(
                f"The prompt file {path} does not exist ({origin} is {folder}). Put there: {where_from}."
            )
        return path
    if hub is None:
        raise DataError(
            f"The prompt file {relative} is needed and no prompts folder is named. Put {where_from} at "
            f"FOLDER/{relative} and pass --prompts-dir FOLDER (or set {ENVIRONMENT_VARIABLE}=FOLDER)."
        )
    return _from_hub(relative, where_from, hub)


def _from_hub(relative: str, where_from: str, hub: tuple[str, str, str]) -> Path:
    from huggingface_hub import hf_hub_download

    repository, revision, filename = hub
    try:
        return Path(hf_hub_download(repository, filename, repo_type="dataset", revision=revision))
    except Exception as error:  # the hub client, httpx and the disk each raise their own families
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"The prompt file {relative} could not be read from the hub (dataset {repository}, revision "
            f"{revision}, "
            f"{filename}): {type(error).__name__}: {reason}. Without a network put {where_from} at "
            f"FOLDER/{relative} and "
            f"pass --prompts-dir FOLDER (or set {ENVIRONMENT_VARIABLE}=FOLDER)."
        ) from error
