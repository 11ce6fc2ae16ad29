"""Beside Django, in asgi.py: who gets what, and what happens at shutdown."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hosts import SECONDS, ASGIApp, client_of, django_project

import llmount.django
from llmount import EchoBackend, chat_app, generate_app

pytestmark = pytest.mark.anyio


class Closing(EchoBackend):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


async def _lifespan(application: ASGIApp) -> list[str]:
    """Start the application and shut it down; what it said to that."""
    said: list[str] = []
    messages = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    async def send(message: dict[str, Any]) -> None:
        said.append(message["type"])

    with anyio.fail_after(SECONDS):
        await application({"type": "lifespan"}, receive, send)
    return said


async def test_a_shutdown_closes_what_is_mounted_beside_django() -> None:
    first, second = Closing(), Closing()
    app = chat_app(first)
    project = llmount.django.mount(
        django_project(), {"/v1": app, "/again": app, "/api": generate_app(second)}
    )
    assert await _lifespan(project) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (first.closed, second.closed) == (1, 1)


async def test_a_backend_that_fails_to_close_does_not_keep_others_open() -> None:
    class Broken(EchoBackend):
        async def aclose(self) -> None:
            raise OSError("cannot close")

    others = Closing(), Closing()
    project = llmount.django.mount(
        django_project(),
        {
            "/a": chat_app(others[0]),
            "/b": chat_app(Broken()),
            "/c": chat_app(others[1]),
        },
    )
    with pytest.raises(OSError, match="cannot close"):
        await _lifespan(project)
    assert [other.closed for other in others] == [1, 1]


async def test_the_longest_prefix_is_taken() -> None:
    outer, inner = chat_app(EchoBackend(models=["outer"])), chat_app(EchoBackend(models=["inner"]))
    project = llmount.django.mount(django_project(), {"/llm": outer, "/llm/v1/": inner})
    async with client_of(project) as client:
        assert (await client.get("/llm/models")).json()["data"][0]["id"] == "outer"
        assert (await client.get("/llm/v1/models")).json()["data"][0]["id"] == "inner"


@pytest.mark.parametrize("prefix", ["", "/", "v1"])
def test_a_prefix_that_leaves_django_nothing_or_has_no_slash_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="must be like '/v1'"):
        llmount.django.mount(django_project(), {prefix: chat_app(EchoBackend())})
