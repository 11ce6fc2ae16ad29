"""One request and its answer: validation, dispatch, and the errors on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from .access import Access
from .contract import Operation, essence
from .dialects.protocol import Answer, Headers, Reply, Request, Run, read_strictly
from .errors import ApiError, InternalError, RateLimited, UnsupportedMediaType
from .jsontext import dumps_bytes
from .limits import Admission
from .routing import Endpoint, Surface
from .streaming import (
    BadAnswer,
    Disconnected,
    Message,
    Receive,
    Scope,
    Send,
    collect,
    read_body,
    send_bytes,
    send_stream,
    while_connected,
)
from .types import JSON, Quota

__all__ = ["Exchange"]

logger = logging.getLogger("llmount")


class Exchange:
    """One request and its answer.

    max_body: bytes. check_answers: hold whole answers to the document.
    """

    __slots__ = (
        "admission",
        "arrived",
        "check_answers",
        "max_body",
        "receive",
        "request",
        "scope",
        "send",
        "started",
        "surface",
    )

    def __init__(
        self,
        surface: Surface,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        max_body: int,
        check_answers: bool,
    ) -> None:
        self.surface = surface
        self.max_body = max_body
        self.check_answers = check_answers
        self.scope = scope
        self.receive = receive
        self.send = send
        self.started = False
        self.arrived = time.perf_counter_ns()
        self.request: Request | None = None
        self.admission: Admission | None = None

    async def run(self, endpoint: Endpoint, params: Mapping[str, str]) -> None:
        """Answer a request for an operation, if whoever sends it may."""
        access = self.surface.access
        if access is None:
            await self._run(endpoint, params)
            return
        try:
            refusal = await self._enter(access, endpoint.operation)
            if refusal is None:
                await self._run(endpoint, params)
            else:
                await self.fail(refusal)
        finally:
            await self._leave()

    async def refuse(self, error: ApiError) -> None:
        """Answer a request for what is no operation.

        It needs no key, but counts for the one that it has.
        """
        access = self.surface.access
        if access is None:
            await self.fail(error)
            return
        try:
            refusal = await self._enter(access, None)
            await self.fail(refusal if isinstance(refusal, RateLimited) else error)
        finally:
            await self._leave()

    async def _enter(self, access: Access, operation: Operation | None) -> ApiError | None:
        """Why the request may not come in, if so."""
        try:
            identity = await access.identify(self.scope["headers"], operation)
            self.admission = access.admission(identity)
            if self.admission is not None:
                await self.admission.begin()
        except Exception as error:
            return self._api_error(error)
        return None

    async def _leave(self) -> None:
        if self.admission is not None:
            await self.admission.leave()

    async def _run(self, endpoint: Endpoint, params: Mapping[str, str]) -> None:
        operation = endpoint.operation
        self.request = Request(operation, None, params, self.arrived)
        try:
            if operation.body is not None:
                self._check_media_type(operation)
                body = await read_body(self.receive, self.max_body)
                if body or operation.body_required:
                    read = getattr(self.surface.dialect, "read", read_strictly)
                    read(body, self.request)
        except ApiError as error:
            await self.fail(error)
            return
        except Disconnected:
            return
        await while_connected(self.receive, lambda: self._answer(endpoint))

    def _check_media_type(self, operation: Operation) -> None:
        if "*/*" in operation.accepts:
            return
        for name, value in self.scope["headers"]:
            if name == b"content-type":
                sent = value.decode("latin-1")
                if essence(sent) not in operation.accepts:
                    raise UnsupportedMediaType(sent, operation.accepts)
                return
        if not operation.accepts_untyped:
            raise UnsupportedMediaType("", operation.accepts)

    async def _answer(self, endpoint: Endpoint) -> None:
        assert self.request is not None
        try:
            reply = await endpoint.handler(self.request)
            await self._send_reply(endpoint, reply)
        except Disconnected:
            return
        except Exception as error:
            api_error = self._api_error(error)
            if self.started:
                raise
            await self.fail(api_error)

    async def _send_reply(self, endpoint: Endpoint, reply: Reply) -> None:
        assert self.request is not None
        dialect = endpoint.surface.dialect
        if self.admission is not None:
            if isinstance(reply, Run):
                reply.events = self.admission.counted(reply.events)
            else:
                self.admission.used(reply.tokens)
        if isinstance(reply, Answer):
            status, content = reply.status, reply.content
        elif reply.stream and endpoint.outlet is not None:
            await send_stream(
                self._send,
                reply,
                endpoint.outlet,
                self._headers,
                lambda error: dialect.draw_item(self._api_error(error), reply.codec),
            )
            return
        else:
            status, content = 200, await collect(reply)
        await self._send_whole(status, content, self._headers())

    def _headers(self) -> Headers:
        quota: Quota | None = None if self.admission is None else self.admission.quota
        return self.surface.dialect.headers(self.arrived, quota)

    async def fail(self, error: ApiError) -> None:
        """Answer with the error as the dialect draws it."""
        dialect = self.surface.dialect
        request = self.request
        drawing = dialect.draw(error, request.operation if request else None)
        headers = [*drawing.headers, *self._headers()]
        await self._send_whole(drawing.status, drawing.content, headers)

    async def _send_whole(
        self, status: int, content: JSON, headers: Sequence[tuple[str, str]]
    ) -> None:
        text = isinstance(content, str)
        source = self.request.operation if self.request else self.surface.contract
        media = source.media(status, text=text)
        if self.check_answers and media and media.schema and not text:
            for violation in media.schema.violations(content):
                raise BadAnswer(violation)
        name = media.name if media else "text/plain" if text else "application/json"
        body = content.encode() if text else dumps_bytes(content)
        head = self.scope["method"] == "HEAD"
        headers = [("content-type", name), *headers]
        with suppress(Disconnected):
            await send_bytes(self._send, status, body, headers, head=head)

    async def _send(self, message: Message) -> None:
        self.started = True
        if self.admission is not None and "status" not in message and not message.get("more_body"):
            # Before the client has it all, and asks again.
            await self.admission.leave()
        try:
            await self.send(message)
        except OSError as error:
            # Not every host tells it through `receive` as well.
            logger.debug("a client left while its answer was sent")
            raise Disconnected from error

    def _api_error(self, error: Exception) -> ApiError:
        if isinstance(error, ApiError):
            if error.status >= 500:
                logger.warning("%s: %s", type(error).__name__, error, exc_info=error)
            elif notes := getattr(error, "__notes__", None):
                # What an upstream said, which nobody else is told.
                logger.info("%s: %s", type(error).__name__, "; ".join((str(error), *notes)))
            return error
        logger.error("unhandled error in %s", self.surface.contract.name, exc_info=error)
        return InternalError()
