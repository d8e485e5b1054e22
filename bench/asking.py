"""Many messages to one chat server, several at once, answers as they come."""

import queue
import threading
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from prefbench.bench.chat_server import ChatServer, Message, UnansweredError

__all__ = ["replies"]


def replies(
    server: ChatServer, waiting: Iterable[tuple[Hashable, Message]], concurrency: int
) -> Iterator[tuple[Any, str | None, str]]:
    """(key, reply or None, reason) of every (key, message), as they come.

    Args:
        server: closed if the caller stops early or an error ends it. It counts failures over several calls.
        waiting: keys that differ, and messages; taken a bounded number ahead, so they may be made as they are asked for.
        concurrency: messages asked at once.

    Raises:
        DataError: the server cannot be reached, answered none of FAILURES_IN_A_ROW messages in a row, or refused the first
            REFUSED_AT_FIRST.
        UsageError: it refuses the key or does not know the model.
    """
    questions: queue.SimpleQueue[tuple[Hashable, Message] | None] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[Hashable, str | Exception]] = queue.SimpleQueue()

    def ask() -> None:
        while (question := questions.get()) is not None:
            try:
                answers.put((question[0], server.ask(question[1])))
            except Exception as error:  # raised again where the answer is taken
                answers.put((question[0], error))

    # Daemons: whoever presses Ctrl-C does not wait for answers that nobody will read.
    for _ in range(concurrency):
        threading.Thread(target=ask, daemon=True).start()
    todo, open_questions = iter(waiting), 0
    try:
        while True:
            while open_questions < 2 * concurrency and (item := next(todo, None)) is not None:
                questions.put(item)
                open_questions += 1
            if not open_questions:
                return
            key, answer = answers.get()
            open_questions -= 1
            if isinstance(answer, str):
                server.answered()
                yield key, answer, ""
            elif isinstance(answer, UnansweredError):
                server.failed(answer)
                yield key, None, str(answer)
            else:
                raise answer
    except BaseException:
        server.close()  # ends the pauses of those that are still asking
        raise
    finally:
        for _ in range(concurrency):
            questions.put(None)
