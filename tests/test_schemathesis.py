"""Schemathesis over every document, in process: what it allows and what it does not.

What no schema can say is in `llmount/check/refusals.yaml`; `tests.fuzzing` makes longer runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from llmount import App, EchoBackend, generate_app
from llmount.contract import names, read
from llmount.dialects.openai import OpenAI
from llmount.testing.schema_run import run
from llmount.types import Event, Prompt, TextDelta

from .fuzzing import KEY, fuzz, shown


@pytest.mark.parametrize("stream", [None, True], ids=["as it comes", "streamed"])
@pytest.mark.parametrize("name", names())
def test_the_app_keeps_its_document(name: str, stream: bool | None) -> None:
    found = fuzz(name, stream=stream, max_examples=20)

    assert 200 in found.statuses, "not one request was answered"
    assert not [status for status in found.statuses if status >= 500], found.statuses
    assert not found.failures, shown(found.failures)


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


@pytest.mark.breaks_documents
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_dialect_that_breaks_its_document_is_found_out(stream: bool) -> None:
    result = run(
        App([("", _Broken(EchoBackend()))]), read("chat/openai"), models=["echo"], stream=stream
    )

    found = {failure.check for failure in result.failures}
    assert "response_schema_conformance" in found


def test_a_server_that_takes_any_key_is_found_out() -> None:
    app = generate_app(EchoBackend(), dialect="ajstudioz", keys=lambda key: "anybody")

    result = run(
        app,
        read("generate/ajstudioz"),
        models=["echo"],
        headers={"Authorization": f"Bearer {KEY}"},
        max_examples=5,
    )

    assert "ignored_auth" in {failure.check for failure in result.failures}


def test_most_valid_requests_get_past_the_name_of_a_model() -> None:
    found = fuzz("generate/ollama", stream=True, max_examples=5)

    assert found.statuses[200] > 0.8 * found.cases, found.statuses


@pytest.mark.breaks_documents
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
