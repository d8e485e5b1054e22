"""Make the images that a run still lacks.

Batches. The keyed noise makes a sample independent of its neighbours, but a matrix product may round the last
bit of a float differently in a batch of another *size*, and after 50 steps an 8-bit level can tip. So the
size is constant (the last batch is filled up with repetitions, which are thrown away) and the division into
batches is that of the whole suite, whatever is already
there: a batch with one missing image is drawn whole and only the missing one is stored. Killed and started
again, a run therefore ends with the same pixels. A sequential gate draws a few prompts at a time: batches of the same
size with other neighbours. Another --batch-size or device may move single pixels by a
level; each image's row in the ledger says what it was made with.
"""

import json
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from PIL import Image

from prefbench.bench.checkpoints.checkpoint import Checkpoint, Generator
from prefbench.bench.device import hardware_name
from prefbench.bench.exceptions import DataError
from prefbench.bench.networks import Hold, load_anew
from prefbench.bench.plan import wanted_images
from prefbench.bench.prompts.prompt_set import Prompt
from prefbench.bench.store.images import ImageStore
from prefbench.bench.store.ledger import DrawingRow, ImageRow, Ledger, SampleRow
from prefbench.bench.suite import Suite

__all__ = ["DEFAULT_BATCH_SIZE", "generate_missing"]

DEFAULT_BATCH_SIZE = 8
"""Images drawn at once: 512-pixel SD1.5 with guidance then fits into 8 GB."""


def generate_missing(
    checkpoint: Checkpoint,
    prompts: Sequence[Prompt],
    suite: Suite,
    *,
    ledger: Ledger,
    store: ImageStore,
    device: str,
    batch_size: int,
    advance: Callable[[int], None],
    hold: Hold = load_anew,
) -> None:
    """Draw what the ledger or the store lacks of one checkpoint, then list its samples.

    Args:
        checkpoint: checked, and listed in the ledger.
        prompts: of the suite, after its limit; or some of them.
        suite: seeds and sampling.
        ledger: of the run.
        store: of the run.
        device: a torch device.
        batch_size: images drawn at once; a batch with fewer is filled up.
        advance: called with the number of images that are done, those found first.
        hold: who keeps the loaded checkpoint.

    Raises:
        DataError: an image has a non-finite value or another size than announced.
        MissingWeightsError: the weights cannot be loaded.
    """
    images = list(wanted_images(checkpoint, prompts, suite).items())
    listed = ledger.images()
    made = {key for key, _ in images if key in listed and store.has(key)}
    advance(sum(key in made for key, _ in images))
    if any(key not in made for key, _ in images):
        generator = hold(f"checkpoint {checkpoint.name}", lambda: checkpoint.load(device))
        size = checkpoint.size(suite.sampling)
        made_with, hardware, warm_up = _made_with(device, batch_size), hardware_name(device), True
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            if all(key in made for key, _ in batch):
                continue
            began = time.perf_counter()
            drawn = _draw(generator, [sample for _, sample in batch], suite, batch_size)
            took = time.perf_counter() - began
            new = []
            for (key, (prompt, seed)), image in zip(batch, drawn, strict=True):
                if image.size != size:
                    raise _other_size(checkpoint.name, image, size, prompt, seed)
                if key not in made:
                    new.append(ImageRow(key, store.write(key, image), *size, made_with))
            with ledger.atomic():
                ledger.add_images(new)  # after the files: a row never speaks of a file that is not whole
                if checkpoint.kind != "images":  # finished images are read, not drawn
                    row = DrawingRow(checkpoint.name, made_with, hardware, warm_up, batch_size, took)
                    ledger.add_drawing(row)
            warm_up = False
            advance(len(new))
    ledger.add_samples(
        SampleRow(checkpoint.name, prompt.id, seed, checkpoint.sample_key(prompt, seed, suite.sampling))
        for seed in suite.seeds
        for prompt in prompts
    )


def _other_size(name: str, image: Image.Image, size: tuple[int, int], prompt: Prompt, seed: int) -> DataError:
    return DataError(
        f"Checkpoint {name!r} drew {image.width} x {image.height} pixels for prompt {prompt.id} seed {seed}, and {size[0]} x "
        f"{size[1]} were announced. Its configuration contradicts itself."
    )


def _draw(
    generator: Generator, batch: list[tuple[Prompt, int]], suite: Suite, rows: int
) -> list[Image.Image]:
    full = batch + [batch[-1]] * (rows - len(batch))
    drawn = generator.generate([prompt for prompt, _ in full], [seed for _, seed in full], suite.sampling)
    return drawn[: len(batch)]


def _made_with(device: str, rows: int) -> str:
    packages = {name: version(name) for name in ("torch", "diffusers", "transformers", "prefbench")}
    return json.dumps({"device": device, "batch_size": rows, **packages}, sort_keys=True)
