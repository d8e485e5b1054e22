"""A real HTTP server on this machine that answers chat completions by a script."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes:
        body: what is sent.
        status: of the answer; None to close the connection without any.
        headers: further ones.
        after_s: seconds to wait first.
        cut: whether the connection ends before the announced length.
    """

    body: str = ""
    status: int | None = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    cut: bool = False


def chat(text: str | None) -> str:
    """A chat completion that says `text`."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def rating(clarity: float, structure: float, harmlessness: float) -> str:
    """The chat completion of a model that rates as it was told."""
    return chat(json.dumps({"clarity": clarity, "structure": structure, "harmlessness": harmlessness}))


@dataclass
class ScriptedServer:
    """What it was asked, and what it answers.

    Attributes:
        answer: (message, how often it was asked before) -> what to send; a message of several parts comes as JSON.
        models: names that the server lists, None if it has no such page.
        requests: bodies in order, each with its headers, path and time.
        most_at_once: the largest number of requests that were open together.
    """

    answer: Callable[[str, int], Answer]
    url: str = ""
    models: list[str] | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: dict[str, int] = field(default_factory=dict)

    @property
    def messages(self) -> list[str]:
        """The user's message of every request."""
        return [request["body"]["messages"][0]["content"] for request in self.requests]

    def pauses(self) -> list[float]:
        """Seconds between one request and the next."""
        times = [request["time"] for request in self.requests]
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    def _take(self, handler: BaseHTTPRequestHandler) -> Answer:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        content = body["messages"][0]["content"]
        message = content if isinstance(content, str) else json.dumps(content)
        with self._lock:
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            before = self._seen.get(message, 0)
            self._seen[message] = before + 1
            self.requests.append(
                {"body": body, "headers": handler.headers, "path": handler.path, "time": time.monotonic()}
            )
        return self.answer(message, before)

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        try:
            answer = self._take(handler)
            time.sleep(answer.after_s)
            handler.close_connection = True
            if answer.status is None:
                self._leave()
                return
            content = answer.body.encode()
            handler.send_response(answer.status)
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content) + (100 if answer.cut else 0)))
            handler.end_headers()
            self._leave()  # before the client can know that it was answered
            handler.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has given up, as the script wants it to

    def list_models(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request for the list of models."""
        body = json.dumps({"data": [{"id": name} for name in self.models or []]}).encode()
        handler.send_response(404 if self.models is None else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1


@contextmanager
def running(answer: Callable[[str, int], Answer]) -> Iterator[ScriptedServer]:
    """A server at a free port of this machine while the block runs."""
    scripted = ScriptedServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            scripted.respond(self)

        def do_GET(self) -> None:
            scripted.list_models(self)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scripted.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
