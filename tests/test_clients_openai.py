"""The official OpenAI client, unchanged, against what stands beside chat completions."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
import uvicorn

from llmount import EchoBackend, chat_app, gateway
from llmount.app import App
from llmount.backends.echo import Delay
from llmount.types import Finish, TextDelta, ToolCallDelta

KEY = "sk-good"
SAY: Any = [{"role": "user", "content": "one two three"}]
SHELL: Any = {"type": "custom", "custom": {"name": "shell", "description": "Runs a command."}}
WEATHER: Any = {"name": "weather", "parameters": {"type": "object", "required": ["city"]}}


@contextmanager
def running(app: App) -> Iterator[str]:
    """The address of a server of the app."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, lifespan="off", log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    backend = EchoBackend(models=["echo", "hf.co/me/mine:Q4"])
    calls = EchoBackend(
        [
            ToolCallDelta(0, "call_1", "shell"),
            ToolCallDelta(0, arguments='{"input": "ls'),
            ToolCallDelta(0, arguments=' -a"}'),
        ]
    )
    apps = {
        "/v1": chat_app(backend),
        "/openai": chat_app(backend, dialect="azure", keys=[KEY]),
        "/openai/v1": chat_app(backend, keys=[KEY]),
        "/calls": chat_app(calls),
    }
    with running(gateway(apps)) as here:
        yield here


@contextmanager
def client_of(base_url: str, key: str = "none") -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key=key, timeout=10, max_retries=0) as client:
        yield client


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with client_of(f"{address}/v1") as client:
        yield client


@pytest.fixture
def azure(address: str) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=address, api_version="2024-10-21", api_key=KEY, timeout=10, max_retries=0
    ) as client:
        yield client


class TestCompletions:
    def test_texts_are_continued(self, client: openai.OpenAI) -> None:
        answer = client.completions.create(
            model="echo", prompt=["one two", "three"], n=2, logprobs=2
        )

        assert [choice.text for choice in answer.choices] == ["one two"] * 2 + ["three"] * 2
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.text_offset == [7, 10]
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == 3

    def test_a_text_is_streamed(self, client: openai.OpenAI) -> None:
        chunks = list(
            client.completions.create(
                model="echo",
                prompt="one two three",
                max_tokens=2,
                echo=True,
                stream=True,
                stream_options={"include_usage": True},
            )
        )

        text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
        assert text == "one two threeone two"
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
        assert chunks[-1].usage is not None

    def test_the_best_of_several_is_picked(self, client: openai.OpenAI) -> None:
        answer = client.completions.create(model="echo", prompt="one two", best_of=3)

        assert [choice.text for choice in answer.choices] == ["one two"]
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 6

    def test_tokens_are_refused(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="prompts of token numbers") as caught:
            client.completions.create(model="echo", prompt=[1, 2])
        assert caught.value.param == "prompt"


class TestEmbeddings:
    def test_both_encodings_say_the_same(self, client: openai.OpenAI) -> None:
        texts = ["one", "two", "one"]
        packed = client.embeddings.create(model="echo", input=texts, dimensions=8)
        plain = client.embeddings.create(
            model="echo", input=texts, dimensions=8, encoding_format="float"
        )

        one, two, again = (each.embedding for each in packed.data)
        assert one == again != two
        assert math.hypot(*one) == pytest.approx(1, abs=1e-6)
        assert one == pytest.approx(plain.data[0].embedding, abs=1e-7)
        assert (packed.usage.prompt_tokens, packed.usage.total_tokens) == (3, 3)

    def test_a_missing_model_is_told(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            client.embeddings.create(model="nope", input="one")


class TestCalls:
    def test_a_custom_tool_is_called_with_text(self, address: str) -> None:
        with client_of(f"{address}/calls") as client:
            answer = client.chat.completions.create(model="echo", messages=SAY, tools=[SHELL])

        [call] = answer.choices[0].message.tool_calls or []
        assert call.type == "custom"
        assert (call.custom.name, call.custom.input) == ("shell", "ls -a")

    def test_a_custom_tool_is_called_in_a_stream(self, address: str) -> None:
        with client_of(f"{address}/calls") as client:
            chunks = client.chat.completions.create(
                model="echo", messages=SAY, tools=[SHELL], stream=True
            )
            deltas: list[Any] = [
                call.to_dict()["custom"]
                for chunk in chunks
                for call in chunk.choices[0].delta.tool_calls or ()
            ]

        assert [delta.get("name") for delta in deltas if "name" in delta] == ["shell"]
        assert "".join(delta["input"] for delta in deltas) == "ls -a"

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_old_function_is_called(self, client: openai.OpenAI, stream: bool) -> None:
        asked: Any = {"functions": [WEATHER], "function_call": {"name": "weather"}}
        create: Any = client.chat.completions.create
        answer = create(model="echo", messages=SAY, stream=stream, **asked)

        if not stream:
            assert answer.choices[0].message.function_call.name == "weather"
            assert answer.choices[0].finish_reason == "function_call"
            return
        chunks = list(answer)
        said = [chunk.choices[0].delta.function_call for chunk in chunks]
        assert [each.name for each in said if each and each.name] == ["weather"]
        assert chunks[-1].choices[0].finish_reason == "function_call"


class TestAzure:
    @pytest.mark.parametrize("model", ["echo", "hf.co/me/mine:Q4"])
    def test_a_deployment_answers(self, azure: openai.AzureOpenAI, model: str) -> None:
        whole = azure.chat.completions.create(model=model, messages=SAY)
        chunks = list(azure.chat.completions.create(model=model, messages=SAY, stream=True))

        assert (whole.model, whole.choices[0].message.content) == (model, "one two three")
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"

    def test_completes_texts_and_embeds(self, azure: openai.AzureOpenAI) -> None:
        assert azure.completions.create(model="echo", prompt="one").choices[0].text == "one"
        assert len(azure.embeddings.create(model="echo", input="one").data[0].embedding) == 64
        assert {model.id for model in azure.models.list()} == {"echo", "hf.co/me/mine:Q4"}

    def test_the_deployment_of_the_client_comes_before_the_model(self, address: str) -> None:
        with openai.AzureOpenAI(
            azure_endpoint=address, azure_deployment="echo", api_version="1", api_key=KEY
        ) as client:
            answer = client.chat.completions.create(model="gpt-4o", messages=SAY)
        assert answer.model == "echo"

    def test_a_missing_deployment_and_a_wrong_key_are_told(self, address: str) -> None:
        for model, key, error, code in (
            ("nope", KEY, openai.NotFoundError, "DeploymentNotFound"),
            ("echo", "wrong", openai.AuthenticationError, "invalid_api_key"),
        ):
            with (
                openai.AzureOpenAI(
                    azure_endpoint=address, api_version="1", api_key=key, max_retries=0
                ) as client,
                pytest.raises(error) as caught,
            ):
                client.chat.completions.create(model=model, messages=SAY)
            assert caught.value.code == code

    def test_the_newer_path_has_the_model_in_the_body(self, address: str) -> None:
        with client_of(f"{address}/openai/v1", KEY) as client:
            answer = client.chat.completions.create(model="echo", messages=SAY)
        assert answer.choices[0].message.content == "one two three"


def test_comments_in_a_silence_do_no_harm() -> None:
    slow = EchoBackend([Delay(0.05), TextDelta("late"), Delay(0.05), Finish()])
    with running(chat_app(slow, keep_alive=0.01)) as address, client_of(address) as client:
        chunks = list(client.chat.completions.create(model="echo", messages=SAY, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "late"
