"""A folder of finished images as a checkpoint: for models that this package cannot run.

    DIR/images.csv                      manifest with the columns prompt_id,seed,image (paths relative to
    DIR), or else DIR/<prompt_id>_<seed>.png          one image a prompt and seed
    DIR/<prompt_id>.png                 one image a prompt, for suites with a single seed

.png, .jpg, .jpeg and .webp are read, by the rules of `prefbench.scorers.image_io`, as `prefbench score` reads them:
turned as EXIF says, transparency over white, 16 bits reduced to 8. HPDv2's own layout `<style>/<index, 5 digits>.jpg` is
the third form.
"""

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from prefbench.bench.checkpoints.checkpoint import Generator
from prefbench.bench.exceptions import DataError
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.store.keys import canonical_sha256
from prefbench.bench.suite import Sampling
from prefbench.scorers.image_io import DECODE_RULE, open_rgb

__all__ = ["MANIFEST", "ImageFolderCheckpoint"]

MANIFEST = "images.csv"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
SHOWN = 10
"""So many holes are listed by name; the rest is counted."""


@dataclass
class ImageFolderCheckpoint:
    """Finished images. Its identity is over the manifest or the file list, names and contents."""

    name: str
    spec: str
    folder: Path
    kind: str = "images"
    training: dict[str, Any] | None = None
    identity: dict[str, Any] = field(init=False)
    _files: dict[tuple[str, int], Path] = field(init=False, default_factory=dict)
    _sha256: dict[Path, str] = field(init=False, default_factory=dict)
    _size: tuple[int, int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise DataError(f"Checkpoint {self.spec!r}: there is no folder {self.folder}.")
        self._manifest = self.folder / MANIFEST
        images = self._read_manifest().values() if self._manifest.exists() else self._found_files()
        for path in sorted(set(images)):
            with path.open("rb") as file:
                self._sha256[path] = hashlib.file_digest(file, "sha256").hexdigest()
        if not self._sha256:
            raise DataError(
                f"Checkpoint {self.spec!r}: {self.folder} holds no image ({', '.join(SUFFIXES)})."
            )
        listed = [[path.relative_to(self.folder).as_posix(), digest] for path, digest in self._sha256.items()]
        manifest = self._manifest.read_text(encoding="utf-8") if self._manifest.is_file() else None
        self.identity = {
            "kind": self.kind,
            "sha256": canonical_sha256({"files": listed, "manifest": manifest}),
            "decoded": DECODE_RULE,
        }

    def check(self, prompts: Sequence[Prompt], seeds: Sequence[int]) -> None:
        """Every (prompt, seed) has an image that can be decoded, all of one size.

        Raises:
            DataError: holes (listed), a file that cannot be decoded to its end, mixed sizes.
        """
        table = self._read_manifest() if self._manifest.is_file() else None
        holes = []
        for prompt in prompts:
            for seed in seeds:
                path = (
                    table.get((prompt.id, seed))
                    if table is not None
                    else self._by_name(prompt.id, seed, seeds)
                )
                if path is None:
                    holes.append(f"{prompt.id} seed {seed}")
                else:
                    self._files[prompt.id, seed] = path
        if holes:
            more = f" and {len(holes) - SHOWN} more" if len(holes) > SHOWN else ""
            where = (
                f"a row in {self._manifest}" if table is not None else f"{self.folder}/<prompt_id>_<seed>.png"
            )
            raise DataError(
                f"Checkpoint {self.name!r}: {len(holes)} of {len(prompts) * len(seeds)} images are missing: "
                f"{', '.join(holes[:SHOWN])}{more}. Each needs {where}."
            )
        self._check_files()

    def _check_files(self) -> None:
        first: Path | None = None
        paths = list(dict.fromkeys(self._files.values()))
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow decodes outside Python's lock
            sizes = list(threads.map(lambda path: self._read(path).size, paths))
        for path, size in zip(paths, sizes, strict=True):
            if first is None:
                first, self._size = path, size
            elif size != self._size:
                raise DataError(
                    f"Checkpoint {self.name!r}: {path} is {size[0]} x {size[1]} pixels, {first} is "
                    f"{self._size[0]} x {self._size[1]}. "  # type: ignore[index]
                    "Scorers crop and resize, so mixed sizes are not comparable: make all images one size."
                )

    def size(self, sampling: Sampling) -> tuple[int, int]:
        """(width, height) of all images; the suite's settings do not matter."""
        assert self._size is not None, "call check() first"
        return self._size

    def sample_key(self, prompt: Prompt, seed: int, sampling: Sampling) -> str:
        """sha256 over the file's hash: settings that did not make the image are no part of it."""
        digest = self._sha256[self._files[prompt.id, seed]]
        return canonical_sha256({"image_file": digest, "decoded": DECODE_RULE})

    def truncated(self, prompts: Sequence[Prompt]) -> int | None:
        """Unknown: what read the prompts is not here."""
        return None

    def load(self, device: str) -> Generator:
        """Nothing to load: the checkpoint reads its images itself."""
        return self

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling
    ) -> list[Image.Image]:
        """The image of each (prompt, seed), as RGB."""
        return [self._read(self._files[prompt.id, seed]) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _read(self, path: Path) -> Image.Image:
        try:
            return open_rgb(path)
        except DataError as error:
            raise DataError(f"Checkpoint {self.name!r}: {error}") from error

    def _found_files(self) -> list[Path]:
        found = [path for path in self.folder.rglob("*") if path.suffix.lower() in SUFFIXES]
        for path in found:
            if not path.is_file():
                what = "a folder" if path.is_dir() else "a link to a file that is not there"
                raise DataError(f"Checkpoint {self.spec!r}: {path} is {what}, not an image. Take it away.")
        return found

    def _by_name(self, prompt_id: str, seed: int, seeds: Sequence[int]) -> Path | None:
        stems = [f"{prompt_id}_{seed}", *([prompt_id] if len(seeds) == 1 else [])]
        found = [self.folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]
        found = [path for path in found if path in self._sha256]
        if len(found) > 1:
            raise DataError(
                f"Checkpoint {self.name!r}: prompt {prompt_id} seed {seed} has {len(found)} images: "
                f"{', '.join(path.name for path in found)}. Keep one."
            )
        return found[0] if found else None

    def _read_manifest(self) -> dict[tuple[str, int], Path]:
        table: dict[tuple[str, int], Path] = {}
        for number, row in self._manifest_rows():
            where = f"{self._manifest} line {number}"
            if None in row or None in row.values():
                raise DataError(f"{where}: the row has another number of fields than the header.")
            prompt_id, seed, image = row["prompt_id"], row["seed"], row["image"]
            if not prompt_id or not image or not (seed.isascii() and seed.isdigit()):
                raise DataError(
                    f"{where}: prompt_id and image must be filled and seed a whole number, not {seed!r}."
                )
            if Path(image).is_absolute():
                raise DataError(f"{where}: {image} is an absolute path. Write it relative to {self.folder}.")
            path = self.folder / image
            if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
                raise DataError(f"{where}: the image {path} does not exist.")
            if (prompt_id, int(seed)) in table:
                raise DataError(f"{where}: prompt {prompt_id} seed {seed} stands in it twice.")
            table[prompt_id, int(seed)] = path
        if not table:
            raise DataError(
                f"{self._manifest} has no rows. Fill it, or delete it to find the images by name."
            )
        return table

    def _manifest_rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, row) of every row, as they stand."""
        if not self._manifest.is_file():
            raise DataError(f"{self._manifest} is no file. It must be a CSV, or not be there.")
        try:
            with self._manifest.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, strict=True)
                if not {"prompt_id", "seed", "image"} <= set(reader.fieldnames or ()):
                    raise DataError(f"{self._manifest} needs the columns prompt_id, seed and image.")
                for row in reader:
                    yield reader.line_num, row
        except UnicodeDecodeError as error:
            raise DataError(f"{self._manifest} is not UTF-8 text. Save it as UTF-8.") from error
        except csv.Error as error:
            raise DataError(
                f"{self._manifest} line {reader.line_num}: {error}. Mend the quotation marks there."
            ) from error
