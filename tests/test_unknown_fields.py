"""Fields that the document does not have: ignored, or refused as OpenAI does."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from llmount import EchoBackend, chat_app
from llmount.app import App
from llmount.testing.transport import ASGITransport

HI: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "Hi", "x": 1}]}


async def answer(app: App, path: str, body: Any) -> httpx.Response:
    with anyio.fail_after(10):
        async with httpx.AsyncClient(transport=ASGITransport(app)) as client:
            return await client.post(f"http://server{path}", json=body)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/chat/completions", {**HI, "top_k": 5}, "argument supplied: top_k"),
        ("/chat/completions", {**HI, "b": 1, "a": None}, "arguments supplied: b, a"),
        ("/completions", {"model": "echo", "messages": []}, "argument supplied: messages"),
        ("/embeddings", {"model": "echo", "input": "x", "n": 1}, "argument supplied: n"),
        ("/chat/completions", {"foo": 1}, "argument supplied: foo"),
    ],
)
async def test_unknown_fields_are_refused_where_they_are_to_be(
    path: str, body: Any, named: str
) -> None:
    response = await answer(chat_app(EchoBackend(), unknown="reject"), path, body)

    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": f"Unrecognized request {named}",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.anyio
async def test_known_fields_are_never_refused() -> None:
    for unknown in ("ignore", "reject"):
        app = chat_app(EchoBackend(), unknown=unknown)
        assert (await answer(app, "/chat/completions", {**HI, "n": 2})).status_code == 200
        assert (await answer(app, "/chat/completions", 5)).status_code == 400


@pytest.mark.anyio
async def test_long_names_and_many_are_cut() -> None:
    body = HI | {"x" * 1000 + str(number): 1 for number in range(50)}
    response = await answer(chat_app(EchoBackend(), unknown="reject"), "/chat/completions", body)

    assert len(response.content) < 2000


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="'maybe', not one of ignore, reject"):
        chat_app(EchoBackend(), unknown="maybe")  # type: ignore[arg-type]


def test_a_dialect_without_such_a_choice_says_so() -> None:
    with pytest.raises(TypeError, match="unknown"):
        chat_app(EchoBackend(), dialect="responses", unknown="reject")
