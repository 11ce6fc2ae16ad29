"""The official clients, unchanged, against the running command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ollama
import openai
import pytest

from tests.serving import Served, serve

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
SAY = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve("--model", "echo") as served:
        yield served


@pytest.fixture
def ollama_client(served: Served) -> Iterator[ollama.Client]:
    client = ollama.Client(served.url, timeout=10)
    yield client
    client._client.close()


@pytest.fixture(params=["", "/v1"], ids=["without /v1", "with /v1"])
def openai_client(served: Served, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=served.url + request.param,
        api_key="none",
        timeout=10,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


class TestOllama:
    def test_generates_whole(self, ollama_client: ollama.Client) -> None:
        answer = ollama_client.generate("echo", "one two three")

        assert answer.response == "one two three"
        assert (answer.done, answer.done_reason, answer.eval_count) == (True, "stop", 3)
        assert answer.total_duration is not None
        assert answer.total_duration > 0

    def test_generates_streaming(self, ollama_client: ollama.Client) -> None:
        items = list(ollama_client.generate("echo", "one two three", stream=True))

        assert [item.response for item in items] == ["one", " two", " three", ""]
        assert [item.done for item in items] == [False, False, False, True]

    def test_chats_whole_and_streaming(self, ollama_client: ollama.Client) -> None:
        whole = ollama_client.chat("echo", SAY)
        items = list(ollama_client.chat("echo", SAY, stream=True))

        assert whole.message.content == "one two three"
        assert "".join(item.message.content or "" for item in items) == "one two three"

    def test_is_told_that_a_model_does_not_think(self, ollama_client: ollama.Client) -> None:
        with pytest.raises(ollama.ResponseError, match='"echo" does not support thinking'):
            ollama_client.generate("echo", "hi", think=True)

    def test_gets_json_that_fits_a_schema(self, ollama_client: ollama.Client) -> None:
        schema = TOOL["function"]["parameters"]  # type: ignore[index]

        answer = ollama_client.generate("echo", "hi", format=schema)

        assert json.loads(answer.response).keys() == {"city"}

    def test_reports_log_probabilities(self, ollama_client: ollama.Client) -> None:
        answer = ollama_client.generate("echo", "hi", logprobs=True, top_logprobs=2)

        assert answer.logprobs is not None
        assert answer.logprobs[0].token == "hi"
        assert len(answer.logprobs[0].top_logprobs or ()) == 2

    def test_lists_shows_and_loads(self, ollama_client: ollama.Client) -> None:
        assert [model.model for model in ollama_client.list().models] == ["echo:latest"]
        assert "completion" in (ollama_client.show("echo").capabilities or ())
        assert ollama_client.ps().models == []
        assert ollama_client.generate("echo").done_reason == "load"
        assert ollama_client.generate("echo", keep_alive=0).done_reason == "unload"

    @pytest.mark.parametrize("stream", [False, True])
    def test_reads_our_errors(self, ollama_client: ollama.Client, stream: bool) -> None:
        with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as caught:
            list(ollama_client.generate("nope", "hi", stream=stream))  # type: ignore[call-overload]

        assert caught.value.status_code == 404

    def test_embeds(self, ollama_client: ollama.Client) -> None:
        found = ollama_client.embed("echo", ["one", "two", "one"], dimensions=16)
        whole = ollama_client.embed("echo", "one")
        old = ollama_client.embeddings("echo", "one")

        one, two, again = found.embeddings
        assert one == again != two
        assert {len(vector) for vector in found.embeddings} == {16}
        assert sum(number * number for number in one) == pytest.approx(1)
        assert found.prompt_eval_count == 3
        assert list(whole.embeddings[0]) == pytest.approx(list(old.embedding))

    def test_carries_a_conversation_on(self, ollama_client: ollama.Client) -> None:
        first = ollama_client.generate("echo", "one two")
        second = ollama_client.generate("echo", "three", context=first.context)

        assert first.context is not None
        assert second.context is not None
        assert second.context[: len(first.context)] == first.context

    def test_renders_a_template_and_fills_a_gap(self, ollama_client: ollama.Client) -> None:
        template = "{{ .System }}|{{ .Prompt }}"
        answer = ollama_client.generate("echo", "hi", system="Be brief.", template=template)
        filled = ollama_client.generate(
            "echo", "a", suffix="c", template="{{ .Prompt }}<gap>{{ .Suffix }}"
        )

        assert answer.response == "Be brief.|hi"
        assert filled.response == "a<gap>c"

    @pytest.mark.parametrize(
        ("fields", "status", "told"),
        [
            ({"prompt": "hi", "options": {"stop": "x"}}, 400, 'option "stop" must be of type'),
            ({"prompt": "hi", "think": True}, 400, '"echo" does not support thinking'),
            ({"prompt": "hi", "raw": True, "system": "x"}, 400, "raw mode does not support"),
            ({"prompt": "hi", "keep_alive": "5 minutes"}, 400, 'unknown unit " minutes"'),
            ({"prompt": "hi", "template": "{{ nope }}"}, 400, "not defined"),
            ({"model": "a b", "prompt": "hi"}, 400, "invalid model name"),
        ],
    )
    def test_reads_what_is_wrong(
        self, ollama_client: ollama.Client, fields: dict[str, Any], status: int, told: str
    ) -> None:
        with pytest.raises(ollama.ResponseError, match=told) as caught:
            ollama_client.generate(**{"model": "echo", **fields})

        assert caught.value.status_code == status

    def test_reads_that_a_model_to_embed_with_is_missing(
        self, ollama_client: ollama.Client
    ) -> None:
        with pytest.raises(ollama.ResponseError, match="try pulling it first") as caught:
            ollama_client.embed("nope", "hi")

        assert caught.value.status_code == 404


class TestOpenAI:
    def test_completes_whole(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.chat.completions.create(model="echo", messages=SAY)  # type: ignore[arg-type]

        assert answer.choices[0].message.content == "one two three"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 6

    def test_completes_streaming_with_usage_once(self, openai_client: openai.OpenAI) -> None:
        chunks = list(
            openai_client.chat.completions.create(
                model="echo",
                messages=SAY,  # type: ignore[arg-type]
                stream=True,
                stream_options={"include_usage": True},
            )
        )

        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == "one two three"
        assert [chunk.usage is not None for chunk in chunks].count(True) == 1
        assert chunks[-1].usage is not None

    def test_stream_helper_puts_choices_together(self, openai_client: openai.OpenAI) -> None:
        with openai_client.chat.completions.stream(model="echo", messages=SAY, n=2) as stream:  # type: ignore[arg-type]
            for _ in stream:
                pass
            choices = stream.get_final_completion().choices

        assert [choice.message.content for choice in choices] == ["one two three"] * 2
        assert [choice.message.role for choice in choices] == ["assistant"] * 2

    @pytest.mark.parametrize("stream", [False, True])
    def test_calls_a_tool(self, openai_client: openai.OpenAI, stream: bool) -> None:
        with openai_client.chat.completions.stream(
            model="echo",
            messages=SAY,  # type: ignore[arg-type]
            tools=[TOOL],  # type: ignore[list-item]
            tool_choice="required",
        ) as events:
            streamed = events.get_final_completion()
        whole = openai_client.chat.completions.create(
            model="echo",
            messages=SAY,  # type: ignore[arg-type]
            tools=[TOOL],  # type: ignore[list-item]
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
        )

        calls = ((streamed if stream else whole).choices[0].message.tool_calls) or []
        assert [call.function.name for call in calls] == ["get_weather"]  # type: ignore[union-attr]
        assert json.loads(calls[0].function.arguments).keys() == {"city"}  # type: ignore[union-attr]

    def test_lists_and_retrieves_models(self, openai_client: openai.OpenAI) -> None:
        # What answers comes first; what draws follows it.
        assert next(iter(openai_client.models.list())).id == "echo"
        assert openai_client.models.retrieve("echo").owned_by == "llmount"

    @pytest.mark.parametrize("stream", [False, True])
    def test_reads_our_errors(self, openai_client: openai.OpenAI, stream: bool) -> None:
        with pytest.raises(openai.NotFoundError, match="does not exist") as caught:
            openai_client.chat.completions.create(model="nope", messages=SAY, stream=stream)  # type: ignore[call-overload]
        assert caught.value.code == "model_not_found"

        with pytest.raises(openai.BadRequestError, match="empty array") as caught_bad:
            openai_client.chat.completions.create(model="echo", messages=[], stream=stream)  # type: ignore[call-overload]
        assert caught_bad.value.param == "messages"
