"""The command, as a user runs it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from llmount.server import ModelSpec, SpecError, configuration
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
    with pytest.raises(SpecError, match="two models are called 'Echo:latest'"):
        configuration([ModelSpec.parse("echo"), ModelSpec.parse("Echo:latest=echo")])


def test_a_wrong_model_on_the_command_line_is_one_line_and_status_1() -> None:
    done = run("serve", "--model", "nope")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llmount: cannot understand the model 'nope'")
    assert done.stderr.count("\n") == 1


def test_the_models_of_a_command_line_are_a_configuration() -> None:
    specs = ["a=echo", "b=echo", "m=ollama:x@http://one", "ollama:y@http://two", "smollm2"]

    config = configuration(
        [*map(ModelSpec.parse, specs), ModelSpec.parse("openai:z@http://h/v1")],
        environment={"OPENAI_API_KEY": "sk-secret"},
    )

    assert [(each.name, each.type, each.models) for each in config.providers] == [
        ("echo", "echo", {"a": "echo", "b": "echo"}),
        ("ollama", "ollama", {"m": "x"}),
        ("ollama", "ollama", {"y": "y"}),
        ("llamacpp", "llamacpp", {"smollm2": "smollm2"}),
        ("openai", "openai", {"z": "z"}),
    ]
    assert config.providers[-1].options == {"url": "http://h/v1", "key": "sk-secret"}
    assert "sk-secret" not in repr(config)


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


# A configuration file

GATEWAY = """
[server]
port = 1
list_timeout = 1

[keys]
env = "GATEWAY_KEYS"

[limits]
requests = 1

[providers.one]
type = "openai"
url = "{one}/v1"
models = {{alpha = "echo"}}

[providers.two]
type = "ollama"
url = "{two}"

[providers.dead]
type = "ollama"
url = "http://127.0.0.1:9"
models = []

[[models]]
name = "chat"
members = [
    {{provider = "dead", model = "echo"}},
    {{provider = "one", model = "echo", tier = 1}},
    {{provider = "two", model = "echo", tier = 1}},
]
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Iterator[Served]:
    """A server of a file, before two others."""
    file = tmp_path_factory.mktemp("gateway") / "llmount.toml"
    with serve("--model", "echo") as other:
        file.write_text(GATEWAY.format(one=served.url, two=other.url))
        arguments = ("--config", str(file), "--limit-requests", "1000")
        with serve(*arguments, environment={"GATEWAY_KEYS": "sk-gateway"}) as gateway:
            yield gateway


HEADERS = {"Authorization": "Bearer sk-gateway"}


def test_options_win_over_the_file(gateway: Served) -> None:
    answer = httpx.get(f"{gateway.url}/v1/models", headers=HEADERS, timeout=20)

    assert not gateway.url.endswith(":1")
    assert answer.headers["x-ratelimit-limit-requests"] == "1000"


def test_the_keys_of_the_file_are_demanded(gateway: Served) -> None:
    assert httpx.get(f"{gateway.url}/v1/models", timeout=20).status_code == 401
    assert any("$KEY" in line for line in gateway.printed)


@pytest.mark.parametrize("model", ["chat", "alpha", "two/echo"])
def test_clients_of_openai_reach_the_servers_behind_a_gateway(gateway: Served, model: str) -> None:
    messages: Any = [{"role": "user", "content": "Hello there"}]
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-gateway", timeout=20) as client:
        whole = client.chat.completions.create(model=model, messages=messages)
        stream = client.chat.completions.create(model=model, messages=messages, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        response = client.responses.create(model=model, input="Hello there")
        listed = [each.id for each in client.models.list()]

    assert whole.choices[0].message.content == "".join(pieces) == "Hello there"
    assert response.output_text == "Hello there"
    assert model in listed


@pytest.mark.parametrize("model", ["chat", "alpha", "two/echo"])
def test_clients_of_ollama_reach_the_servers_behind_a_gateway(gateway: Served, model: str) -> None:
    client = ollama.Client(gateway.url, headers=HEADERS, timeout=20)
    messages = [{"role": "user", "content": "Hello there"}]
    try:
        pieces = [each.message.content or "" for each in client.chat(model, messages, stream=True)]
        whole = client.generate(model, "Hello there").response
        listed = [each.model for each in client.list().models]
    finally:
        client._client.close()

    assert "".join(pieces) == whole == "Hello there"
    assert f"{model}:latest" in listed


def test_a_check_that_connects_says_who_answers(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "llmount.toml"
    file.write_text(GATEWAY.format(one=served.url, two=served.url).replace("GATEWAY_KEYS", "HOME"))
    file.write_text(file.read_text().replace('[keys]\nenv = "HOME"\n', ""))

    done = run("config", "check", str(file), "--connect")

    assert done.returncode == 1
    assert [line.split(maxsplit=2) for line in done.stdout.splitlines()[1:]] == [
        ["one", "openai", "5 models"],
        ["two", "ollama", "2 models"],
        ["dead", "ollama", "the upstream cannot be reached"],
    ]


def test_a_check_ends_with_1_if_something_is_wrong_and_0_if_not(tmp_path: Path) -> None:
    good, wrong = tmp_path / "good.toml", tmp_path / "wrong.toml"
    good.write_text('[providers.here]\ntype = "echo"\n')
    wrong.write_text('[providers.here]\ntype = "ehco"\nmodles = ["a"]\n')

    assert (run("config", "check", str(good)).returncode) == 0
    done = run("config", "check", str(wrong))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"{wrong}:2: providers.here.type: must be one of")
    assert "did you mean 'echo'?" in done.stdout


def test_a_wrong_file_is_not_served(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[providers.here]\ntype = "echo"\n[server]\nprot = 1\n')

    done = run("serve", "--config", str(wrong))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{wrong}:4: server.prot: is not known here; did you mean 'port'?\n"


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        (["--model", "echo"], 2, "not allowed with argument --config"),
        (["--engine", "llamacpp"], 1, "--engine goes with --model"),
    ],
)
def test_a_file_and_models_do_not_go_together(
    tmp_path: Path, more: list[str], status: int, told: str
) -> None:
    done = run("serve", "--config", str(tmp_path / "llmount.toml"), *more)

    assert done.returncode == status
    assert told in done.stderr


def test_the_schema_is_printed_as_json() -> None:
    assert json.loads(run("config", "schema").stdout)["title"] == "llmount configuration"
