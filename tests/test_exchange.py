"""One request and its answer: whoever leaves stops the work, and the work is closed once."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import uvicorn

from llmount import App, EchoBackend, chat_app
from llmount.backends.slots import Slots
from llmount.errors import BackendError
from llmount.streaming import Message
from llmount.testing.transport import ASGITransport
from llmount.types import Event, Finish, Model, Prompt, TextDelta, ToolCallDelta

SECONDS = 10.0
"""How long anything here may take before its test fails."""


class Witness:
    """A backend that tells where its work is and how it ended.

    Its models say what they do: "queued" waits for the only place in `slots`, "holding"
    has it, "quiet" says nothing, "slow" says a word and then nothing, "endless" never
    stops; the others come to an end. `closed` counts how often the generators it gave
    were closed, `said` the words.
    """

    def __init__(self, flag: Callable[[], Any] = anyio.Event) -> None:
        self.reached: Any = flag()
        self.ended: Any = flag()
        self.how: list[type[BaseException] | None] = []
        self.slots = Slots(1, 1)
        self.given = self.closed = self.said = 0

    async def models(self) -> Sequence[Model]:
        return [Model(name="queued")]

    def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        self.given += 1
        return Counted(self, self._work(prompt.model))

    async def _work(self, model: str) -> AsyncGenerator[Event, None]:
        how: type[BaseException] | None = None
        try:
            async with aclosing(self._events(model)) as events:
                async for event in events:
                    self.said += 1
                    yield event
        except BaseException as error:
            how = type(error)
            raise
        finally:
            self.how.append(how)
            self.ended.set()

    async def _events(self, model: str) -> AsyncGenerator[Event, None]:
        if model == "queued":
            self.reached.set()
            async with self.slots:
                yield Finish()
            return
        if model == "holding":
            async with self.slots:
                self.reached.set()
                await anyio.sleep_forever()
        if model == "fails":
            raise BackendError
        if model != "quiet":
            yield TextDelta("Hello")
        if model in ("quiet", "slow"):
            self.reached.set()
            await anyio.sleep_forever()
        while model == "endless":
            yield TextDelta("Hello")
        if model == "fails later":
            raise BackendError
        if model == "calls badly":
            # The call's name breaks the document.
            yield ToolCallDelta(0, "call_1", "")
        if model != "has no end":
            yield Finish()


class Counted(AsyncGenerator[Event, None]):
    """A generator that tells when it is closed."""

    def __init__(self, witness: Witness, inner: AsyncGenerator[Event, None]) -> None:
        self.witness = witness
        self.inner = inner

    async def asend(self, value: None) -> Event:
        return await self.inner.asend(value)

    async def athrow(self, *error: Any) -> Event:
        return await self.inner.athrow(*error)

    async def aclose(self) -> None:
        self.witness.closed += 1
        await self.inner.aclose()


def body(model: str, *, stream: bool, **more: Any) -> Any:
    messages = [{"role": "user", "content": "Hi"}]
    return {"model": model, "messages": messages, "stream": stream, **more}


WINDOWS = pytest.mark.parametrize("window", ["queued", "quiet", "slow"])
STREAM = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


# A client that leaves


@pytest.mark.anyio
@WINDOWS
@STREAM
async def test_leaving_in_process_cancels_the_work(window: str, stream: bool) -> None:
    witness = Witness()

    async def ask(client: httpx.AsyncClient) -> None:
        request = client.stream("POST", "/chat/completions", json=body(window, stream=stream))
        async with request as response:
            async for _ in response.aiter_raw():
                pass

    transport = ASGITransport(chat_app(witness))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        with anyio.fail_after(SECONDS):
            async with witness.slots:
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, client)
                    await witness.reached.wait()
                    group.cancel_scope.cancel()
                await witness.ended.wait()
    assert witness.how == [anyio.get_cancelled_exc_class()]
    assert witness.closed == 1
    assert witness.slots.waiting == 0


@contextmanager
def serving(app: App) -> Iterator[tuple[str, int]]:
    """The app behind a real server, with the parser and the loop that it has in production."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app, http="httptools", loop="uvloop", log_config=None, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive(), "the server did not stop"


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, SECONDS)


def post(window: str, *, stream: bool) -> bytes:
    content = json.dumps(body(window, stream=stream)).encode()
    head = f"POST /chat/completions HTTP/1.1\r\nHost: server\r\nContent-Length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


@WINDOWS
@STREAM
def test_leaving_a_real_server_cancels_the_work(window: str, stream: bool) -> None:
    witness = Witness(threading.Event)
    with serving(chat_app(witness)) as address, connect(address) as first:
        if window == "queued":
            first.sendall(post("holding", stream=stream))
            assert witness.reached.wait(SECONDS)
            witness.reached.clear()
        with connect(address) as leaving:
            leaving.sendall(post(window, stream=stream))
            if stream and window == "slow":
                assert leaving.recv(15) == b"HTTP/1.1 200 OK"
            assert witness.reached.wait(SECONDS)
        assert witness.ended.wait(SECONDS)
        assert witness.how == [asyncio.CancelledError]
        assert witness.closed == 1


