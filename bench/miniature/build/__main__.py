"""Build the miniature world's weights, stage by stage, from one seed.

    python -m prefbench.bench.miniature.build --out WEIGHTS --state STATE [--stage autoencoder base scorers card]

A stage whose result exists is skipped; a stopped base training goes on. The shipped weights were made by this command
with the default seed; `build.log` beside them is its log.
"""

import argparse
import os
import platform
import time
from pathlib import Path

STAGES = ("autoencoder", "base", "scorers", "card")


def main() -> None:
    """Parse the arguments and run the stages in order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="weights folder to write")
    parser.add_argument(
        "--state", type=Path, required=True, help="scratch folder: unfinished training, tokenizers"
    )
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    arguments.state.mkdir(parents=True, exist_ok=True)
    log_file = arguments.state / "build.log"

    def log(line: str) -> None:
        print(line, flush=True)
        with log_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    log(
        f"# seed {arguments.seed}, torch {torch.__version__}, Python {platform.python_version()}, {arguments.threads} threads"
    )
    base, autoencoder = arguments.out / "base", arguments.state / "autoencoder"
    for stage in STAGES:
        if stage not in arguments.stage:
            continue
        started = time.monotonic()
        if stage == "autoencoder" and not autoencoder.exists():
            from prefbench.bench.miniature.build.base import train_autoencoder

            train_autoencoder(autoencoder, arguments.seed, log)
        elif stage == "base" and not base.exists():
            from prefbench.bench.miniature.build.base import train_base

            train_base(base, autoencoder, arguments.state, arguments.seed, log)
        elif stage == "scorers":
            from prefbench.bench.miniature.build.scorers import train_scorers

            train_scorers(arguments.out / "scorers", autoencoder, arguments.state, arguments.seed, log)
        elif stage == "card":
            from prefbench.bench.miniature.build.card import write_card

            write_card(arguments.out, autoencoder, arguments.seed, log)
        else:
            log(f"{stage}: exists, skipped")
            continue
        log(f"{stage}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
