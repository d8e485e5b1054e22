"""Asking a server over a real socket: what is tried again, for how long, and what ends the command."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from scripted_server import Answer, ScriptedServer, chat, running

from prefbench.bench.asking import replies
from prefbench.bench.chat_server import (
    FAILURES_IN_A_ROW,
    KEY_VARIABLE,
    MAX_TOKENS,
    REFUSED_AT_FIRST,
    ChatServer,
    RefusedError,
    UnansweredError,
)
from prefbench.bench.exceptions import DataError, UsageError

GOOD = Answer(chat("fine"))
TIMEOUT_S = 0.3
WRITTEN = {"address_in": "llm_url", "model_in": "text_quality=llm:MODEL"}

FAULTS = {
    "500": (Answer("oops", status=500), "status 500"),
    "503": (Answer("busy", status=503), "status 503"),
    "429": (Answer("slow down", status=429), "status 429"),
    "truncated JSON": (Answer(chat("fine")[:-9]), "not the JSON of a chat completion"),
    "HTML": (Answer("<html>proxy</html>"), "not the JSON of a chat completion"),
    "no choices": (Answer('{"choices": []}'), "not the JSON of a chat completion"),
    "false gzip": (Answer("plain", headers={"Content-Encoding": "gzip"}), "the connection broke"),
    "endless brackets": (Answer('{"a":' * 100_000), "not the JSON of a chat completion"),
    "cut off": (Answer(chat("fine"), cut=True), "the connection broke"),
    "no answer": (Answer(status=None), "the connection broke"),
    "timeout": (Answer(chat("late"), after_s=3 * TIMEOUT_S), f"no answer within {TIMEOUT_S:g} s"),
}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def client() -> Iterator[Callable[..., ChatServer]]:
    opened: list[ChatServer] = []

    def make(scripted: ScriptedServer | str, attempts: int = 3, first_pause_s: float = 0.01) -> ChatServer:
        url = scripted if isinstance(scripted, str) else scripted.url
        opened.append(ChatServer(url, "tiny", attempts, TIMEOUT_S, **WRITTEN, first_pause_s=first_pause_s))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


def test_one_user_message_is_sent_at_temperature_0(client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with running(lambda message, before: GOOD) as scripted:
        assert client(scripted).ask("rate this") == "fine"
    (request,) = scripted.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == "Bearer secret"
    body = request["body"]
    assert (body["model"], body["temperature"]) == ("tiny", 0)
    assert body["messages"] == [{"role": "user", "content": "rate this"}]


def test_without_a_key_none_is_sent(client):
    with running(lambda message, before: GOOD) as scripted:
        client(scripted).ask("x")
    assert "authorization" not in scripted.requests[0]["headers"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_tried_again(fault: str, client):
    with running(lambda message, before: GOOD if before else FAULTS[fault][0]) as scripted:
        assert client(scripted).ask("x") == "fine"
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_leaves_the_prompt_unanswered_and_says_why(fault: str, client):
    answer, reason = FAULTS[fault]
    with (
        running(lambda message, before: answer) as scripted,
        pytest.raises(UnansweredError, match=f"{reason}.*2 tries"),
    ):
        client(scripted, attempts=2).ask("x")
    assert len(scripted.requests) == 2


def test_pauses_double(client):
    with running(lambda message, before: GOOD if before == 3 else FAULTS["500"][0]) as scripted:
        client(scripted, attempts=4, first_pause_s=0.05).ask("x")
    first, second, third = scripted.pauses()
    assert first >= 0.05
    assert second >= 0.1
    assert third >= 0.2


def test_a_server_that_names_a_pause_gets_it(client):
    busy = Answer(status=429, headers={"Retry-After": "0.4"})
    with running(lambda message, before: GOOD if before else busy) as scripted:
        client(scripted).ask("x")
    assert 0.4 <= scripted.pauses()[0] < 3


@pytest.mark.parametrize("text", ["Wed, 21 Oct 2026 07:28:00 GMT", "soon", "1.2.3", "\xb2"])
def test_a_pause_that_is_no_number_of_seconds_is_ours(text: str, client):
    busy = Answer(status=429, headers={"Retry-After": text})
    with running(lambda message, before: GOOD if before else busy) as scripted:
        assert client(scripted).ask("x") == "fine"
    assert scripted.pauses()[0] < 3


@pytest.mark.parametrize("status", [401, 404])
def test_a_refused_key_or_model_ends_the_command_at_once(status: int, client):
    with (
        running(lambda message, before: Answer('{"error": "no such model"}', status=status)) as scripted,
        pytest.raises(UsageError, match=f"answers {status} to the model 'tiny': .*no such model"),
    ):
        client(scripted).ask("x")
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("status", [302, 400, 403, 413, 422])
def test_a_refused_prompt_is_not_asked_again(status: int, client):
    with (
        running(lambda message, before: Answer("too long", status=status)) as scripted,
        pytest.raises(UnansweredError, match=f"refuses the message with status {status}: too long"),
    ):
        client(scripted).ask("x")
    assert len(scripted.requests) == 1


def test_a_server_that_is_not_there_ends_the_command(client):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DataError, match=r"cannot be reached after 2 tries .*Start it"):
        client(f"http://127.0.0.1:{port}/v1", attempts=2).ask("x")


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "http://", "ftp://host/v1", "http://[::1", ""])
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(UsageError, match="is no address"):
        ChatServer(url, "tiny", 1, 1.0, **WRITTEN)


def test_closing_ends_a_pause(client):
    """The server asks for half an hour; another thread ends the command."""
    busy = Answer(status=429, headers={"Retry-After": "1800"})
    with running(lambda message, before: busy) as scripted:
        server = client(scripted)
        threading.Timer(0.2, server.close).start()
        started = time.monotonic()
        with pytest.raises(UnansweredError, match="interrupted"):
            server.ask("x")
        assert time.monotonic() - started < 10


def test_half_of_a_surrogate_pair_becomes_text_that_can_be_kept(client):
    body = '{"choices": [{"message": {"content": "ok \\ud83d"}}]}'
    with running(lambda message, before: Answer(body)) as scripted:
        assert client(scripted).ask("x") == "ok ?"


def test_a_reply_without_text_is_not_asked_for_again_and_says_how_it_ended(client):
    """A model that thinks too long: the tokens are used up before it says anything."""
    body = '{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}'
    with (
        running(lambda message, before: Answer(body)) as scripted,
        pytest.raises(RefusedError, match=f"no text .it ended by 'length'; at most {MAX_TOKENS} tokens"),
    ):
        client(scripted).ask("x")
    assert len(scripted.requests) == 1


def test_a_reply_in_parts_is_put_together(client):
    body = '{"choices": [{"message": {"content": [{"type": "text", "text": "fi"}, {"text": "ne"}]}}]}'
    with running(lambda message, before: Answer(body)) as scripted:
        assert client(scripted).ask("x") == "fine"


@pytest.mark.parametrize("key", ["se\ncret", "s\u00e9cret"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(UsageError, match=KEY_VARIABLE) as refusal:
        ChatServer("http://127.0.0.1:1/v1", "tiny", 1, 1.0, **WRITTEN)
    assert "cret" not in str(refusal.value)


def test_a_key_may_end_with_a_line_end(client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret\n")
    with running(lambda message, before: GOOD) as scripted:
        client(scripted).ask("x")
    assert scripted.requests[0]["headers"]["authorization"] == "Bearer secret"


def test_failures_are_counted_over_several_calls(client):
    """Four at a time, as a command asks that keeps what it has: the limit is reached all the same."""
    with running(lambda message, before: Answer(status=500)) as scripted:
        server = client(scripted, attempts=1)
        with pytest.raises(DataError, match=f"answered none of {FAILURES_IN_A_ROW} messages in a row"):
            for call in range(FAILURES_IN_A_ROW):
                list(replies(server, [((call, k), f"{call} {k}") for k in range(4)], 2))
    assert FAILURES_IN_A_ROW <= len(scripted.requests) <= FAILURES_IN_A_ROW + 4


def test_refusals_end_the_command_only_before_the_first_answer(client):
    refused = Answer("no images here", status=400)
    messages = [(k, str(k)) for k in range(REFUSED_AT_FIRST + 20)]
    with running(lambda message, before: refused) as scripted:
        server = client(scripted)
        with pytest.raises(
            DataError, match=f"refused all of the first {REFUSED_AT_FIRST} messages.*no images"
        ):
            list(replies(server, messages, 8))
    with running(lambda message, before: GOOD if message == "0" else refused) as scripted:
        found = list(replies(client(scripted), messages, 1))
    assert [reply for _, reply, _ in found].count("fine") == 1
    assert len(found) == len(messages)


def test_who_stops_early_does_not_wait_for_open_questions(client):
    """As Ctrl-C does: the first answer comes at once, the others would take half a minute."""
    with running(
        lambda message, before: Answer(chat("ok"), after_s=0.0 if message == "0" else 30.0)
    ) as scripted:
        server = client(scripted)
        server._client.timeout = 60.0
        found = replies(server, [(k, str(k)) for k in range(6)], 3)
        started = time.monotonic()
        assert next(found)[0] == 0
        found.close()
        assert time.monotonic() - started < 10
