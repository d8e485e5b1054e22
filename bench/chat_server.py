"""Asking a chat model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, `transformers serve`), with patience.

Tried again, with growing pauses: 429, 5xx, a timeout, a broken connection, an answer that is not whole JSON. A server
that cannot be reached, or that refuses the key or the model, stops the command; what it answered before is kept.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from prefbench.bench.exceptions import DataError, UsageError

__all__ = [
    "FAILURES_IN_A_ROW",
    "KEY_VARIABLE",
    "MAX_TOKENS",
    "ChatServer",
    "Message",
    "RefusedError",
    "UnansweredError",
]

Message = str | list[dict[str, Any]]
"""A user message: text, or the parts of OpenAI's chat format (texts and images)."""

KEY_VARIABLE = "OPENAI_API_KEY"
"""Sent as a bearer token where it is set; local servers need none."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
LONGEST_ASKED_PAUSE_S = 600.0
"""A server that asks for a longer one (Retry-After) gets this."""
MAX_TOKENS = 2048
"""Enough for a model that thinks before it answers."""
FAILURES_IN_A_ROW = 20
"""So many messages without any answer of the server, one after the other, end the command."""
REFUSED_AT_FIRST = 100
"""So many messages refused before any is answered end the command: then it is not the messages."""
LONGEST_LISTING_S = 10.0
"""Wait for the list of models: nothing is computed for it."""
REFUSED_MODEL_OR_KEY = (401, 404)
BUSY = 429

T = TypeVar("T")


class UnansweredError(Exception):
    """This message got no answer after all tries; `str(self)` is the reason."""


class RefusedError(UnansweredError):
    """The server answered, and not with what was asked for; asking again would not help."""


@dataclass
class ChatServer:
    """A chat model behind HTTP.

    Attributes:
        url: base address with its /v1.
        model: as the server names it.
        attempts: tries a message.
        timeout_s: wait for an answer.
        address_in: where the user wrote `url`, for error messages.
        model_in: where the user wrote `model`, likewise.
        first_pause_s: before the second try; doubled before each further one.
    """

    url: str
    model: str
    attempts: int
    timeout_s: float
    address_in: str
    model_in: str
    first_pause_s: float = FIRST_PAUSE_S
    _client: httpx.Client = field(init=False, repr=False)
    _stopped: threading.Event = field(init=False, repr=False, default_factory=threading.Event)
    _ever_answered: bool = field(init=False, repr=False, default=False)
    _refused: int = field(init=False, repr=False, default=0)
    _unanswered_in_a_row: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError(
                f"{self.address_in}: {self.url!r} is no address. Write http://127.0.0.1:8000/v1, say."
            )
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError(
                f"The variable {KEY_VARIABLE} holds characters that no key has: print it and look for line ends, quotation "
                "marks or letters with accents."
            )
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # How many messages are sent at once is the caller's choice.
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.Client(timeout=self.timeout_s, headers=headers, limits=limits)

    def close(self) -> None:
        """End the connections and the pauses between tries."""
        self._stopped.set()
        self._client.close()

    def answered(self) -> None:
        """Note an answer."""
        self._ever_answered, self._unanswered_in_a_row = True, 0

    def failed(self, error: UnansweredError) -> None:
        """Note a message without one. Raises DataError where there are so many that going on is of no use."""
        refused = isinstance(error, RefusedError)
        self._refused += refused
        self._unanswered_in_a_row = 0 if refused else self._unanswered_in_a_row + 1
        what = ""
        if self._unanswered_in_a_row >= FAILURES_IN_A_ROW:
            what = f"answered none of {self._unanswered_in_a_row} messages in a row"
        elif refused and not self._ever_answered and self._refused >= REFUSED_AT_FIRST:
            what = f"refused all of the first {self._refused} messages"
        if what:
            raise DataError(
                f"The server at {self.url} {what}: {error}. Look at its log. Answers so far are kept: the same command goes on."
            )

    def ask(self, message: Message) -> str:
        """The model's reply to one user message, at temperature 0.

        Raises:
            UnansweredError: no answer after all tries.
            RefusedError: the server refuses this message (400, 403, 413, 422 and the like), or its reply has no text.
            UsageError: it refuses the key or does not know the model.
            DataError: it cannot be reached at all.
        """
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": message}],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
        }
        return self._tried(
            lambda: self._client.post(self._at("chat/completions"), json=body),
            lambda response: self._read(response, _content, "a chat completion"),
        )

    def models(self) -> list[str]:
        """Names of the models that the server offers. Raises: as `ask`."""
        return self._tried(
            self._ask_for_models, lambda response: self._read(response, _model_names, "a list of models")
        )

    def reach(self) -> None:
        """Raises DataError if nothing answers at the address; what it answers is not looked at."""
        try:
            self._tried(self._ask_for_models, lambda response: (response, ""))
        except UnansweredError as error:
            raise DataError(
                f"The server at {self.url} does not answer: {error}. Look at its log, or mend {self.address_in}."
            ) from error

    def _ask_for_models(self) -> httpx.Response:
        return self._client.get(self._at("models"), timeout=min(self.timeout_s, LONGEST_LISTING_S))

    def _at(self, page: str) -> str:
        return f"{self.url.rstrip('/')}/{page}"

    def _read(
        self, response: httpx.Response, extract: Callable[[httpx.Response], T | None], what: str
    ) -> tuple[T | None, str]:
        reason = self._reason(response)
        found = None if reason else extract(response)
        return found, reason or f"the server's answer is not the JSON of {what}"

    def _tried(
        self, send: Callable[[], httpx.Response], read: Callable[[httpx.Response], tuple[T | None, str]]
    ) -> T:
        """What `read` finds in a response, or its reason to try again; tried as often as `attempts` says."""
        reason, at_least_s = "", 0.0
        for attempt in range(self.attempts):
            if attempt:
                self._pause(attempt, at_least_s)
            at_least_s = 0.0
            try:
                response = send()
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                reason = f"unreachable: {error}"
                continue
            except httpx.TimeoutException as error:
                reason = f"no answer within {error.request.extensions['timeout']['read']:g} s"
                continue
            except httpx.RequestError as error:
                reason = f"the connection broke ({type(error).__name__})"
                continue
            found, reason = read(response)
            if found is not None:
                return found
            at_least_s = _seconds(response)
        if reason.startswith("unreachable"):
            raise DataError(
                f"The server at {self.url} cannot be reached after {self.attempts} tries ({reason}). Start it, or mend "
                f"{self.address_in}. Answers so far are kept: the same command goes on."
            )
        raise UnansweredError(f"{reason} ({self.attempts} tries)")

    def _pause(self, attempt: int, at_least_s: float) -> None:
        own = min(self.first_pause_s * 2 ** (attempt - 1), LONGEST_PAUSE_S)
        if self._stopped.wait(max(own, min(at_least_s, LONGEST_ASKED_PAUSE_S))):
            raise UnansweredError("interrupted")

    def _reason(self, response: httpx.Response) -> str:
        """Why this response is none and is worth another try; "" if it is good."""
        status = response.status_code
        if status == httpx.codes.OK:
            return ""
        said = " ".join(response.text.split())[:200]
        if status in REFUSED_MODEL_OR_KEY:
            asked = f"to the model {self.model!r}" if self.model else "when asked for its models"
            raise UsageError(
                f"The server at {self.url} answers {status} {asked}: {said or 'no text'}. Mend "
                f"{self.address_in} or {self.model_in}; a key is read from the variable {KEY_VARIABLE}."
            )
        if status == BUSY or status >= 500:
            return f"status {status}"
        said = said or response.headers.get("location", "no text")
        raise RefusedError(f"the server refuses the message with status {status}: {said[:80]}")


def _content(response: httpx.Response) -> str | None:
    try:
        choice = response.json()["choices"][0]
        content = choice["message"]["content"]
        finish = choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict)) or None
    if content is None:
        raise RefusedError(
            f"the reply has no text (it ended by {finish!r}; at most {MAX_TOKENS} tokens are asked for)"
        )
    # Half of a surrogate pair, which JSON can name, is no text that could be kept.
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else None


def _model_names(response: httpx.Response) -> list[str] | None:
    try:
        return [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _seconds(response: httpx.Response) -> float:
    """The pause that the server asks for, 0 if none; a date instead of seconds counts as none."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else 0.0
