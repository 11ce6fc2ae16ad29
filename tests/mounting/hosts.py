"""The hosts under test, each as a function that mounts apps, and the proxies before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
import httpx
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import override_settings
from django.urls import URLPattern, URLResolver, include, path
from django.utils.decorators import async_only_middleware, sync_only_middleware
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

import llmount.django
from llmount import App
from llmount.testing.transport import ASGITransport

__all__ = [
    "HOSTS",
    "PROXIES",
    "ASGIApp",
    "Host",
    "Proxy",
    "client_of",
    "django_project",
    "synchronous",
    "urlconf_of_scope",
]

SECONDS = 10

ASGIApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
Apps: TypeAlias = Mapping[str, App]


def starlette(outer: str, apps: Apps, root_path: str = "") -> ASGIApp:
    mounts = [Mount(prefix, app) for prefix, app in apps.items()]
    return Starlette(routes=[Mount(outer, routes=mounts)] if outer else mounts)


def fastapi(outer: str, apps: Apps, root_path: str = "") -> ASGIApp:
    host = FastAPI()
    host.root_path = root_path  # as an argument it is deprecated, yet widely used
    inner = FastAPI() if outer else host
    for prefix, app in apps.items():
        inner.mount(prefix, app)
    if outer:
        host.mount(outer, inner)
    return host


def django_urls(outer: str, apps: Apps, root_path: str = "") -> ASGIApp:
    patterns = [
        path(f"{prefix.strip('/')}/" if prefix else "", include(llmount.django.urls(app)))
        for prefix, app in apps.items()
    ]
    if outer:
        return django_project(path(f"{outer.strip('/')}/", include(patterns)))
    return django_project(*patterns)


def django_mount(outer: str, apps: Apps, root_path: str = "") -> ASGIApp:
    prefixed = {outer + prefix: app for prefix, app in apps.items()}
    return llmount.django.mount(django_project(), prefixed)


def bare(outer: str, apps: Apps, root_path: str = "") -> ASGIApp:
    assert not outer
    return apps[""]


def django_project(*patterns: URLPattern | URLResolver, middleware: Sequence[str] = ()) -> ASGIApp:
    """The Django project of these tests, with these URLs, and middleware around the usual."""
    with override_settings(MIDDLEWARE=[*middleware, *settings.MIDDLEWARE]):
        handler = get_asgi_application()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await handler({**scope, "urlconf": patterns}, receive, send)

    return application


@async_only_middleware
def urlconf_of_scope(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        request.urlconf = request.scope["urlconf"]
        return await get_response(request)

    return middleware


@sync_only_middleware
def synchronous(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """What projects still have many of: Django runs everything inside it in a thread."""
    return lambda request: get_response(request)


@asynccontextmanager
async def client_of(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app; whatever is done with it has ten seconds."""
    with anyio.fail_after(SECONDS):
        transport = ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


@dataclass(frozen=True)
class Host:
    """asyncio_only: it has no trio. depths: how many segments its prefixes can have."""

    build: Callable[..., ASGIApp]
    depths: tuple[int, ...] = (0, 1, 2)
    asyncio_only: bool = False


HOSTS = {
    "bare": Host(bare, depths=(0,)),
    "starlette": Host(starlette),
    "fastapi": Host(fastapi),
    "django-urls": Host(django_urls, asyncio_only=True),
    # At depth 0 nothing would be left to Django.
    "django-mount": Host(django_mount, depths=(1, 2)),
}


@dataclass(frozen=True)
class Proxy:
    """What stands before the server.

    prefix: where the client sees the server. stripped: the proxy takes it off.
    told: who knows of it, the "server" (`--root-path`) or the "host" (`FastAPI(root_path=)`).
    hosts: those it is tried with.
    """

    prefix: str = ""
    stripped: bool = False
    told: str = "server"
    hosts: tuple[str, ...] = tuple(HOSTS)


PROXIES = {
    "no proxy": Proxy(),
    "unstripped": Proxy("/proxy"),
    "stripped": Proxy("/proxy", True),
    "unstripped, deep": Proxy("/a/b", hosts=("bare",)),
    "stripped, deep": Proxy("/a/b", True, hosts=("bare",)),
    "unstripped, told to the host": Proxy("/proxy", told="host", hosts=("fastapi",)),
    "stripped, told to the host": Proxy("/proxy", True, told="host", hosts=("fastapi",)),
}
