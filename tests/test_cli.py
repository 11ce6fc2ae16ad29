"""The command, as a user runs it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from llmount.server import ModelSpec, SpecError, assemble
from tests.serving import Served, serve


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmount", *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve("--model", "echo", "--model", "mistral:latest=echo") as served:
        yield served


def test_contracts_lists_every_document_with_its_operations() -> None:
    printed = run("contracts").stdout

    for name in ("generate/ollama", "chat/openai", "ai/geenii"):
        assert name in printed
    assert "POST  /chat/completions" in printed


def test_show_prints_a_document_as_yaml_or_json() -> None:
    assert run("show", "generate/ollama").stdout.startswith("openapi: 3.2.0")
    assert json.loads(run("show", "chat/openai", "--json").stdout)["openapi"] == "3.2.0"


def test_show_of_an_unknown_document_names_the_known_ones() -> None:
    done = run("show", "nope")

    assert done.returncode == 1
    assert done.stderr.startswith("llmount: no document 'nope'; there are ai/geenii")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo", ModelSpec("echo", "echo", "echo")),
        ("m:7b=echo", ModelSpec("m:7b", "echo", "echo")),
        ("smollm2", ModelSpec("smollm2", "local", "smollm2")),
        (
            "ollama:mistral:latest@http://h:1",
            ModelSpec("mistral:latest", "ollama", "mistral:latest", "http://h:1"),
        ),
        (
            "ollama:mistral",
            ModelSpec("mistral", "ollama", "mistral", "http://127.0.0.1:11434"),
        ),
        (
            "gpt=openai:org/m@https://h/v1?a=b",
            ModelSpec("gpt", "openai", "org/m", "https://h/v1?a=b"),
        ),
        (
            "openai:gpt-4o-mini@https://h/v1?a=b",
            ModelSpec("gpt-4o-mini", "openai", "gpt-4o-mini", "https://h/v1?a=b"),
        ),
    ],
)
def test_a_model_is_named_in_every_documented_form(text: str, expected: ModelSpec) -> None:
    assert ModelSpec.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nope", "cannot understand the model 'nope'"),
        ("nowhere.gguf", "there is no file nowhere.gguf"),
        ("openai:gpt", "write openai:MODEL@URL"),
        ("openai:@http://h", "write openai:MODEL@URL"),
        ("ollama:m@h:1", "with a URL that begins with http"),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        ModelSpec.parse(text)


def test_a_path_to_a_gguf_is_named_by_its_stem(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"")

    assert ModelSpec.parse(str(file)).name == "tiny"


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="two models are called 'echo'"):
        assemble([ModelSpec.parse("echo"), ModelSpec.parse("echo=echo")])


def test_a_wrong_model_on_the_command_line_is_one_line_and_status_1() -> None:
    done = run("serve", "--model", "nope")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llmount: cannot understand the model 'nope'")
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_told_and_ends_the_command(served: Served) -> None:
    port = served.url.rpartition(":")[2]

    done = run("serve", "--model", "echo", "--port", port)

    assert done.returncode == 1
    assert "address already in use" in done.stderr


def test_it_prints_lines_to_paste_that_work(served: Served) -> None:
    printed = "".join(served.printed)

    commands = [part for part in printed.replace("\\\n", "").split("\n") if "curl" in part]
    assert len(commands) == 4
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command.replace("curl", "curl -sf")],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, command
        assert "error" not in done.stdout or '"error":null' in done.stdout


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/generate", {"model": "echo", "prompt": "hi", "stream": False}, '"response":"hi"'),
        ("/api/generate", {"model": "ECHO:latest", "prompt": "hi"}, '"response":"hi"'),
        (
            "/v1/chat/completions",
            {"model": "echo", "messages": [{"role": "user", "content": "hi"}]},
            '"content":"hi"',
        ),
        (
            "/chat/completions",
            {"model": "echo", "messages": [{"role": "user", "content": "hi"}], "stream": True},
            "data: [DONE]",
        ),
        ("/ai/v1/completion", {"prompt": "Tell me a joke about AI"}, '"provider":"ollama"'),
        ("/ai/v1/completion", {"model": "echo:echo", "prompt": "hi"}, '"provider":"echo"'),
        ("/ai/v1/image/generate", {"prompt": "A funky cat"}, '"base64":"iVBOR'),
        ("/api/generate", {"model": "dall-e-2", "prompt": "A cat"}, '"image":"iVBOR'),
    ],
)
def test_all_families_answer_at_one_address(
    served: Served, path: str, body: object, expected: str
) -> None:
    answer = httpx.post(served.url + path, json=body, timeout=20)

    assert answer.status_code == 200
    assert expected in answer.text


def test_sigterm_lets_a_running_answer_finish_and_ends_cleanly() -> None:
    with serve("--model", "echo") as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            words = "word " * 50_000
            body = json.dumps({"model": "echo", "prompt": words}).encode()
            client.sendall(
                b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
            received = client.recv(1000)
            served.process.terminate()
            while piece := client.recv(1 << 20):
                received += piece
        status = served.process.wait(20)

    assert b'"done":true' in received
    assert received.endswith(b"0\r\n\r\n")
    assert status in (0, -15)
    assert not any("Traceback" in line for line in served.printed)
