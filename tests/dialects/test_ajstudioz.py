"""AJ STUDIOZ Cloud's dialect: the examples of its pages, and Ollama's client with a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import ollama
import pytest
from tests.curl import Curl, curling

from llmount import EchoBackend, Limits, gateway, generate_app
from llmount.types import Finish, Model, TextDelta, Timings, Usage

PLACEHOLDERS = """\
curl --request POST \\
  --url https://api.ajstudioz.co.in/api/generate \\
  --header 'Authorization: <authorization>' \\
  --header 'Content-Type: <content-type>' \\
  --data '
{
  "model": "<string>",
  "prompt": "<string>",
  "stream": true,
  "system": "<string>",
  "options": {},
  "context": [
    {}
  ],
  "raw": true
}
'
"""

EXAMPLE = """\
curl https://api.ajstudioz.co.in/api/generate \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "gemma3:27b",
    "prompt": "Why is the sky blue?",
    "stream": false
  }'
"""

STREAMING = """\
curl https://api.ajstudioz.co.in/api/chat \\
  -H "Authorization: Bearer YOUR_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "gemma3:27b",
    "messages": [{ "role": "user", "content": "Tell me about black holes." }],
    "stream": true
  }'
"""

ANSWER = """\
{
  "model": "gemma3:27b",
  "created_at": "2026-03-07T12:00:00Z",
  "response": "The sky appears blue.",
  "done": true,
  "done_reason": "stop",
  "context": [1, 2, 3, 4, 5],
  "total_duration": 4523456789,
  "load_duration": 456789,
  "prompt_eval_count": 9,
  "prompt_eval_duration": 234567890,
  "eval_count": 82,
  "eval_duration": 4288888899
}
"""

SAID = Finish(
    usage=Usage(prompt=9, completion=82),
    timings=Timings(load=456789, prompt=234567890, completion=4288888899),
    context=(1, 2, 3, 4, 5),
)


@pytest.fixture(scope="module")
def curl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curl]:
    backend = EchoBackend(
        [TextDelta("The sky"), TextDelta(" appears blue."), SAID], models=[Model(name="gemma3:27b")]
    )
    hosted = generate_app(
        backend,
        dialect="ajstudioz",
        keys={"me": "YOUR_API_KEY"},
        limits=Limits(requests=60, tokens=1_000_000, concurrent=10),
    )
    app = gateway({"/api": hosted}, check_answers=True)
    with curling(app, tmp_path_factory.mktemp("home")) as curl:
        yield curl


def run(curl: Curl, command: str, *more: str) -> str:
    """The command as the page has it, but for the encryption, which is a proxy's affair."""
    command = command.replace("https://", "http://")
    return curl(command.replace("curl ", f"curl {' '.join(more)} ", 1) if more else command)


def test_the_example_is_answered_as_the_page_shows(curl: Curl) -> None:
    shown, answered = json.loads(ANSWER), json.loads(run(curl, EXAMPLE))
    assert list(answered) == list(shown)
    assert re.fullmatch(r"\d{4}(-\d\d){2}T\d\d(:\d\d){2}Z", answered["created_at"])
    volatile = {"created_at": "", "total_duration": 0}
    assert {**answered, **volatile} == {**shown, **volatile}
    assert answered["total_duration"] > 0


def test_the_example_of_a_stream_is_answered_line_by_line(curl: Curl) -> None:
    lines = [json.loads(line) for line in run(curl, STREAMING, "-N").splitlines()]
    said = [line["message"]["content"] for line in lines]
    assert said == ["The sky", " appears blue.", ""]
    assert [line["done"] for line in lines] == [False, False, True]
    assert [list(line) for line in lines[:2]] == [["model", "created_at", "message", "done"]] * 2
    # The page has fewer keys in the last line, and these in this order.
    shown = ["model", "created_at", "message", "done", "total_duration"]
    assert [key for key in lines[-1] if key in shown] == shown


