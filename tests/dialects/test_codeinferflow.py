"""CodeInferflow's dialects: how they are set up, and the examples of their documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.contract_cases import Scripted
from tests.curl import Curl, curling

from llmount import EchoBackend, ScriptedImageBackend, chat_app, gateway, generate_app
from llmount.dialects.codeinferflow import CodeInferflow, CodeInferflowChat
from llmount.testing.transport import ASGITransport
from llmount.types import Finish, Sampling, TextDelta, Usage

SIMPLE = """\
curl http://localhost:8080/api/generate -d '{
  "prompt": "def quicksort("
}'
"""

WITH_META_INFORMATION = r"""
curl http://localhost:8080/api/generate -d '{
  "prompt": "# Language: Python\n# Path: ~/code/sort.py\ndef quicksort( <SUF> ) <MID>"
}'
"""

CHAT = (
    """curl -X post -d '{"model": "gpt-3.5-turbo","messages": [{"role": "system", """
    """"content": "You are a helpful assistant."}, {"role": "user", "content": """
    """"Write an article about the weather of Seattle"}], "stream": true}' """
    """http://localhost:8080/chat/completions"""
)

PROGRAM = """\
import openai

openai.base_url = "http://localhost:8080"
openai.api_key = "sk-no-key-required"

is_streaming = True

response = openai.chat.completions.create(
    model="default",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Write an article about the weather of Seattle."}
    ],
    stream = is_streaming
)

if is_streaming:
    for chunk in response:
        print(chunk.choices[0].delta.content or "", end = "")
else:
    print(response.choices[0].message.content)
"""

GENERATED = """\
{
    "model": "default",
    "created_at": "2024-06-12T09:43:18",
    "response": "<code>",
    "input_tokens": 9,
    "output_tokens": 97,
    "total_duration": 2.149,
    "done": true
}
"""

CHATTED = """\
{
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "logprobs": null,
            "finish_reason": "stop",
            "message": {
                "content": "<contents>"
            }
        }
    ]
}
"""


def shape(value: Any) -> Any:
    """Keys in their order and types; the form of a time counts as its type."""
    if isinstance(value, dict):
        return [(key, shape(each)) for key, each in value.items()]
    if isinstance(value, list):
        return [shape(each) for each in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value):
        return "local time"
    return type(value)


@pytest.fixture(scope="module")
def curl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curl]:
    backend = EchoBackend(
        [TextDelta("It "), TextDelta("rains."), Finish(usage=Usage(prompt=9, completion=97))]
    )
    chat = chat_app(backend, dialect="codeinferflow", check_answers=True)
    generate = generate_app(backend, dialect="codeinferflow")
    app = gateway({"/api": generate, "/v1": chat, "": chat}, check_answers=True)
    with curling(app, tmp_path_factory.mktemp("home")) as curl:
        yield curl


@pytest.mark.parametrize("command", [SIMPLE, WITH_META_INFORMATION])
def test_the_documented_requests_for_code_have_the_documented_answer(
    curl: Curl, command: str
) -> None:
    answer = json.loads(curl(command))

    assert shape(answer) == shape(json.loads(GENERATED))
    assert (answer["model"], answer["response"]) == ("default", "It rains.")
    assert (answer["input_tokens"], answer["output_tokens"]) == (9, 97)
    assert 0 <= answer["total_duration"] < 20


def test_the_documented_request_for_a_chat_has_a_stream_of_deltas(curl: Curl) -> None:
    *frames, last, rest = curl(CHAT).split("\n\n")

    assert (last, rest) == ("data: [DONE]", "")
    choices = [json.loads(frame.removeprefix("data: "))["choices"][0] for frame in frames]
    assert [choice["delta"]["content"] for choice in choices] == ["It ", "rains.", ""]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "stop"]


def test_the_documented_chat_that_is_not_streamed_has_the_documented_answer(curl: Curl) -> None:
    answer = json.loads(curl(CHAT.replace('"stream": true', '"stream": false')))

    assert shape(answer) == shape(json.loads(CHATTED))
    assert answer["choices"][0]["message"]["content"] == "It rains."


@pytest.mark.parametrize("is_streaming", ["True", "False"])
def test_the_documented_program_prints_the_answer(curl: Curl, is_streaming: str) -> None:
    program = PROGRAM.replace("http://localhost:8080", curl.url)
    program = program.replace("is_streaming = True", f"is_streaming = {is_streaming}")

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)

    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == "It rains."


def test_a_method_may_be_written_in_any_case(curl: Curl) -> None:
    assert json.loads(curl("curl -X get http://localhost:8080/v1/health"))["model"] == "echo"
    assert curl("curl --head http://localhost:8080/api/tags").startswith("HTTP/1.1 200")
    assert "error.invalid_method" in curl("curl -X put -d '{}' http://localhost:8080/api/generate")


# Setting up


async def asked(dialect: CodeInferflow, prompt: str) -> Any:
    async with httpx.AsyncClient(
        transport=ASGITransport(generate_app(dialect.backend, dialect=dialect))
    ) as client:
        response = await client.post("http://server/generate", json={"prompt": prompt})
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.anyio
async def test_a_template_of_ones_own_is_used_for_its_model() -> None:
    backend = Scripted({"models": ["first", "second"]})
    dialect = CodeInferflow(
        backend,
        model="second",
        templates={"second": r"{<P>}{code_prefix}{<S>}{code_suffix}{<M>}"},
        sampling=Sampling(max_tokens=5),
    )
    await asked(dialect, "a <SUF> b <MID>")

    [prompt] = backend.asked
    assert (prompt.model, prompt.text, prompt.suffix) == ("second", "<P>a<S>b<M>", None)
    assert prompt.sampling == Sampling(max_tokens=5)


@pytest.mark.anyio
async def test_a_template_that_comes_to_nothing_is_not_asked() -> None:
    backend = Scripted({"models": ["first"]})

    answer = await asked(CodeInferflow(backend, templates={"first": "{code_prefix}"}), " <SUF> b")

    assert (answer["response"], backend.asked) == ("", [])


@pytest.mark.anyio
async def test_the_model_at_work_may_be_one_that_the_backend_does_not_list() -> None:
    dialect = CodeInferflow(EchoBackend(), model="hidden")
    async with httpx.AsyncClient(
        transport=ASGITransport(generate_app(dialect.backend, dialect=dialect))
    ) as client:
        response = await client.post("http://server/generate", json={"prompt": "x"})

    assert response.status_code == 404
    assert response.json()["error_text"] == "error.not_found: model 'hidden' not found"


@pytest.mark.parametrize("dialect", [CodeInferflow, CodeInferflowChat])
def test_a_bad_template_is_told_at_once(dialect: Any) -> None:
    with pytest.raises(ValueError, match="query"):
        dialect(EchoBackend(), templates={"m": "{query}"})


def test_pictures_are_refused_where_there_are_none() -> None:
    with pytest.raises(TypeError, match="images"):
        generate_app(EchoBackend(), images=ScriptedImageBackend(), dialect="codeinferflow")
