"""A stream that is silent for long gets comments, and nothing else changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anyio
import pytest

from llmount import EchoBackend, chat_app, generate_app
from llmount.app import App
from llmount.errors import BackendError
from llmount.framing import framing_of
from llmount.jsontext import dumps_bytes
from llmount.streaming import Message
from llmount.types import Event, Finish, Model, Prompt, TextDelta

COMMENT = b": keep-alive\n\n"
SECONDS = 10.0
QUIET = 0.01
"""Seconds of silence that are too many here."""

pytestmark = pytest.mark.anyio


class Slow:
    """Says nothing before it is told to: `steps` are events to wait for, and what to say."""

    def __init__(self, *steps: tuple[anyio.Event, Event | Exception]) -> None:
        self._steps = steps
        self.closed = anyio.Event()

    async def models(self) -> Sequence[Model]:
        return [Model(name="slow")]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        try:
            for told, step in self._steps:
                await told.wait()
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.closed.set()


class Client:
    """Keeps what is sent, and says when there were so many comments.

    fails: sending a comment finds that nobody is there.
    """

    def __init__(self, *, fails: bool = False) -> None:
        self.sent: list[Message] = []
        self.left = anyio.Event()
        self._fails = fails
        self._comments: dict[int, anyio.Event] = {}
        self._asked = False

    def commented(self, times: int) -> anyio.Event:
        return self._comments.setdefault(times, anyio.Event())

    async def ask(self, app: App, path: str, body: Any) -> None:
        self._body = dumps_bytes(body)
        scope = {"type": "http", "method": "POST", "path": path, "headers": []}
        with anyio.fail_after(SECONDS):
            await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._fails and message.get("body") == COMMENT:
            raise BrokenPipeError("the connection is gone")
        self.sent.append(message)
        if event := self._comments.get(self.bodies.count(COMMENT)):
            event.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def data(self) -> list[str]:
        decoder = framing_of("text/event-stream").decoder()
        items = decoder.feed(b"".join(self.bodies)) + decoder.close()
        return [item["data"] for item in items]


BODY = {"model": "slow", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def now() -> anyio.Event:
    event = anyio.Event()
    event.set()
    return event


async def test_comments_come_before_the_first_event_and_between_two() -> None:
    first, second = anyio.Event(), anyio.Event()
    backend = Slow((first, TextDelta("Hello")), (second, Finish()))
    client = Client()
    early, late = client.commented(1), client.commented(3)
    async with anyio.create_task_group() as group:
        app = chat_app(backend, keep_alive=QUIET, check_answers=True)
        group.start_soon(client.ask, app, "/chat/completions", BODY)
        with anyio.fail_after(SECONDS):
            await early.wait()
            assert client.status == 200
            first.set()
            await late.wait()
            second.set()
    assert client.data[-1] == "[DONE]"
    assert len(client.data) == 4
    assert client.bodies[-1] == b""
    # Each comment is a body of its own: none is inside of an event.
    assert all(body.endswith(b"\n\n") for body in client.bodies[:-1])


async def test_without_the_option_there_are_no_comments() -> None:
    first = anyio.Event()
    backend = Slow((first, TextDelta("Hello")), (now(), Finish()))
    client = Client()
    async with anyio.create_task_group() as group:
        group.start_soon(client.ask, chat_app(backend), "/chat/completions", BODY)
        await anyio.wait_all_tasks_blocked()
        assert client.sent == []
        first.set()
    assert b": " not in b"".join(client.bodies).replace(b"data: ", b"")


async def test_an_error_within_the_time_still_has_a_status() -> None:
    client = Client()
    app = chat_app(Slow((now(), BackendError())), keep_alive=SECONDS)
    await client.ask(app, "/chat/completions", BODY)
    assert client.status == 502


async def test_an_error_after_a_comment_is_told_in_the_stream() -> None:
    failing = anyio.Event()
    client = Client()
    early = client.commented(1)
    async with anyio.create_task_group() as group:
        app = chat_app(Slow((failing, BackendError())), keep_alive=QUIET)
        group.start_soon(client.ask, app, "/chat/completions", BODY)
        with anyio.fail_after(SECONDS):
            await early.wait()
            failing.set()
    assert client.status == 200
    assert [data.startswith('{"error"') for data in client.data] == [True]


@pytest.mark.parametrize("fails", [True, False], ids=["a comment fails", "it says so"])
async def test_a_client_that_leaves_in_the_silence_stops_the_work(fails: bool) -> None:
    backend = Slow((anyio.Event(), Finish()))
    client = Client(fails=fails)
    early = client.commented(1)
    async with anyio.create_task_group() as group:
        app = chat_app(backend, keep_alive=QUIET)
        group.start_soon(client.ask, app, "/chat/completions", BODY)
        if not fails:
            with anyio.fail_after(SECONDS):
                await early.wait()
            client.left.set()
    assert backend.closed.is_set()


async def test_lines_of_json_have_no_comments() -> None:
    first = anyio.Event()
    backend = Slow((first, TextDelta("Hello")), (now(), Finish()))
    client = Client()
    async with anyio.create_task_group() as group:
        app = generate_app(backend, keep_alive=QUIET)
        group.start_soon(client.ask, app, "/generate", {"model": "slow", "prompt": "Hi"})
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(3 * QUIET)
        assert client.sent == []
        first.set()
    assert COMMENT not in client.bodies


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_silence_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="keep_alive"):
        chat_app(EchoBackend(), keep_alive=seconds)