def test_a_stream_is_what_it_is_without_being_asked(curl: Curl) -> None:
    text = run(curl, EXAMPLE.replace(',\n    "stream": false', ""))
    assert [json.loads(line)["response"] for line in text.splitlines()] == [
        "The sky",
        " appears blue.",
        "",
    ]


def test_placeholders_are_no_key(curl: Curl) -> None:
    head, _, answered = run(curl, PLACEHOLDERS, "-i").replace("\r", "").partition("\n\n")
    assert head.startswith("HTTP/1.1 401 ")
    assert "www-authenticate: Bearer" in head
    assert json.loads(answered)["error"]["code"] == "missing_api_key"


def test_placeholders_that_are_filled_in_are_answered(curl: Curl) -> None:
    command = PLACEHOLDERS
    for placeholder, value in (
        ("<authorization>", "Bearer YOUR_API_KEY"),
        ("<content-type>", "application/json"),
        ('"model": "<string>"', '"model": "gemma3:27b"'),
        ("{}\n  ]", "1\n  ]"),
        ('"raw": true', '"raw": false'),
    ):
        assert placeholder in command
        command = command.replace(placeholder, value)
    assert json.loads(run(curl, command).splitlines()[-1])["done_reason"] == "stop"


def test_every_response_tells_what_is_left(curl: Curl) -> None:
    left = []
    for command in (EXAMPLE, STREAMING, EXAMPLE.replace("gemma3:27b", "nope")):
        head = run(curl, command, "-i").replace("\r", "").partition("\n\n")[0]
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        assert headers["x-ratelimit-limit"] == "60"
        assert int(headers["x-ratelimit-reset"]) % 60 == 0
        left.append(int(headers["x-ratelimit-remaining"]))
    # Unless a minute has just begun.
    assert left == sorted(left, reverse=True) or 59 in left


def test_what_curl_says_of_a_body_by_itself_is_no_json(curl: Curl) -> None:
    command = EXAMPLE.replace('  -H "Content-Type: application/json" \\\n', "")
    assert json.loads(run(curl, command))["error"]["code"] == "unsupported_media_type"


def test_a_large_body_without_a_key_gets_its_answer(curl: Curl) -> None:
    """Nobody reads it, and yet the connection does not break."""
    for length in (100_000, 5_000_000):
        name = curl.home / "body.json"
        name.write_text(json.dumps({"model": "m", "prompt": "x" * length}))
        command = f"curl http://server/api/generate -d @{name} -H 'Content-Type: application/json'"
        assert json.loads(curl(command))["error"]["code"] == "missing_api_key"


class TestOllamaClient:
    """As the page on streaming has it."""

    @pytest.fixture
    def client(self, curl: Curl) -> Iterator[ollama.Client]:
        headers = {"Authorization": "Bearer YOUR_API_KEY"}
        client = ollama.Client(host=curl.url, headers=headers, timeout=10)
        yield client
        client._client.close()

    def test_streams(self, client: ollama.Client) -> None:
        messages: Any = [{"role": "user", "content": "Why?"}]
        stream = client.chat(model="gemma3:27b", messages=messages, stream=True)
        items = list(stream)
        assert "".join(item.message.content or "" for item in items) == "The sky appears blue."
        assert items[-1].done_reason == "stop"
        assert items[-1].eval_count == 82

    def test_reads_a_whole_answer(self, client: ollama.Client) -> None:
        answer = client.generate("gemma3:27b", "Why?")
        assert answer.response == "The sky appears blue."
        assert answer.context == [1, 2, 3, 4, 5]

    def test_is_told_of_a_wrong_key(self, curl: Curl) -> None:
        client = ollama.Client(curl.url, headers={"Authorization": "Bearer nope"}, timeout=10)
        with pytest.raises(ollama.ResponseError, match="Incorrect API key provided") as caught:
            client.generate("gemma3:27b", "Why?")
        assert caught.value.status_code == 401
        client._client.close()
