"""Asking an OpenAI-compatible server (vLLM, llama.cpp, Ollama, `transformers serve`), with patience.

Tried again, with growing pauses: 429, 5xx, a timeout, a broken connection, an answer that is not whole JSON. A server
that cannot be reached, or that refuses the key or the model, stops the command; what it answered before is kept.
"""

import os
import threading
from dataclasses import dataclass, field

import httpx

from prefbench.bench.exceptions import DataError, UsageError

__all__ = ["KEY_VARIABLE", "LlmServer", "UnansweredError"]

KEY_VARIABLE = "OPENAI_API_KEY"
"""Sent as a bearer token where it is set; local servers need none."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
LONGEST_ASKED_PAUSE_S = 600.0
"""A server that asks for a longer one (Retry-After) gets this."""
MAX_TOKENS = 2048
"""Enough for a model that thinks before it answers."""
REFUSED_MODEL_OR_KEY = (401, 403, 404)
BUSY = 429


class UnansweredError(Exception):
    """This prompt got no answer after all tries; `str(self)` is the reason."""


@dataclass
class LlmServer:
    """A chat model behind HTTP.

    Attributes:
        url: base address with its /v1.
        model: as the server names it.
        attempts: tries a prompt.
        timeout_s: wait for an answer.
        first_pause_s: before the second try; doubled before each further one.
    """

    url: str
    model: str
    attempts: int
    timeout_s: float
    first_pause_s: float = FIRST_PAUSE_S
    _client: httpx.Client = field(init=False, repr=False)
    _stopped: threading.Event = field(init=False, repr=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError(f"llm_url = {self.url!r} is no address. Write http://127.0.0.1:8000/v1, say.")
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # How many prompts are asked at once is the caller's choice.
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.Client(timeout=self.timeout_s, headers=headers, limits=limits)

    def close(self) -> None:
        """End the connections and the pauses between tries."""
        self._stopped.set()
        self._client.close()

    def ask(self, message: str) -> str:
        """The model's reply to one user message, at temperature 0.

        Raises:
            UnansweredError: no answer after all tries, or the server refuses this message (400, 413, 422 and the like).
            UsageError: it refuses the key or does not know the model.
            DataError: it cannot be reached at all.
        """
        reason, at_least_s = "", 0.0
        for attempt in range(self.attempts):
            if attempt:
                self._pause(attempt, at_least_s)
            at_least_s = 0.0
            try:
                response = self._client.post(
                    f"{self.url.rstrip('/')}/chat/completions",
                    json={
                        "model": self.model,
                        "messages": [{"role": "user", "content": message}],
                        "temperature": 0,
                        "max_tokens": MAX_TOKENS,
                    },
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                reason = f"unreachable: {error}"
                continue
            except httpx.TimeoutException:
                reason = f"no answer within {self.timeout_s:g} s"
                continue
            except httpx.TransportError as error:
                reason = f"the connection broke ({type(error).__name__})"
                continue
            reason = self._reason(response)
            if not reason:
                content = _content(response)
                if content is not None:
                    return content
                reason = "the server's answer is not the JSON of a chat completion"
            at_least_s = _seconds(response)
        if reason.startswith("unreachable"):
            raise DataError(
                f"The server at {self.url} cannot be reached after {self.attempts} tries ({reason}). Start it, or mend "
                "llm_url. Ratings so far are kept: the same command goes on."
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
            raise UsageError(
                f"The server at {self.url} answers {status} to the model {self.model!r}: {said or 'no text'}. Mend llm_url or "
                f"text_quality=llm:MODEL; a key is read from the variable {KEY_VARIABLE}."
            )
        if status == BUSY or status >= 500:
            return f"status {status}"
        raise UnansweredError(f"the server refuses the prompt with status {status}: {said[:80]}")


def _content(response: httpx.Response) -> str | None:
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    # Half of a surrogate pair, which JSON can name, is no text that could be kept.
    return content.encode("utf-8", "replace").decode() if isinstance(content, str) else None


def _seconds(response: httpx.Response) -> float:
    """The pause that the server asks for, 0 if none; a date instead of seconds counts as none."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else 0.0
