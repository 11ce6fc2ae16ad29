"""The gateway of providers: the requests of its documentation, and what cases cannot say."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import anyio
import httpx
import pytest
from tests.curl import Curl, curling
from tests.upstream import END, SSE, Reply, event, head, ollama, openai, piece, sending, serving

from llmount import EchoBackend, ScriptedImageBackend, ai_app, gateway
from llmount.app import App
from llmount.backends.echo import Fail
from llmount.backends.speech import ScriptedSpeechBackend, ScriptedTranscriptionBackend
from llmount.dialects.geenii import Geenii
from llmount.errors import BackendUnavailable
from llmount.testing.transport import ASGITransport
from llmount.types import Event, Finish, Model, Prompt, TextDelta

ON_OLLAMA = """\
curl -X POST http://localhost:13030/ai/v1/completion \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "ollama:mistral:latest",
    "prompt": "Tell me a joke about AI"
  }' | jq
"""

ON_OPENAI = """\
curl -X POST http://localhost:13030/ai/v1/completion \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "openai:gpt-4o-mini",
    "prompt": "Tell me a joke about AI"
  }' | jq
"""

A_CAT = """\
curl -X POST http://localhost:13030/ai/v1/image/generate \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "openai:dall-e-2",
    "prompt": "A funky cat"
  }' | jq
