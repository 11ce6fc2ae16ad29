"""A client that leaves a real server stops the backend's work, whatever host is between."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.urls import include, path
from fastapi import FastAPI
from hosts import ASGIApp, bare, django_mount, django_project, django_urls, fastapi, starlette
from servers import SECONDS, Witness, post, serving
from starlette.middleware.base import (  # noqa: TID251 (hosts use it)
    BaseHTTPMiddleware,
    RequestResponseEndpoint,
)
from starlette.requests import Request
from starlette.responses import Response

import llmount.django
from llmount import App, EchoBackend, chat_app, gateway


def fastapi_with_middleware(outer: str, apps: dict[str, App]) -> ASGIApp:
    async def passes(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    host = FastAPI()
    host.add_middleware(BaseHTTPMiddleware, dispatch=passes)
    for prefix, app in apps.items():
        host.mount(prefix, app)
    return host


def django_with(*middleware: str) -> Callable[[str, dict[str, App]], ASGIApp]:
    def build(outer: str, apps: dict[str, App]) -> ASGIApp:
        patterns = [
            path(f"{prefix.strip('/')}/", include(llmount.django.urls(app)))
            for prefix, app in apps.items()
        ]
        return django_project(*patterns, middleware=middleware)

    return build


HOSTS = {
    "bare": bare,
    "starlette": starlette,
    "fastapi": fastapi,
    "fastapi, BaseHTTPMiddleware": fastapi_with_middleware,
    "django urls": django_urls,
    "django urls, synchronous middleware": django_with("hosts.synchronous"),
    "django urls, gzip": django_with("django.middleware.gzip.GZipMiddleware"),
    "django mount": django_mount,
}


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Callable[[App], ASGIApp]:
    """Mounts an app at "/v1"; the bare app has its routes there as well."""
    build = HOSTS[request.param]
    if build is bare:
        return lambda app: gateway({"/v1": app})
    return lambda app: build("", {"/v1": app})


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors, [record.getMessage() for record in errors]


@contextmanager
def request(address: tuple[str, int], model: str, *, stream: bool) -> Iterator[socket.socket]:
    """A connection that has sent its request; leaving the block leaves the server."""
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": model, "messages": messages, "stream": stream}
    with socket.create_connection(address, SECONDS) as connection:
        connection.sendall(post("/v1/chat/completions", body))
        yield connection


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_leaving_before_the_first_word_stops_the_work(
    host: Callable[[App], ASGIApp], stream: bool
) -> None:
    witness = Witness()
    with serving(host(chat_app(witness))) as address:
        with request(address, "quiet", stream=stream):
            assert witness.began.wait(SECONDS)
        assert witness.stopped()


def test_leaving_within_a_whole_answer_stops_the_work(host: Callable[[App], ASGIApp]) -> None:
    witness = Witness()
    with serving(host(chat_app(witness))) as address:
        with request(address, "busy", stream=False):
            assert witness.began.wait(SECONDS)
        assert witness.stopped()


@pytest.mark.parametrize("model", ["slow", "busy"])
def test_leaving_within_a_stream_stops_the_work(host: Callable[[App], ASGIApp], model: str) -> None:
    witness = Witness()
    with serving(host(chat_app(witness))) as address:
        with request(address, model, stream=True) as connection:
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        assert witness.stopped()


def test_leaving_within_the_request_disturbs_nobody(host: Callable[[App], ASGIApp]) -> None:
    with serving(host(chat_app(EchoBackend()))) as address:
        whole = post("/v1/chat/completions", {"model": "echo", "messages": [], "stream": True})
        with socket.create_connection(address, SECONDS) as connection:
            connection.sendall(whole[:-10])
        with request(address, "echo", stream=False) as connection:
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