# A client that stays, and one that cannot be reached


class Connection:
    """A host's two callables: it gives the request, then whatever it is told to.

    fails_at: the message, by its number, that cannot be sent any more.
    """

    def __init__(self, content: bytes, *, fails_at: int | None = None) -> None:
        self.sent: list[Message] = []
        self.left = anyio.Event()
        self._content: bytes | None = content
        self._fails_at = fails_at

    async def receive(self) -> Message:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        if len(self.sent) == self._fails_at:
            raise BrokenPipeError("the connection is gone")
        self.sent.append(message)


async def run(app: App, connection: Connection) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/chat/completions",
        "headers": [(b"content-type", b"application/json")],
    }
    with anyio.fail_after(SECONDS):
        await app(scope, connection.receive, connection.send)


@pytest.mark.anyio
@STREAM
@pytest.mark.parametrize("fails_at", [0, 1])
async def test_a_send_that_fails_ends_quietly(
    stream: bool, fails_at: int, caplog: pytest.LogCaptureFixture
) -> None:
    witness = Witness()
    content = json.dumps(body("ends", stream=stream)).encode()
    connection = Connection(content, fails_at=fails_at)
    await run(chat_app(witness), connection)
    assert len(connection.sent) == fails_at
    assert witness.closed == 1
    assert caplog.records == []


@pytest.mark.anyio
@pytest.mark.parametrize("fails_at", [0, 1, 2, 3])
async def test_a_send_that_fails_stops_the_work(fails_at: int) -> None:
    witness = Witness()
    content = json.dumps(body("endless", stream=True)).encode()
    connection = Connection(content, fails_at=fails_at)
    await run(chat_app(witness), connection)
    assert witness.closed == 1
    assert witness.how == [GeneratorExit]
    assert witness.said == max(1, fails_at)


@pytest.mark.anyio
async def test_an_error_that_cannot_be_sent_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    for content in (b"not JSON", json.dumps(body("fails", stream=True)).encode()):
        connection = Connection(content, fails_at=0)
        await run(chat_app(Witness()), connection)
        assert connection.sent == []
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert errors == []


ENDS = ["ends", "fails", "fails later", "has no end", "calls badly"]


@pytest.mark.anyio
@STREAM
@pytest.mark.parametrize("model", ENDS)
@pytest.mark.parametrize("count", [1, 3])
async def test_each_generator_is_closed_once(model: str, stream: bool, count: int) -> None:
    witness = Witness()
    content = json.dumps(body(model, stream=stream, n=count)).encode()
    await run(chat_app(witness, check_answers=True), Connection(content))
    # Answers are written one after another, so what fails is the first; what cannot be
    # written whole is noticed when all are there.
    given = count if model == "ends" or (model == "calls badly" and not stream) else 1
    assert (witness.given, witness.closed) == (given, given)


@pytest.mark.anyio
@pytest.mark.parametrize("more", [True, False])
async def test_leaving_within_the_request_is_answered_with_nothing(more: bool) -> None:
    connection = Connection(b"")

    async def receive() -> Message:
        if more and not connection.left.is_set():
            connection.left.set()
            return {"type": "http.request", "body": b"{", "more_body": True}
        return {"type": "http.disconnect"}

    witness = Witness()
    connection.receive = receive  # type: ignore[method-assign]
    await run(chat_app(witness), connection)
    assert connection.sent == []
    assert witness.given == 0


@pytest.mark.anyio
async def test_leaving_stops_the_answer_at_work_and_no_other_is_begun() -> None:
    witness = Witness()
    connection = Connection(json.dumps(body("slow", stream=True, n=3)).encode())
    async with anyio.create_task_group() as group:
        group.start_soon(run, chat_app(witness), connection)
        with anyio.fail_after(SECONDS):
            await witness.reached.wait()
            connection.left.set()
    assert (witness.given, witness.closed) == (1, 1)
    assert witness.how == [anyio.get_cancelled_exc_class()]


@pytest.mark.anyio
@STREAM
async def test_the_answers_of_one_request_do_not_wait_for_each_other(stream: bool) -> None:
    """An engine with one place gives it back when an answer has been read to its end."""

    class OnePlace(EchoBackend):
        def __init__(self) -> None:
            super().__init__()
            self.place = Slots(1, 8)

        async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
            async with self.place, aclosing(super().generate(prompt)) as events:
                async for event in events:
                    yield event

    connection = Connection(json.dumps(body("echo", stream=stream, n=3)).encode())
    with anyio.fail_after(SECONDS):
        await run(chat_app(OnePlace(), check_answers=True), connection)
    assert connection.sent[0]["status"] == 200