"""

NINE = "id timestamp model provider error model_result prompt output output_text"
OF_OLLAMA = (
    "model created_at done done_reason total_duration load_duration prompt_eval_count "
    "prompt_eval_duration eval_count eval_duration response thinking context logprobs"
)
JOKE = " Why don't they trust atoms?\n\nThey make up everything."
RAW = {"id": "resp_1", "created_at": 1767641509.0, "error": None, "metadata": {}}


# The requests of the documentation


@pytest.fixture(scope="module")
def curl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curl]:
    local = EchoBackend([TextDelta(JOKE)], models=["mistral:latest"])
    hosted = EchoBackend([TextDelta(JOKE), Finish(raw=RAW)], models=["gpt-4o-mini"])
    providers = {"ollama": local, "openai": hosted}
    app = ai_app(providers, images={"openai": ScriptedImageBackend()}, check_answers=True)
    mounted = gateway({"/ai/v1": app}, check_answers=True)
    with curling(mounted, tmp_path_factory.mktemp("home")) as curl:
        yield curl


def said(curl: Curl, command: str) -> Any:
    return json.loads(curl(command if shutil.which("jq") else command.replace(" | jq", "")))


def test_the_documented_request_to_ollama_has_the_documented_answer(curl: Curl) -> None:
    answer = said(curl, ON_OLLAMA)

    assert list(answer) == NINE.split()
    assert list(answer["model_result"]) == OF_OLLAMA.split()
    assert (answer["model"], answer["provider"]) == ("mistral:latest", "ollama")
    assert answer["model_result"]["response"] == JOKE
    [item] = answer["output"]
    assert list(item) == ["id", "type", "content"]
    assert item["content"] == [{"type": "output_text", "text": JOKE}]
    assert answer["output_text"] is None


def test_the_documented_request_to_openai_has_the_documented_answer(curl: Curl) -> None:
    answer = said(curl, ON_OPENAI)

    assert list(answer) == NINE.split()
    assert (answer["model"], answer["provider"]) == ("gpt-4o-mini", "openai")
    assert answer["model_result"] == RAW
    [item] = answer["output"]
    assert list(item) == ["id", "content", "role", "status", "type"]
    assert list(item["content"][0]) == ["annotations", "text", "type", "logprobs"]
    assert answer["output_text"] == item["content"][0]["text"] == JOKE


def test_the_documented_request_for_an_image_has_one(curl: Curl) -> None:
    answer = said(curl, A_CAT)

    assert answer["error"] is None
    assert base64.b64decode(answer["output"][0]["base64"]).startswith(b"\x89PNG")


# Over the wire


async def post(app: App, path: str, **body: Any) -> httpx.Response:
    with anyio.fail_after(10):
        async with httpx.AsyncClient(transport=ASGITransport(app), base_url="http://test") as http:
            return await http.post(path, json=body)


@pytest.mark.anyio
async def test_what_is_spoken_is_what_is_written_down() -> None:
    app = ai_app(
        {},
        speech={"hf": ScriptedSpeechBackend()},
        transcription={"whisper": ScriptedTranscriptionBackend()},
        check_answers=True,
    )
    text = "Grüße aus 東京 🙂"

    spoken = await post(app, "/audio/speech", model="hf:tones", text=text, speed=4)
    [recording] = spoken.json()["output"]
    assert recording["url"] == "data:audio/wav;base64," + recording["base64"]
    for source in ({"input_file": recording["url"]}, {"input_blob": recording["base64"]}):
        heard = await post(app, "/audio/transcribe", model="whisper:tones", **source)
        assert heard.json()["output_text"] == text


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "body", "provider"),
    [
        ("/audio/speech", {"text": "Hi"}, "hf"),
        ("/audio/transcribe", {"input_blob": "AAAA"}, "whisper"),
        ("/audio/translate", {"input_blob": "AAAA"}, "whisper"),
        ("/image/generate", {"prompt": "A cat"}, "openai"),
        ("/completion", {"prompt": "Hi"}, "ollama"),
    ],
)
async def test_without_providers_everything_is_refused_by_name(
    path: str, body: dict[str, Any], provider: str
) -> None:
    answer = await post(ai_app({}, check_answers=True), path, **body)

    assert (answer.status_code, answer.json()) == (
        200,
        {"error": f"Unsupported provider: {provider}"},
    )


# The provider's own answer

ODD = '"z": 1e3, "y": 1.0, "x": 12345678901234567890, "w": 0, "v": null, "u": "é\\u00e9\\u2028"'
KEPT = {
    "z": 1000.0,
    "y": 1.0,
    "x": 12345678901234567890,
    "w": 0,
    "v": None,
    "u": "éé\u2028",
}
"""The values, to the last digit of an integer; not how they were written."""


def ollamas() -> Reply:
    text = piece('{"message": {"role": "assistant", "content": "Hello"}, "done": false}\n')
    end = '{"model": "m", "message": {"content": ""}, "done": true, "created_at": "t", %s}\n'
    return sending(head(), text, piece(end % ODD), END)


CHUNK = (
    '{"id": "c", "object": "chat.completion.chunk", "created": 1767641509.0, %s, '
    '"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": %s}]}'
)
OPENAIS = sending(
    SSE,
    event(CHUNK % (ODD, "Hel", "null")),
    event(CHUNK % ('"v": null', "lo", '"length"')),
    event("[DONE]"),
    END,
)


def typed(value: Any) -> Any:
    """With the types of numbers, in the order of the keys."""
    return [(key, type(each), each) for key, each in value.items()]


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_ollamas_own_answer_keeps_its_values_and_their_order(stream: bool) -> None:
    async with serving(ollamas()) as upstream, ollama(upstream) as backend:
        result = await own_answer(ai_app({"ollama": backend}), "ollama:m", stream)

    assert list(result) == [*OF_OLLAMA.split(), *KEPT]
    assert typed({key: result[key] for key in KEPT}) == typed(KEPT)
    assert (result["response"], result["created_at"], result["context"]) == ("Hello", "t", None)


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_openais_own_answer_keeps_its_values_and_their_order(stream: bool) -> None:
    async with serving(OPENAIS) as upstream, openai(upstream) as backend:
        result = await own_answer(ai_app({"openai": backend}), "openai:m", stream)

    assert list(result) == ["id", "object", "created", *KEPT, "choices"]
    assert typed({key: result[key] for key in KEPT}) == typed(KEPT)
    assert type(result["created"]) is float
    [choice] = result["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello", "length")


async def own_answer(app: App, model: str, stream: bool) -> Any:
    response = await post(app, "/completion", model=model, prompt="Hi", stream=stream)
    if stream:
        last = response.text.removesuffix("\n\n").rpartition("\ndata: ")[2]
        return json.loads(last)["response"]["model_result"]
    return response.json()["model_result"]


# The list of models


class Silent(EchoBackend):
    """Never says what it has."""

    async def models(self) -> Sequence[Model]:
        await anyio.sleep_forever()
        raise AssertionError


@pytest.mark.anyio
async def test_a_provider_that_never_answers_does_not_keep_the_others_from_the_list() -> None:
    providers = {"dead": Silent(), "live": EchoBackend(models=["a"]), "deaf": Silent()}
    with anyio.fail_after(5):
        async with httpx.AsyncClient(
            transport=ASGITransport(ai_app(providers)), base_url="http://test"
        ) as http:
            first = (await http.get("/models")).json()
            second = (await http.get("/models")).json()

    assert [(each["provider"], each["name"]) for each in first] == [("live", "a")]
    assert second == first


class Failing(EchoBackend):
    async def models(self) -> Sequence[Model]:
        raise BackendUnavailable


@pytest.mark.anyio
async def test_the_list_fails_if_no_provider_says_what_it_has() -> None:
    async def listed(app: App) -> Any:
        transport = ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return (await http.get("/models")).json()

    with anyio.fail_after(5):
        both = ai_app({"a": Failing(), "b": Failing()}, check_answers=True)
        assert await listed(both) == {"error": "the backend is not available"}
        assert await listed(ai_app({}, check_answers=True)) == []
        by_hand = App([("", Geenii({"a": EchoBackend(), "b": Failing()}))], check_answers=True)
        assert await listed(by_hand) == {"error": "the backend is not available"}


# Streams


class Told(EchoBackend):
    """Says a word, then waits for ever; `closed` tells that it was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = anyio.Event()

    async def generate(self, prompt: Prompt, /) -> AsyncGenerator[Event, None]:
        try:
            yield TextDelta("One")
            await anyio.sleep_forever()
        finally:
            self.closed.set()


