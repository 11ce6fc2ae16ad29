"""The apps in a Django project, behind its URLconf or beside it.

    # urls.py: Django's middleware, sessions and log-in stand in front
    urlpatterns = [path("v1/", include(llmount.django.urls(chat_app(backend))))]

    # asgi.py: Django never sees these requests, which saves most of their time
    application = llmount.django.mount(get_asgi_application(), {"/v1": chat_app(backend)})

Both need an ASGI server.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from asgiref.sync import AsyncToSync
from django.contrib.auth import decorators as auth
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from django.views.decorators import csrf

from .app import App
from .routing import below
from .streaming import Message, Receive, Scope, Send

__all__ = ["mount", "urls", "view"]

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
View: TypeAlias = Callable[..., Coroutine[Any, Any, HttpResponseBase]]

_PIECE = 64 * 1024


# Behind the URLconf


def urls(app: App, *, login_required: bool = False, csrf_exempt: bool = True) -> list[URLPattern]:
    """URL patterns for `include()`; the app finds its routes below any prefix.

    login_required: Django's own, so who is not logged in is sent to `LOGIN_URL`.
    csrf_exempt: False demands Django's token in a header of every POST. Ask for it if
    browsers call this with a session whose cookie other sites may send (`SameSite=None`).

    For any other decorator wrap `view(app)` and give it a pattern with a group `route`.
    """
    respond = view(app)
    if login_required:
        respond = auth.login_required(respond)
    if csrf_exempt:
        respond = csrf.csrf_exempt(respond)
    # Not `<path:route>`: that leaves out the empty path, and line breaks.
    return [re_path(r"^(?P<route>[\s\S]*)\Z", respond)]


def view(app: App) -> View:
    """An asynchronous view that answers with the app, whose `route` is what is below it.

    Leaving cancels the app's work. Raises `ImproperlyConfigured` below a WSGI server,
    which can neither stream this nor notice that a client has left.
    """

    async def respond(request: HttpRequest, route: str = "") -> HttpResponseBase:
        if not isinstance(request, ASGIRequest):
            raise ImproperlyConfigured(
                "llmount needs an ASGI server (uvicorn, hypercorn, granian or daphne, with "
                "get_asgi_application()); this request came through WSGI"
            )
        return await _Bridge(app, request, route).response()

    return respond


class _Bridge(AsyncIterator[bytes]):
    """One request to the app, and the pieces of its answer.

    The app runs in a task of its own, because Django asks for the head in one task (the
    view's, with synchronous middleware) and for the body in another. That task keeps no
    reference to this object, so an answer that is dropped without being closed ends the
    work too, once it is collected. Django drops one so if the client leaves while
    middleware looks at it.
    """

    def __init__(self, app: App, request: ASGIRequest, route: str) -> None:
        sender, self._messages = anyio.create_memory_object_stream[Message](0)
        scope, receive = _scope(request, route), _receiver(request)
        self._task = asyncio.create_task(_run(app, scope, receive, sender))
        # Django calls `close` in a thread, if at all. Whoever calls, it works once.
        loop = asyncio.get_running_loop()
        self.close = weakref.finalize(self, _stop, loop, self._task, self._messages)
        self.close.atexit = False

    async def response(self) -> HttpResponseBase:
        """The answer as soon as its first piece is there; streamed only if there are more."""
        head = await self._next()
        first = await self._next()
        if head is None or first is None:
            raise RuntimeError("the app sent no response")
        headers: dict[str, str] = {}
        for raw_name, raw_value in head["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = head["status"]
        self._first = bytes(first.get("body", b""))
        if first.get("more_body"):
            return StreamingHttpResponse(self, status=status, headers=headers)
        await self._task
        self.close()
        return HttpResponse(self._first, status=status, headers=headers)

    async def __anext__(self) -> bytes:
        if self._first:
            piece, self._first = self._first, b""
            return piece
        while (message := await self._next()) is not None:
            if piece := bytes(message.get("body", b"")):
                return piece
        raise StopAsyncIteration

    async def _next(self) -> Message | None:
        """The app's next message, or None at its end. Raises what the app raised."""
        try:
            return await self._messages.receive()
        except anyio.EndOfStream:
            await self._task
            self.close()
            return None
        except asyncio.CancelledError:
            self.close()
            # Django must not end the request's context before the app is done with it.
            await asyncio.wait([self._task])
            raise


async def _run(
    app: App, scope: Scope, receive: Receive, sender: MemoryObjectSendStream[Message]
) -> None:
    async def send(message: Message) -> None:
        await sender.send(message)
        if message.get("more_body"):
            # From here on the view has returned. Under synchronous middleware it was a
            # thread that waited for it, in which asgiref would still run what a backend
            # gives to `sync_to_async`; without that thread it takes the request's own.
            AsyncToSync.executors.current = None

    with sender:
        await app(scope, receive, send)


def _stop(
    loop: asyncio.AbstractEventLoop,
    task: asyncio.Task[None],
    messages: MemoryObjectReceiveStream[Message],
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
        loop.call_soon_threadsafe(messages.close)


def _scope(request: ASGIRequest, route: str) -> Scope:
    """The request's scope, with all before `route` in `root_path`, as ASGI wants it."""
    script = request.META["SCRIPT_NAME"].rstrip("/")
    prefix = request.path_info.removesuffix(route)
    scope = {
        **request.scope,
        "root_path": (script + prefix).rstrip("/"),
        "path": script + request.path_info,
    }
    scope.pop("path_remaining", None)
    return scope


def _receiver(request: ASGIRequest) -> Receive:
    ended = False

    async def receive() -> Message:
        nonlocal ended
        if ended:
            # A client that leaves is not told of here: the task is cancelled.
            await anyio.sleep_forever()
        # Not `request.body`, which is held to DATA_UPLOAD_MAX_MEMORY_SIZE.
        piece = request.read(_PIECE)
        ended = not piece
        return {"type": "http.request", "body": piece, "more_body": not ended}

    return receive


# Beside Django


def mount(application: ASGIApp, apps: Mapping[str, App]) -> ASGIApp:
    """An ASGI application that sends what is below a prefix to its app, the rest to Django.

    application: `get_asgi_application()`, or what is wrapped around it.
    apps: by prefix, such as "/v1"; of several that fit, the longest is taken.

    Nothing of Django runs for the apps: no middleware, no session. Django's handler has
    no lifespan, so it is answered here, and the apps are closed at shutdown.
    Raises `ValueError` for a prefix without a slash in front, or of nothing else.
    """
    for prefix in apps:
        if not prefix.startswith("/") or not prefix.strip("/"):
            raise ValueError(f"the prefix {prefix!r} must be like '/v1'")
    by_length = sorted(
        ((prefix.rstrip("/"), app) for prefix, app in apps.items()),
        key=lambda entry: len(entry[0]),
        reverse=True,
    )

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(apps, receive, send)
            return
        root: str = scope.get("root_path", "").rstrip("/")
        path = below(scope["path"], root) or scope["path"]
        for prefix, app in by_length:
            if below(path, prefix) is not None:
                await app({**scope, "root_path": root + prefix, "path": root + path}, receive, send)
                return
        await application(scope, receive, send)

    return dispatch


async def _lifespan(apps: Mapping[str, App], receive: Receive, send: Send) -> None:
    async with AsyncExitStack() as stack:
        for app in dict.fromkeys(apps.values()):
            stack.push_async_callback(app.aclose)
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})
