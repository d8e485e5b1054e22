"""A line for every job that ends, with the time that the rest will take."""

import time

from rich.console import Console

from prefbench.bench.reproduce.jobs import Done, Job

__all__ = ["Clock", "span"]


class Clock:
    """Progress of a reproduction as plain lines, which read well in a log too.

    Args:
        console: where to print.
        processes: how many work side by side.
        seconds_a_job: before the first job has ended; a single process's.
    """

    def __init__(self, console: Console, processes: int, seconds_a_job: float) -> None:
        self.console, self.processes, self.seconds_a_job = console, processes, seconds_a_job
        self.total = self.missing = self.ended = 0
        self.started = time.monotonic()

    def start(self, total: int, missing: int) -> None:
        """Say what there is to do."""
        self.total, self.missing = total, missing
        if missing < total:
            self._say(f"{total - missing} of {total} jobs were done before.")
        if missing:
            processes = f"{self.processes} process{'es' if self.processes > 1 else ''}"
            guess = span(self.seconds_a_job * missing / self.processes)
            self._say(
                f"{missing} job{'s' if missing > 1 else ''} in {processes} of one thread: about {guess}."
            )

    def recount(self, missing: int) -> None:
        """What is left turned out to be this much."""
        self.missing = missing

    def tick(self, job: Job, done: Done) -> None:
        """A job ended."""
        self.missing -= 1
        self.ended += 1
        left = (time.monotonic() - self.started) / self.ended * self.missing
        rest = f"; about {span(left)} left" if self.missing else ""
        self._say(f"[{self.total - self.missing}/{self.total}] {job.label}: {_how(job, done)}{rest}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _how(job: Job, done: Done) -> str:
    if done.diverged is not None:
        return f"DIVERGED after {done.seconds['train']:.0f} s. {done.diverged.partition('.')[0]}"
    drawn = f"drawn and scored {done.seconds['draw_and_score']:.0f} s"
    return drawn if job.arm is None else f"trained {done.seconds['train']:.0f} s, {drawn}"


def span(seconds: float) -> str:
    """A length of time in words.

    >>> span(75), span(600), span(9000)
    ('75 s', '10 min', '2 h 30 min')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