@pytest.mark.anyio
# httpx leaves inner generators of its own unclosed, and trio says so.
@pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning")
async def test_a_piece_is_sent_before_the_next_one_is_there_and_leaving_stops_the_work() -> None:
    backend = Told()
    body = {"model": "e:echo", "prompt": "Hi", "stream": True}
    with anyio.fail_after(10):
        transport = ASGITransport(ai_app({"e": backend}, check_answers=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            async with http.stream("POST", "/completion", json=body) as response:
                seen = ""
                async for piece in response.aiter_text():
                    seen += piece
                    if '"delta":"One"' in seen:
                        break
            await backend.closed.wait()


@pytest.mark.anyio
async def test_a_stream_that_does_not_end_says_so() -> None:
    class Endless(EchoBackend):
        async def generate(self, prompt: Prompt, /) -> AsyncGenerator[Event, None]:
            yield TextDelta("One")

    for stream in (True, False):
        response = await post(
            ai_app({"e": Endless()}, check_answers=True),
            "/completion",
            model="e:echo",
            prompt="Hi",
            stream=stream,
        )
        error = '"error":"the backend ended its answer without finishing it"'
        assert error in response.text
        assert ("response.completed" in response.text, response.status_code) == (False, 200)


@pytest.mark.anyio
async def test_an_error_is_not_longer_than_it_has_to_be_in_a_stream_either() -> None:
    backend = EchoBackend([TextDelta("One"), Fail(BackendUnavailable("x" * 5000))])
    body = {"model": "e:echo", "prompt": "Hi"}

    streamed = await post(ai_app({"e": backend}), "/completion", **body, stream=True)
    whole = await post(ai_app({"e": backend}), "/completion", **body)

    told = json.loads(streamed.text.removesuffix("\n\n").rpartition("\ndata: ")[2])
    assert told["error"] == whole.json()["error"] == "x" * 1024 + "…"


# All backends


@pytest.mark.anyio
async def test_whoever_speaks_or_listens_is_closed_with_the_app() -> None:
    closed = []

    class Speaker(ScriptedSpeechBackend):
        async def aclose(self) -> None:
            closed.append("speaker")

    class Listener(ScriptedTranscriptionBackend):
        async def aclose(self) -> None:
            closed.append("listener")

    await ai_app({}, speech={"a": Speaker()}, transcription={"b": Listener()}).aclose()

    assert closed == ["speaker", "listener"]
