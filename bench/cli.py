"""The `prefbench` command: names, help and the one place where errors become a paragraph and exit code 2."""

import errno
import importlib.metadata
import os
import sys
import traceback
import warnings
from typing import Annotated, NoReturn

import typer

from prefbench.bench.commands.baseline import baseline_app
from prefbench.bench.commands.bench import bench_command
from prefbench.bench.commands.compare import compare_command
from prefbench.bench.commands.demo import demo_command
from prefbench.bench.commands.doctor import doctor_command
from prefbench.bench.commands.gate import gate_command
from prefbench.bench.commands.history import history_command
from prefbench.bench.commands.import_votes import import_votes_command
from prefbench.bench.commands.judges import judges_command
from prefbench.bench.commands.label import label_command
from prefbench.bench.commands.listing import list_command
from prefbench.bench.commands.noise import noise_command
from prefbench.bench.commands.plan import plan_command
from prefbench.bench.commands.report import report_command
from prefbench.bench.commands.reproduce import reproduce_command
from prefbench.bench.commands.score import score_command
from prefbench.bench.commands.select import select_command
from prefbench.bench.commands.settings import ANY_SETTING
from prefbench.bench.commands.train import train_command
from prefbench.bench.exceptions import PrefbenchError

__all__ = ["app", "main"]

#: What a disk or a folder refuses. Any other OSError that comes this far is a bug and keeps its traceback.
REFUSED = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

BUG = 70
"""Exit code of an error that is nobody's input: EX_SOFTWARE of sysexits.h."""

app = typer.Typer(
    name="prefbench",
    help="Benchmark preference alignment of text-to-image models: train, generate, score, vote, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"prefbench {importlib.metadata.version('prefbench')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
    if debug:
        os.environ["PREFBENCH_DEBUG"] = "1"


app.command("demo")(demo_command)
app.command("train", context_settings=dict(ANY_SETTING))(train_command)
app.command("label", context_settings=dict(ANY_SETTING))(label_command)
app.command("select", context_settings=dict(ANY_SETTING))(select_command)
app.command("bench")(bench_command)
app.command("score")(score_command)
app.command("noise")(noise_command)
app.command("judges")(judges_command)
app.command("import-votes")(import_votes_command)
app.command("compare")(compare_command)
app.add_typer(baseline_app, name="baseline")
app.command("history")(history_command)
app.command("gate")(gate_command)
app.command("plan")(plan_command)
app.command("report")(report_command)
app.command("reproduce")(reproduce_command)
app.command("list")(list_command)
app.command("doctor")(doctor_command)


def main() -> None:
    """Entry point.

    Exit codes: 0 done or pass, 1 gate failed, 2 bad input or usage, 3 gate inconclusive, 70 a bug (with its traceback; not
    Python's own 1, because a gate that crashed has not failed a release), 130 interrupted.
    """
    try:
        _run()
    except Exception as error:
        traceback.print_exc()
        sys.exit(error.exit_code if isinstance(error, PrefbenchError) else BUG)


def _run() -> None:
    """Every error of the user's as one paragraph, with its exit code; with --debug it is raised."""
    # Advice of the libraries to their own developers; an error of theirs still raises.
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except PrefbenchError as error:
        if os.environ.get("PREFBENCH_DEBUG"):
            raise
        _print_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in REFUSED or os.environ.get("PREFBENCH_DEBUG"):
            raise
        where = error.filename or "The disk"
        _print_error(
            f"{where} cannot be written or read: {error.strerror}. Give --out (or the path in question) a place "
            "where that is possible, with room left; what was finished is kept."
        )
        sys.exit(2)
    except KeyboardInterrupt:
        _say_interrupted()
    except SystemExit as error:
        if error.code == INTERRUPTED:  # typer turns an interrupt of a command into this, without a word
            _say_interrupted()
        raise


def _say_interrupted() -> NoReturn:
    _print_error(
        "Interrupted. Nothing is half-written. What goes in steps (drawing, scoring, training, ratings) is kept as far as it was "
        "finished, and the same command goes on from there."
    )
    sys.exit(INTERRUPTED)


def _print_error(text: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text.assemble(("Error: ", "bold red"), text))


if __name__ == "__main__":
    main()
