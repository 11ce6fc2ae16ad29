"""OpenAI's own client, unchanged and as strict as it can be, asks `llmount serve` for responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from llmount import EchoBackend, chat_app
from llmount.backends.echo import Fail
from llmount.errors import RateLimited
from llmount.types import TextDelta
from tests.mounting.servers import serving
from tests.serving import Served, serve

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
CITY: Any = {
    "type": "json_schema",
    "name": "city",
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["name", "people"],
    },
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve("--model", "echo") as served:
        yield served


@pytest.fixture(params=["", "/v1"], ids=["without /v1", "with /v1"])
def client(served: Served, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=served.url + request.param,
        api_key="none",
        timeout=10,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def test_creates(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="echo", input="one two three", instructions="Be brief.", metadata={"a": "b"}
    )

    assert response.output_text == "one two three"
    assert (response.status, response.error, response.incomplete_details) == (
        "completed",
        None,
        None,
    )
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 3)
    assert response.metadata == {"a": "b"}
    assert response._request_id


def test_says_that_it_met_the_limit(client: openai.OpenAI) -> None:
    words = " ".join(["word"] * 20)

    response = client.responses.create(model="echo", input=words, max_output_tokens=16)

    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == " ".join(["word"] * 16)


def test_streams_events(client: openai.OpenAI) -> None:
    with client.responses.create(model="echo", input="one two three", stream=True) as stream:
        events = list(stream)

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == [
        "one",
        " two",
        " three",
    ]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "one two three"


@pytest.mark.parametrize("summary", [None, "auto"])
def test_stream_helper_puts_items_together(client: openai.OpenAI, summary: Any) -> None:
    with client.responses.stream(
        model="echo",
        input="one two",
        reasoning={"effort": "low", "summary": summary},
        include=["message.output_text.logprobs"],
        top_logprobs=2,
    ) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()

    thought, said = response.output
    assert thought.type == "reasoning"
    assert [len(thought.summary), len(thought.content or ())] == ([1, 0] if summary else [0, 1])
    assert (f"response.reasoning_{'summary_text' if summary else 'text'}.delta") in kinds
    assert said.type == "message"
    assert said.content[0].type == "output_text"
    logprobs = said.content[0].logprobs or []
    assert [(each.token, len(each.top_logprobs)) for each in logprobs] == [("one", 2), (" two", 2)]


@pytest.mark.parametrize("stream", [False, True])
def test_loops_over_a_tool(client: openai.OpenAI, stream: bool) -> None:
    conversation: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    asked: dict[str, Any] = {"model": "echo", "tools": [WEATHER], "store": False}
    if stream:
        with client.responses.stream(
            input=conversation, tool_choice="required", **asked
        ) as streamed:
            first: Any = streamed.get_final_response()
    else:
        first = client.responses.create(input=conversation, tool_choice="required", **asked)

    [call] = first.output
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert json.loads(call.arguments).keys() == {"city"}

    conversation += first.output
    conversation.append(
        {"type": "function_call_output", "call_id": call.call_id, "output": "rather cold"}
    )
    second = client.responses.create(input=conversation, **asked)

    assert second.output_text == "rather cold"
    assert [tool.type for tool in second.tools] == ["function"]


def test_chooses_out_of_some_tools(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="echo",
        input="now",
        tools=[WEATHER, {**WEATHER, "name": "get_time"}],
        tool_choice={
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "get_time"}],
        },
    )

    [call] = response.output
    assert call.type == "function_call"
    assert call.name == "get_time"
    assert not isinstance(response.tool_choice, str)
    assert response.tool_choice.type == "allowed_tools"


def test_sends_thoughts_back(client: openai.OpenAI) -> None:
    conversation: list[Any] = [{"role": "user", "content": "one"}]
    first = client.responses.create(
        model="echo", input=conversation, reasoning={"effort": "high", "summary": "detailed"}
    )

    conversation += [*first.output, {"role": "user", "content": "two"}]
    second = client.responses.create(
        model="echo", input=conversation, include=["reasoning.encrypted_content"]
    )

    assert second.output_text == "two"


def test_gets_json_of_a_schema(client: openai.OpenAI) -> None:
    with client.responses.stream(model="echo", input="a city", text={"format": CITY}) as stream:
        streamed = stream.get_final_response()
    whole = client.responses.create(model="echo", input="a city", text={"format": CITY})

    assert json.loads(streamed.output_text).keys() == {"name", "people"}
    assert whole.output_text == streamed.output_text
    assert whole.text is not None
    assert whole.text.format is not None
    assert whole.text.format.type == "json_schema"


@pytest.mark.parametrize("stream", [False, True])
def test_parses_into_a_class(client: openai.OpenAI, stream: bool) -> None:
    # The SDK's own notion of a structured output; this package itself has no use for it.
    from pydantic import BaseModel  # noqa: TID251

    class City(BaseModel):
        name: str
        people: int

    if stream:
        with client.responses.stream(model="echo", input="a city", text_format=City) as events:
            parsed = events.get_final_response().output_parsed
    else:
        parsed = client.responses.parse(
            model="echo", input="a city", text_format=City
        ).output_parsed

    assert isinstance(parsed, City)


@pytest.mark.parametrize("stream", [False, True])
def test_reads_our_errors(client: openai.OpenAI, stream: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist") as missing:
        client.responses.create(model="nope", input="hi", stream=stream)
    assert missing.value.code == "model_not_found"

    with pytest.raises(openai.BadRequestError, match="nothing is stored") as stored:
        client.responses.create(
            model="echo", input="hi", previous_response_id="resp_1", stream=stream
        )
    assert stored.value.param == "previous_response_id"

    with pytest.raises(openai.BadRequestError, match="Supported values are: 'function'") as hosted:
        client.responses.create(
            model="echo", input="hi", tools=[{"type": "web_search"}], stream=stream
        )
    assert hosted.value.param == "tools[0].type"

    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        client.responses.retrieve("resp_1")


def test_reads_a_failure_in_the_middle_of_a_stream() -> None:
    backend = EchoBackend([TextDelta("Hel"), Fail(RateLimited("slow down"))])
    with (
        serving(chat_app(backend, dialect="responses")) as (host, port),
        openai.OpenAI(
            base_url=f"http://{host}:{port}",
            api_key="none",
            timeout=10,
            max_retries=0,
            _strict_response_validation=True,
        ) as client,
        client.responses.create(model="echo", input="hi", stream=True) as stream,
    ):
        said = []
        with pytest.raises(openai.APIError, match="slow down") as caught:
            said.extend(event.type for event in stream)

    assert caught.value.code == "rate_limit_exceeded"
    assert said[-1] == "response.output_text.delta"
