"""Both official clients, unchanged, through a gateway to an upstream of each kind, all of
them over real sockets.

What a direction does not carry is told in `tests/directions.yaml`, and is an error for these
clients where it says "refused".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ollama
import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam

from llmount import chat_app, gateway, generate_app
from llmount.backends.http import OllamaBackend, OpenAIBackend, OpenAIResponsesBackend
from llmount.types import Backend
from tests.mounting.servers import serving
from tests.scripted_server import scripted

PARAMETERS: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
WEATHER: Any = {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS}
TOOL: ChatCompletionFunctionToolParam = {"type": "function", "function": WEATHER}
SAY: Any = [{"role": "user", "content": "one two three"}]
OSLO = {"city": "Oslo"}

UPSTREAMS: Mapping[str, Callable[[str], Backend]] = {
    "ollama": OllamaBackend,
    "openai": lambda url: OpenAIBackend(f"{url}/v1"),
    "responses": lambda url: OpenAIResponsesBackend(f"{url}/v1"),
}


@pytest.fixture(scope="module")
def far() -> Iterator[str]:
    with scripted() as url:
        yield url


@pytest.fixture(scope="module", params=UPSTREAMS)
def upstream(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def near(far: str, upstream: str) -> Iterator[str]:
    """The address of a gateway, whose backend is the far server."""
    backend = UPSTREAMS[upstream](far)
    chat = [chat_app(backend), chat_app(backend, dialect="responses")]
    app = gateway({"/api": generate_app(backend), "/v1": chat}, check_answers=True)
    with serving(app) as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture
def ollamas(near: str) -> Iterator[ollama.Client]:
    client = ollama.Client(near, timeout=10)
    yield client
    client._client.close()


@pytest.fixture
def openais(near: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{near}/v1",
        api_key="none",
        timeout=10,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def ask(text: str) -> list[Any]:
    """A conversation that begins so."""
    return [{"role": "user", "content": text}]


class TestOllama:
    @pytest.mark.parametrize("stream", [False, True])
    def test_chats(self, ollamas: ollama.Client, stream: Any) -> None:
        answer: Any = ollamas.chat("echo", SAY, stream=stream)
        items = list(answer) if stream else [answer]

        assert "".join(item.message.content or "" for item in items) == "one two three"
        assert (items[-1].done, items[-1].done_reason) == (True, "stop")
        assert items[-1].eval_count == 3

    @pytest.mark.parametrize("stream", [False, True])
    def test_generates(self, ollamas: ollama.Client, stream: Any) -> None:
        answer: Any = ollamas.generate("echo", "one two three", stream=stream)
        items = list(answer) if stream else [answer]

        assert "".join(item.response for item in items) == "one two three"

    @pytest.mark.parametrize("stream", [False, True])
    def test_loops_over_a_tool(self, ollamas: ollama.Client, stream: Any) -> None:
        conversation = ask("What is the weather in Oslo?")
        answer: Any = ollamas.chat("echo", conversation, tools=[TOOL], stream=stream)
        turns = [item.message for item in (list(answer) if stream else [answer])]
        (call,) = [call for turn in turns for call in turn.tool_calls or ()]
        assert (call.function.name, call.function.arguments) == ("get_weather", OSLO)

        conversation += [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_name": "get_weather", "content": "rain"},
        ]
        said = ollamas.chat("echo", conversation, tools=[TOOL])
        assert said.message.content == "It is rain"

    def test_hears_what_is_thought(self, ollamas: ollama.Client) -> None:
        answer = ollamas.chat("thinks", SAY, think=True)

        assert answer.message.thinking
        assert answer.message.content == "one two three"

    def test_gets_json_of_a_schema(self, ollamas: ollama.Client) -> None:
        answer = ollamas.chat("echo", SAY, format=PARAMETERS)

        assert json.loads(answer.message.content or "").keys() == {"city"}

    def test_reads_log_probabilities(self, ollamas: ollama.Client) -> None:
        answer = ollamas.chat("echo", SAY, logprobs=True, top_logprobs=2)

        assert [(each.token, len(each.top_logprobs or ())) for each in answer.logprobs or ()] == [
            ("one", 2),
            (" two", 2),
            (" three", 2),
        ]

    def test_embeds(self, ollamas: ollama.Client) -> None:
        found = ollamas.embed("echo", ["one", "two", "one"])

        one, two, again = found.embeddings
        assert one == again != two
        assert found.prompt_eval_count == 3

    @pytest.mark.parametrize("stream", [False, True])
    def test_reads_errors(self, ollamas: ollama.Client, stream: Any) -> None:
        with pytest.raises(ollama.ResponseError, match="'nope' not found") as caught:
            list(ollamas.chat("nope", SAY, stream=stream))
        assert caught.value.status_code == 404

    def test_reads_what_is_refused(self, ollamas: ollama.Client, upstream: str) -> None:
        asked: dict[str, Any] = {"options": {"seed": 7, "stop": ["b"]}}
        if upstream != "responses":
            assert ollamas.chat("echo", SAY, **asked).message.content
            return
        with pytest.raises(ollama.ResponseError, match="does not support") as caught:
            ollamas.chat("echo", SAY, **asked)
        assert caught.value.status_code == 400

    def test_reads_a_failure_in_the_middle(self, ollamas: ollama.Client) -> None:
        heard: list[Any] = []
        with pytest.raises(ollama.ResponseError, match="upstream failed"):
            heard.extend(item.message.content for item in ollamas.chat("breaks", SAY, stream=True))
        assert "".join(text or "" for text in heard) == "one two"


class TestOpenAIChat:
    @pytest.mark.parametrize("stream", [False, True])
    def test_chats(self, openais: openai.OpenAI, stream: bool) -> None:
        if stream:
            with openais.chat.completions.stream(model="echo", messages=SAY) as events:
                answer: Any = events.get_final_completion()
        else:
            answer = openais.chat.completions.create(model="echo", messages=SAY)
            assert answer.usage.completion_tokens == 3

        (choice,) = answer.choices
        assert (choice.message.content, choice.finish_reason) == ("one two three", "stop")

    @pytest.mark.parametrize("stream", [False, True])
    def test_loops_over_a_tool(self, openais: openai.OpenAI, stream: bool) -> None:
        conversation = ask("What is the weather in Oslo?")
        asked: dict[str, Any] = {"model": "echo", "messages": conversation, "tools": [TOOL]}
        if stream:
            with openais.chat.completions.stream(**asked) as events:
                answer: Any = events.get_final_completion()
        else:
            answer = openais.chat.completions.create(**asked)
        (choice,) = answer.choices
        (call,) = choice.message.tool_calls
        assert (call.id, call.function.name) == ("call_abc", "get_weather")
        assert json.loads(call.function.arguments) == OSLO
        assert choice.finish_reason == "tool_calls"

        conversation += [
            {"role": "assistant", "tool_calls": [call.to_dict()]},
            {"role": "tool", "tool_call_id": call.id, "content": "rain"},
        ]
        said = openais.chat.completions.create(**asked)
        assert said.choices[0].message.content == "It is rain"

    def test_hears_what_is_thought(self, openais: openai.OpenAI) -> None:
        answer = openais.chat.completions.create(
            model="thinks", messages=SAY, reasoning_effort="low"
        )

        assert answer.choices[0].message.to_dict()["reasoning_content"]

    def test_gets_json_of_a_schema(self, openais: openai.OpenAI) -> None:
        answer = openais.chat.completions.create(
            model="echo",
            messages=SAY,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "city", "schema": PARAMETERS},
            },
        )

        assert json.loads(answer.choices[0].message.content or "").keys() == {"city"}

    def test_reads_log_probabilities(self, openais: openai.OpenAI) -> None:
        answer = openais.chat.completions.create(
            model="echo", messages=SAY, logprobs=True, top_logprobs=2
        )

        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert [(each.token, len(each.top_logprobs)) for each in logprobs.content or ()] == [
            ("one", 2),
            (" two", 2),
            (" three", 2),
        ]

    def test_embeds(self, openais: openai.OpenAI) -> None:
        # The SDK is at odds with itself where it unpacks Base64 and is to be strict.
        found = openais.embeddings.create(
            model="echo", input=["one", "two", "one"], encoding_format="float"
        )

        one, two, again = [each.embedding for each in found.data]
        assert one == again != two
        assert found.usage.prompt_tokens == 3

    @pytest.mark.parametrize("stream", [False, True])
    def test_reads_errors(self, openais: openai.OpenAI, stream: Any) -> None:
        with pytest.raises(openai.NotFoundError, match="nope") as caught:
            openais.chat.completions.create(model="nope", messages=SAY, stream=stream)
        assert caught.value.code == "model_not_found"

    def test_reads_what_is_refused(self, openais: openai.OpenAI, upstream: str) -> None:
        asked: dict[str, Any] = {"model": "echo", "messages": SAY, "logit_bias": {"5": 1}}
        if upstream == "openai":
            assert openais.chat.completions.create(**asked).choices
            return
        with pytest.raises(openai.BadRequestError, match="does not support logit_bias"):
            openais.chat.completions.create(**asked)

    def test_reads_a_failure_in_the_middle(self, openais: openai.OpenAI) -> None:
        heard: list[Any] = []
        with (
            openais.chat.completions.create(model="breaks", messages=SAY, stream=True) as chunks,
            pytest.raises(openai.APIError, match="upstream failed"),
        ):
            heard.extend(chunk.choices[0].delta.content for chunk in chunks)
        assert "".join(text or "" for text in heard) == "one two"


class TestOpenAIResponses:
    @pytest.mark.parametrize("stream", [False, True])
    def test_creates(self, openais: openai.OpenAI, stream: bool) -> None:
        if stream:
            with openais.responses.stream(model="echo", input="one two three") as events:
                answer: Any = events.get_final_response()
        else:
            answer = openais.responses.create(model="echo", input="one two three")

        assert (answer.output_text, answer.status) == ("one two three", "completed")
        assert answer.usage.output_tokens == 3

    @pytest.mark.parametrize("stream", [False, True])
    def test_loops_over_a_tool(self, openais: openai.OpenAI, stream: bool) -> None:
        conversation = ask("What is the weather in Oslo?")
        asked: dict[str, Any] = {
            "model": "echo",
            "input": conversation,
            "tools": [{"type": "function", "strict": False, **WEATHER}],
        }
        if stream:
            with openais.responses.stream(**asked) as events:
                answer: Any = events.get_final_response()
        else:
            answer = openais.responses.create(**asked)
        (call,) = answer.output
        assert (call.call_id, call.name) == ("call_abc", "get_weather")
        assert json.loads(call.arguments) == OSLO

        conversation += [
            *answer.output,
            {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
        ]
        assert openais.responses.create(**asked).output_text == "It is rain"

    def test_hears_what_is_thought(self, openais: openai.OpenAI) -> None:
        answer = openais.responses.create(
            model="thinks", input="one", reasoning={"effort": "low", "summary": "auto"}
        )

        assert [item.type for item in answer.output] == ["reasoning", "message"]

    @pytest.mark.parametrize("stream", [False, True])
    def test_reads_errors(self, openais: openai.OpenAI, stream: Any) -> None:
        with pytest.raises(openai.NotFoundError, match="nope") as caught:
            openais.responses.create(model="nope", input="hi", stream=stream)
        assert caught.value.code == "model_not_found"

    def test_reads_a_failure_in_the_middle(self, openais: openai.OpenAI) -> None:
        heard: list[Any] = []
        with (
            openais.responses.create(model="breaks", input="hi", stream=True) as events,
            pytest.raises(openai.APIError, match="upstream failed"),
        ):
            heard.extend(
                event.delta for event in events if event.type == "response.output_text.delta"
            )
        assert "".join(heard) == "one two"
