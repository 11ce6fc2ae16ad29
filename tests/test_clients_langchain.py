"""LangChain's clients of both APIs, unchanged, over a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import ollama
import openai
import pytest

from tests.scripted_server import scripted

langchain_ollama = pytest.importorskip("langchain_ollama")
langchain_openai = pytest.importorskip("langchain_openai")

CITY = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
WEATHER = {
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
KINDS = ("ollama", "chat completions", "responses")
ERRORS = {"ollama": ollama.ResponseError}
Chat = Callable[..., Any]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with scripted() as url:
        yield url


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What closes the clients that a test has opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def chat(url: str, opened: ExitStack) -> Chat:
    """A model of LangChain's, by its kind and name."""

    def model_of(kind: str, name: str = "echo", **options: Any) -> Any:
        if kind == "ollama":
            model = langchain_ollama.ChatOllama(model=name, base_url=url, **options)
            opened.callback(model._client._client.close)
            return model
        return langchain_openai.ChatOpenAI(
            model=name,
            base_url=f"{url}/v1",
            api_key="none",
            http_client=opened.enter_context(httpx.Client(timeout=10)),
            max_retries=0,
            stream_usage=True,
            use_responses_api=kind == "responses",
        )

    return model_of


def joined(chunks: Any) -> Any:
    """All chunks of a stream, added up as LangChain does."""
    whole = None
    for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
    return whole


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_text_and_counts_tokens_once(kind: str, stream: bool, chat: Chat) -> None:
    model = chat(kind)
    answer = joined(model.stream("one two three")) if stream else model.invoke("one two three")

    assert answer.text == "one two three"
    assert answer.usage_metadata["input_tokens"] == 3
    assert answer.usage_metadata["output_tokens"] == 3
    assert answer.usage_metadata["total_tokens"] == 6


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_calls_a_tool_and_tells_what_that_returned(kind: str, stream: bool, chat: Chat) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage

    model = chat(kind).bind_tools([WEATHER])
    asked: list[Any] = [HumanMessage("How is the weather?")]
    called = joined(model.stream(asked)) if stream else model.invoke(asked)

    [call] = called.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
    answer = model.invoke([*asked, called, ToolMessage("sunny", tool_call_id=call["id"])])
    assert answer.text == "It is sunny"


@pytest.mark.parametrize("kind", KINDS)
def test_it_gets_an_object_that_fits_a_schema(kind: str, chat: Chat) -> None:
    structured = chat(kind).with_structured_output(CITY, method="json_schema")

    assert structured.invoke("Which city?") == {"name": "text", "people": 0}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_that_a_model_is_unknown(kind: str, stream: bool, chat: Chat) -> None:
    model = chat(kind, "nope")

    with pytest.raises(ERRORS.get(kind, openai.NotFoundError), match="nope") as caught:
        joined(model.stream("hi")) if stream else model.invoke("hi")

    assert caught.value.status_code == 404


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_a_failure_in_the_middle(kind: str, chat: Chat) -> None:
    chunks = chat(kind, "breaks").stream("hi")
    seen = []
    with pytest.raises(ERRORS.get(kind, openai.APIError), match="the backend failed"):
        seen.extend(chunk.text for chunk in chunks)

    assert "".join(seen) == "one two"


def test_ollamas_client_completes_and_embeds(url: str, opened: ExitStack) -> None:
    model = langchain_ollama.OllamaLLM(model="echo", base_url=url)
    embeddings = langchain_ollama.OllamaEmbeddings(model="echo", base_url=url)
    for each in (model, embeddings):
        opened.callback(each._client._client.close)

    assert model.invoke("one two three", stop=[" three"]) == "one two"
    assert "".join(model.stream("one two")) == "one two"
    assert [len(vector) for vector in embeddings.embed_documents(["one", "two"])] == [64, 64]


def test_ollamas_client_tells_thinking_from_text(chat: Chat) -> None:
    answer = chat("ollama", "thinks", reasoning=True).invoke("hi")

    assert answer.text == "hi"
    assert (
        answer.additional_kwargs["reasoning_content"] == "The user said something. I say it back."
    )


def test_ollamas_client_reads_what_is_refused(chat: Chat) -> None:
    with pytest.raises(ollama.ResponseError, match="does not support thinking") as caught:
        chat("ollama", reasoning=True).invoke("hi")

    assert caught.value.status_code == 400
