"""A worker process and the wire to it. It is restarted once; what it answered before is kept."""

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from prefbench.bench.exceptions import UpstreamError

__all__ = ["Worker"]

START_S = 900.0
"""Seconds until the weights must be loaded: a ViT-H on a slow disk takes minutes."""
PAIR_S = 120.0
"""Seconds that one pair may take: thirty times a ViT-H's on one CPU thread."""
STDERR_LINES = 6


class _FailedOnceError(Exception):
    """One death, silence or rubbish line; the worker may be started again."""


@dataclass
class Worker:
    """A script of workers/ in an original's environment.

    Use as a context manager, or call `close`; the process also ends by itself when this one goes.
    """

    python: Path
    """Of the original's environment."""
    script: Path
    """The program: one of workers/."""
    settings: Mapping[str, Any]
    """What the program's docstring lists."""
    variables: Mapping[str, str]
    """The whole environment of the process."""
    start_s: float = START_S
    pair_s: float = PAIR_S
    versions: dict[str, str] = field(default_factory=dict)
    """Of the packages in that environment; known once it has started."""
    restarts: int = 0

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: IO[bytes] | None = None
        self._asked = 0

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process and wait until it is ready; nothing happens where it runs already.

        Raises: UpstreamError with the last lines that it wrote.
        """
        if self._process is None:
            self._once_more(self._start)

    def score(self, images: Sequence[str], prompts: Sequence[str]) -> list[float | str]:
        """A number a pair, or the reason why the original could not score it.

        Raises: UpstreamError if the process failed twice on these pairs.
        """
        return self._once_more(lambda: self._ask(images, prompts))

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _once_more(self, action: Any) -> Any:
        try:
            return action()
        except _FailedOnceError:
            self.close()
            self.restarts += 1
        try:
            return action()
        except _FailedOnceError as failure:
            raise self._given_up(f"failed twice: {failure}") from failure

    def _given_up(self, what: str) -> UpstreamError:
        last = self._last_lines()
        self.close()
        return UpstreamError(
            f"The original package behind {self.script.name} {what}. "
            + (f"Its last lines: {last}. " if last else "It wrote nothing. ")
            + "Run `prefbench doctor --parity` to see whether its environment works."
        )

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe nobody reads would stop the worker)
        self._lines = queue.Queue()
        self._process = subprocess.Popen(
            [str(self.python), "-E", "-s", "-u", str(self.script), json.dumps(dict(self.settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(self.variables),
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        threading.Thread(target=_forward, args=(self._process.stdout, self._lines), daemon=True).start()
        first = self._reply(self.start_s)
        if "failed" in first:
            raise self._given_up(
                f"cannot start: {first['failed']}"
            )  # a stated reason does not go away by itself
        if not isinstance(first.get("ready"), dict):
            raise _FailedOnceError(f"it began with {str(first)[:120]!r} instead of saying that it is ready")
        self.versions = first["ready"]

    def _ask(self, images: Sequence[str], prompts: Sequence[str]) -> list[float | str]:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._asked += 1
        request = {"id": self._asked, "images": list(images), "prompts": list(prompts)}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise _FailedOnceError(f"it does not read any more ({error})") from error
        reply = self._reply(self.pair_s * len(images))
        results = reply.get("results")
        if reply.get("id") != self._asked or not isinstance(results, list) or len(results) != len(images):
            raise _FailedOnceError(
                f"it answered {str(reply)[:120]!r} to request {self._asked} of {len(images)} pairs"
            )
        return [_result(value) for value in results]

    def _reply(self, timeout_s: float) -> dict[str, Any]:
        assert self._process is not None
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            raise _FailedOnceError(f"it said nothing for {timeout_s:.0f} s") from error
        if line is None:
            raise _FailedOnceError(f"it ended with exit code {self._process.wait()}")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise _FailedOnceError(f"it wrote {line[:120]!r}, which is not JSON") from error
        if not isinstance(reply, dict):
            raise _FailedOnceError(f"it wrote {line[:120]!r}, which is no answer")
        return reply

    def _last_lines(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace")
        return " / ".join(line.strip() for line in text.strip().splitlines()[-STDERR_LINES:])


def _forward(pipe: IO[str] | None, lines: "queue.Queue[str | None]") -> None:
    assert pipe is not None
    with pipe:
        for line in pipe:
            lines.put(line)
    lines.put(None)


def _result(value: Any) -> float | str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return value["error"]
    raise _FailedOnceError(f"it gave {str(value)[:120]!r} as a score")
