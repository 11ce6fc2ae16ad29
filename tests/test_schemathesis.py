"""Schemathesis over every document, in process: what it allows and what it does not.

Some refusals cannot be said in JSON Schema: they need two fields, or a name that exists.
`RULES` are their words; Schemathesis takes a request that they refuse for a valid one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from llmount import App, EchoBackend, ScriptedImageBackend, ai_app, chat_app, generate_app
from llmount.contract import names, read
from llmount.dialects.openai import OpenAI
from llmount.testing.schema_run import Failure, run
from llmount.types import Event, Prompt, TextDelta

KEY = "a-key-for-the-tests"

RULES = {
    "generate/ollama": (
        r"model is required",
        r"invalid model name",
        r"illegal base64 data",
        r"raw mode does not support",
        r"does not support (thinking|insert|template)",
        r"time: ",
        r"is longer than the context",
        r"json: cannot unmarshal",
        r"template: ",
        r"missing request body",
        r"invalid duration",
        r"out of range",
        r"invalid options",
    ),
    "generate/ajstudioz": (r"base64", r"model", r"duration", r"raw mode"),
    "chat/openai": (
        r"messages with role 'tool' must be a response",
        r"must be followed by tool messages",
        r"not found in 'tools'",
        r"does not support",
        r"base64",
    ),
    "chat/responses": (
        r"No tool (call|output) found",
        r"not found in 'tools'",
        r"does not support",
        r"is not supported",
        r"base64",
        r"call_id",
        r"[Uu]nsupported",
        r"provided without its required",
    ),
}


def app_of(name: str, *, backend: Any = None) -> App:
    family, dialect = name.split("/")
    backend = backend or EchoBackend()
    if family == "ai":
        providers = {"ollama": EchoBackend(models=["mistral:latest"]), "echo": backend}
        images = {"openai": ScriptedImageBackend()}
        return ai_app(providers, images=images, dialect=dialect, check_answers=True)
    options: dict[str, Any] = {"keys": [KEY]} if _wants_key(name) else {}
    make = {"generate": generate_app, "chat": chat_app}[family]
    return make(backend, dialect=dialect, check_answers=True, **options)


def _wants_key(name: str) -> bool:
    return bool(read(name).get("security"))


def failures(name: str, app: App, *, stream: bool | None, max_examples: int = 20) -> list[Failure]:
    """What is wrong, rules that no schema can say left aside."""
    result = run(
        app,
        read(name),
        models=["ollama:mistral:latest", "echo:echo"] if name.startswith("ai/") else ["echo"],
        headers={"Authorization": f"Bearer {KEY}"} if _wants_key(name) else None,
        stream=stream,
        max_examples=max_examples,
    )
    assert 200 in result.statuses, "not one request was answered"
    assert not [status for status in result.statuses if status >= 500], result.statuses
    return [failure for failure in result.failures if not _by_a_rule(name, failure)]


def _by_a_rule(name: str, failure: Failure) -> bool:
    if failure.check != "positive_data_acceptance":
        return False
    return any(re.search(rule, failure.response) for rule in RULES.get(name, ()))


def shown(found: list[Failure]) -> Iterator[str]:
    for each in found:
        yield f"{each.operation} {each.check}: {each.message[:300]}\n  {each.response}"


@pytest.mark.parametrize("stream", [None, True], ids=["as it comes", "streamed"])
@pytest.mark.parametrize("name", names())
def test_the_app_keeps_its_document(name: str, stream: bool | None) -> None:
    found = failures(name, app_of(name), stream=stream)

    assert not found, "\n".join(shown(found))


class _Broken(OpenAI):
    """Forgets the role in a whole answer, and sends a chunk of its own in a stream."""

    async def create(self, request: Any) -> Any:
        reply = await super().create(request)
        whole, items = reply.codec.whole, reply.codec.items

        def without_role(events: Any) -> Any:
            answer = whole(events)
            del answer["choices"][0]["message"]["role"]
            return answer

        def with_another(event: Any) -> Any:
            return [{"data": '{"choices": "none"}'}, *items(event)]

        reply.codec.whole, reply.codec.items = without_role, with_another
        return reply


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_dialect_that_breaks_its_document_is_found_out(stream: bool) -> None:
    result = run(
        App([("", _Broken(EchoBackend()))]), read("chat/openai"), models=["echo"], stream=stream
    )

    found = {failure.check for failure in result.failures}
    assert "response_schema_conformance" in found


def test_a_line_of_ndjson_that_breaks_the_document_is_found_out() -> None:
    class Bytes:
        async def models(self) -> Any:
            return await EchoBackend().models()

        async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
            yield TextDelta(5)  # type: ignore[arg-type]
            async for event in EchoBackend().generate(prompt):
                yield event

    result = run(generate_app(Bytes()), read("generate/ollama"), models=["echo"], stream=True)

    assert "response_schema_conformance" in {failure.check for failure in result.failures}
