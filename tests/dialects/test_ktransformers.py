"""KTransformers' dialects: the examples of their documentation, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import openai
import pytest
from tests.curl import Curl, curling

from llmount import EchoBackend, chat_app, gateway, generate_app
from llmount.framing import framing_of
from llmount.types import TextDelta

CHAT = """\
curl -X 'POST' \\
  'http://localhost:9112/v1/chat/completions' \\
  -H 'accept: application/json' \\
  -H 'Content-Type: application/json' \\
  -d '{
  "messages": [
    {
      "content": "tell a joke",
      "role": "user"
    }
  ],
  "model": "Meta-Llama-3-8B-Instruct",
  "stream": true
}'
"""

GENERATE = """\
curl -X 'POST' \\
  'http://localhost:9112/api/generate' \\
  -H 'accept: application/json' \\
  -H 'Content-Type: application/json' \\
  -d '{
  "model": "Meta-Llama-3-8B-Instruct",
  "prompt": "tell me a joke",
  "stream": true
}'
"""

CHUNK = (
    'data:{"id":"c30445e8-1061-4149-a101-39b8222e79e1","object":"chat.completion.chunk",'
    '"created":1720511671,"model":"not implmented","system_fingerprint":"not implmented",'
    '"usage":null,"choices":[{"index":0,"delta":{"content":"Why ","role":"assistant",'
    '"name":null},"logprobs":null,"finish_reason":null}]}\n\n'
)
"""The first one of the documented stream; this one's names of model and system are bugs."""

LINES = """\
{"model":"Meta-Llama-3-8B-Instruct","created_at":"2024-07-09 08:13:11.686513","response":"I'll ","done":false}
{"model":"Meta-Llama-3-8B-Instruct","created_at":"2024-07-09 08:13:11.729214","response":"give ","done":false}
{"model":"Meta-Llama-3-8B-Instruct","created_at":"2024-07-09 08:13:33.956795","response":"","done":true}
"""  # noqa: E501


@pytest.fixture(scope="module")
def curl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curl]:
    def script(prompt: object) -> list[TextDelta]:
        words = ["Why ", "not?"] if "tell a joke" in str(prompt) else ["I'll ", "give "]
        return [TextDelta(word) for word in words]

    backend = EchoBackend(script, models=["Meta-Llama-3-8B-Instruct"])
    app = gateway(
        {
            "/api": generate_app(backend, dialect="ktransformers"),
            "/v1": chat_app(backend, dialect="ktransformers"),
        },
        check_answers=True,
    )
    with curling(app, tmp_path_factory.mktemp("home")) as curl:
        yield curl


def normal(text: str) -> str:
    """Without what differs from answer to answer."""
    text = re.sub(r'"id":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"', '"id":"uuid"', text)
    text = re.sub(r'"created":\d{10},', '"created":seconds,', text)
    text = re.sub(r'"model":"[^"]+","system_fing', '"model":"model","system_fing', text)
    text = re.sub(r'"system_fingerprint":"[^"]+"', '"system_fingerprint":"fp"', text)
    return re.sub(r'"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"', '"local time"', text)


def test_the_documented_chat_has_the_documented_frames(curl: Curl) -> None:
    answer = curl(CHAT)

    first = normal(CHUNK)
    later = first.replace('"role":"assistant"', '"role":null')
    last = later.replace('"Why "', '""').replace('"finish_reason":null', '"finish_reason":"stop"')
    done = "event: done\ndata: [DONE]\n\n"
    assert normal(answer) == first + later.replace("Why ", "not?") + last + done
    assert '"model":"Meta-Llama-3-8B-Instruct"' in answer


def test_the_documented_prompt_has_the_documented_lines(curl: Curl) -> None:
    assert normal(curl(GENERATE)) == normal(LINES)


@pytest.mark.parametrize("command", [CHAT, GENERATE])
def test_without_stream_it_streams_all_the_same(curl: Curl, command: str) -> None:
    without = re.sub(r',\s*"stream": true', "", command)
    assert without != command
    assert normal(curl(without)) == normal(curl(command))


@pytest.mark.parametrize("command", [CHAT, GENERATE])
def test_an_answer_that_is_not_streamed_is_refused_with_a_reason(curl: Curl, command: str) -> None:
    answer = curl("curl -w '%{http_code}'" + command.replace("true", "false").removeprefix("curl"))

    assert answer.endswith("400")
    assert "not streamed is not supported" in json.dumps(json.loads(answer[:-3]))


def test_a_client_joins_the_stream_to_one_message(curl: Curl) -> None:
    with (
        openai.OpenAI(base_url=curl.url + "/v1", api_key="none", max_retries=0) as client,
        client.chat.completions.stream(
            model="Meta-Llama-3-8B-Instruct",
            messages=[{"role": "user", "content": "tell a joke"}],
        ) as stream,
    ):
        choice = stream.get_final_completion().choices[0]

    assert (choice.message.role, choice.message.content) == ("assistant", "Why not?")
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize("path", ["assistants", "threads/thread_1/runs/run_1/cancel"])
def test_a_client_of_assistants_is_told_of_the_successor(curl: Curl, path: str) -> None:
    with (
        openai.OpenAI(base_url=curl.url + "/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIStatusError, match="Responses API") as caught,
    ):
        client.post(f"/{path}", body={"model": "m"}, cast_to=object)

    assert caught.value.status_code == 404


def test_frames_without_a_space_are_read_like_any_other() -> None:
    tight, usual = framing_of("tight-event-stream"), framing_of("text/event-stream")
    items = [{"data": "{}"}, {"data": " a"}, {"data": "a\nb"}, {"data": "x", "event": "done"}]

    frames = b"".join(map(tight.encode, items))

    assert frames.startswith(b"data:{}\n\ndata:  a\n\n")
    assert usual.decoder().feed(frames) == items
