"""One request over ASGI: read the body, run the handler while the client stays, send.

Departs from Starlette's `StreamingResponse` on purpose: the first item is awaited before
the status line; the client is watched from before the backend is called, streamed or
not, and never by the `spec_version`; and the generator is closed by the one who iterates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio

from .contract import Media, essence
from .dialects.protocol import Headers, Run
from .errors import BackendError, BodyTooLarge, Violation
from .framing import framing_of
from .jsontext import loads
from .types import JSON

__all__ = [
    "BadAnswer",
    "Disconnected",
    "Message",
    "Outlet",
    "Receive",
    "Scope",
    "Send",
    "carried",
    "collect",
    "read_body",
    "send_bytes",
    "send_stream",
    "while_connected",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_DRAIN_FACTOR = 4
_DRAIN_SECONDS = 10.0


class Disconnected(Exception):
    """The client left; nobody is there to answer."""


class BadAnswer(Exception):
    """An answer of ours breaks the document: a bug. Raised only where checking is on."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(f"{violation.message}, not {violation.value!r}")


# In


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises `BodyTooLarge` over `limit` bytes, `Disconnected`.

    What is too large is still read and thrown away, up to four times the limit and for
    ten seconds: a client that is cut off while it sends sees a reset, not the answer.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(limit)
        return body
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            break
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()
    chunks.clear()
    with anyio.move_on_after(_DRAIN_SECONDS):
        while message.get("more_body") and size <= limit * _DRAIN_FACTOR:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            size += len(message.get("body", b""))
    raise BodyTooLarge(limit)


# While the client stays


async def while_connected(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work()`, cancelling it as soon as the client leaves."""
    # Under asyncio a task is ten times cheaper than a task group, and this is on
    # every request's path. Both ways are tested.
    if asyncio._get_running_loop() is not None:
        await _while_connected_asyncio(receive, work)
    else:
        await _while_connected_anyio(receive, work)


async def _while_connected_anyio(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    await _beside(work, lambda: _disconnect(receive))


async def _beside(
    work: Callable[[], Awaitable[None]], other: Callable[[], Awaitable[None]]
) -> None:
    """Run both until one of them ends, and cancel the one that is left.

    Raises what either raises.
    """
    error: Exception | None = None
    async with anyio.create_task_group() as group:

        async def run(task: Callable[[], Awaitable[None]]) -> None:
            nonlocal error
            try:
                await task()
            except Exception as raised:
                # Outside the group, so that it is not wrapped in an exception group.
                error = error or raised
            group.cancel_scope.cancel()

        group.start_soon(run, other)
        await run(work)
    if error is not None:
        raise error


async def _while_connected_asyncio(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    # Before the work waits for something, nothing can be heard of the client.
    begun = _Begun(work())
    if begun.ended:
        return
    task = asyncio.current_task()
    assert task is not None
    earlier = task.cancelling()
    left = False

    async def watch() -> None:
        nonlocal left
        await _disconnect(receive)
        left = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        await begun
        if left:
            # An eager task may have cancelled us before the work began: if that has not
            # reached us yet, it has to be here, not at the host's next await.
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        # Ours, unless the host has cancelled as well.
        if not left or task.cancelling() > earlier + 1:
            raise
    finally:
        watcher.cancel()
        if left:
            # However the work took it: the host counts cancellations.
            task.uncancel()


class _Begun:
    """Work that has run until it waits for the first time; awaiting it is waiting for the
    rest. Raises what the work raises before."""

    def __init__(self, work: Awaitable[None]) -> None:
        self._steps = work.__await__()
        self.throw = self._steps.throw
        self.close = self._steps.close
        self._taken: list[Any] = []
        self.ended = False
        try:
            self._taken.append(next(self._steps))
        except StopIteration:
            self.ended = True

    def __await__(self) -> Generator[Any, Any, None]:
        # An iterator that can throw takes cancellations to where the work waits.
        yield from self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._taken.pop() if self._taken else next(self._steps)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# Out


async def send_bytes(
    send: Send, status: int, body: bytes, headers: Headers, *, head: bool = False
) -> None:
    """Send one whole body; only its head if `head`."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*_encode(headers), (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": b"" if head else body})


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where the items of one operation go: its media type, and an item's way to bytes.

    keep_alive: seconds of silence after which `comment` is sent, if the framing has one.
    """

    content_type: bytes
    frame: Callable[[JSON], bytes]
    comment: bytes = b""
    keep_alive: float | None = None

    @classmethod
    def of(cls, media: Media, *, check: bool = False, keep_alive: float | None = None) -> Outlet:
        """check: hold every item to the document as it is framed (`BadAnswer`)."""
        framing = framing_of(media.framing)
        name, encode = media.name.encode("latin-1"), framing.encode
        schema = media.carried
        if not check or schema is None:
            return cls(name, encode, framing.comment, keep_alive)
        is_event = essence(media.name) == "text/event-stream"

        def checked(item: JSON) -> bytes:
            if violations := schema.violations(carried(item) if is_event else item):
                raise BadAnswer(violations[0])
            return encode(item)

        return cls(name, checked, framing.comment, keep_alive)


def carried(event: JSON) -> JSON:
    """A server-sent event with the value of its data in the place of the text, if it is JSON."""
    try:
        return {**event, "data": loads(event["data"])}
    except ValueError:
        return event


class _Body:
    """A streamed answer under way. Its head is sent with its first bytes."""

    def __init__(self, send: Send, outlet: Outlet, headers: Callable[[], Headers]) -> None:
        self._send = send
        self._outlet = outlet
        self._headers = headers
        self.begun = False

    async def write(self, frames: bytes, *, last: bool = False) -> None:
        """Send whole frames, or none: then only the head, if it has not been sent."""
        if not self.begun:
            self.begun = True
            await self._send(_stream_start(self._outlet, self._headers()))
        if frames:
            await self._send({"type": "http.response.body", "body": frames, "more_body": True})
        if last:
            await self._send({"type": "http.response.body", "body": b""})


class _KeptAlive:
    """A body into which `fill` writes a comment whenever nothing else was for so long."""

    def __init__(self, body: _Body, comment: bytes, seconds: float) -> None:
        self._body = body
        self._comment = comment
        self._seconds = seconds
        self._lock = anyio.Lock()
        self._due = anyio.current_time() + seconds
        self._ended = False

    @property
    def begun(self) -> bool:
        return self._body.begun

    async def write(self, frames: bytes, *, last: bool = False) -> None:
        async with self._lock:
            self._ended = last
            await self._body.write(frames, last=last)
            self._due = anyio.current_time() + self._seconds

    async def fill(self) -> None:
        while True:
            await anyio.sleep_until(self._due)
            async with self._lock:
                if self._ended:
                    return
                if anyio.current_time() >= self._due:
                    await self._body.write(self._comment)
                    self._due = anyio.current_time() + self._seconds


async def send_stream(
    send: Send,
    run: Run,
    outlet: Outlet,
    headers: Callable[[], Headers],
    draw_item: Callable[[Exception], Iterable[JSON]],
) -> None:
    """Send a generation item by item, its first item before the status line.

    With `outlet.keep_alive` the status line comes after so many seconds at the latest.

    headers: called when the head is sent.

    Raises whatever is raised before that; what is raised later is drawn in band, unless
    it is the `Disconnected` of a `send` that reaches nobody.
    """
    body = _Body(send, outlet, headers)
    if outlet.keep_alive is None or not outlet.comment:
        await _send_items(body, run, outlet, draw_item)
    else:
        kept = _KeptAlive(body, outlet.comment, outlet.keep_alive)
        await _beside(lambda: _send_items(kept, run, outlet, draw_item), kept.fill)


async def _send_items(
    body: _Body | _KeptAlive,
    run: Run,
    outlet: Outlet,
    draw_item: Callable[[Exception], Iterable[JSON]],
) -> None:
    codec, frame = run.codec, outlet.frame
    items, join = codec.items, b"".join
    async with aclosing(run.events) as events:
        try:
            async for event in events:
                frames = join(map(frame, items(event)))
                # Not even a status is sent for an event that has no item.
                if frames or codec.finished:
                    await body.write(frames)
                if codec.finished:
                    break
            else:
                raise BackendError("the backend ended its answer without finishing it")
        except Disconnected:
            raise
        except Exception as error:
            if not body.begun:
                raise
            await body.write(join(map(frame, draw_item(error))))
    await body.write(b"", last=True)


def _stream_start(outlet: Outlet, headers: Headers) -> Message:
    return {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", outlet.content_type),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *_encode(headers),
        ],
    }


async def collect(run: Run) -> JSON:
    """The whole answer of a generation that is not streamed."""
    async with aclosing(run.events) as events:
        return run.codec.whole([event async for event in events])


def _encode(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
