"""`llmount serve` with keys and a limit, and the official clients in front of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from llmount.config import KeyFileError, read_keys
from tests.serving import Served, serve

KEY, OTHER = "sk-from-a-file-0123456789", "sk-from-a-variable-0123456789"
SAY: Any = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# The keys of this house\n\n  {KEY}  \n")
    arguments = ("--model", "echo", "--key-file", str(file), "--limit-requests", "1000")
    with serve(*arguments, "--access-log", environment={"LLMOUNT_KEYS": OTHER}) as served:
        yield served
        assert served.stop() in (0, -15)
        printed = "".join(served.printed)
        assert "/v1/models" in printed
        assert KEY not in printed
        assert OTHER not in printed


@pytest.mark.parametrize("path", ["/api/tags", "/api/version", "/v1/models", "/models"])
def test_every_family_wants_a_key(served: Served, path: str) -> None:
    assert httpx.get(served.url + path).status_code == 401
    for key in (KEY, OTHER):
        answer = httpx.get(served.url + path, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        assert [name for name in answer.headers if name.startswith("x-ratelimit-limit")]


def test_the_pages_are_open(served: Served) -> None:
    for path in ("/api/openapi.json", "/v1/docs"):
        assert httpx.get(served.url + path).status_code == 200


def test_it_prints_lines_to_paste_that_work_with_a_key(served: Served) -> None:
    printed = "".join(served.printed).replace("\\\n", "")
    commands = [line for line in printed.split("\n") if line.startswith("  curl")]
    assert len(commands) == 4
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command.replace("curl", "curl -sf")],
            env={**os.environ, "KEY": KEY},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, command


def test_ollamas_client_comes_in_with_its_key(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the variable by itself."""
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    client = ollama.Client(served.url, timeout=10)
    assert client.generate("echo", "one two").response == "one two"
    items = client.chat("echo", SAY, stream=True)
    assert "".join(item.message.content or "" for item in items) == "one two three"
    client._client.close()


def test_ollamas_client_without_a_key_is_told_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    client = ollama.Client(served.url, timeout=10)
    with pytest.raises(ollama.ResponseError, match="unauthorized") as caught:
        client.generate("echo", "hi")
    assert caught.value.status_code == 401
    client._client.close()


def test_openais_client_comes_in_with_its_key(served: Served) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="echo", messages=SAY)
        assert raw.parse().choices[0].message.content == "one two three"
        assert raw.headers["x-ratelimit-limit-requests"] == "1000"
        chunks = client.chat.completions.create(model="echo", messages=SAY, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == "one two three"


def test_openais_client_with_a_wrong_key_is_told_so(served: Served) -> None:
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="sk-x", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError, match="Incorrect API key") as caught:
        client.models.list()
    assert caught.value.code == "invalid_api_key"
    assert "sk-x" not in str(caught.value)


def test_openais_client_is_told_how_long_to_wait() -> None:
    with serve("--model", "echo", "--limit-requests", "1") as limited:
        client = openai.OpenAI(base_url=f"{limited.url}/v1", api_key="none", max_retries=0)
        with client, pytest.raises(openai.RateLimitError) as caught:
            list_models(client)
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"


def list_models(client: openai.OpenAI) -> None:
    """More often than once a minute, even if one ends between two of them."""
    for _ in range(3):
        client.models.list()


# Where keys come from


def test_keys_come_from_a_file_and_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-1\r\n# sk-2\n\n\tsk-3\n")
    assert read_keys(None, None) is None
    assert read_keys(file, None) == {"sk-1", "sk-3"}
    assert read_keys(None, " sk-4\nsk-5 ") == {"sk-4", "sk-5"}
    assert read_keys(file, "sk-4") == {"sk-1", "sk-3", "sk-4"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no key"),
        ("# only a remark\n", "there is no key"),
        ("sk-good\nada sk-secret\n", "line 2 of .* is not one key"),
        ("sk-s\u00e9cret\n", "line 1 of .* is not one key"),
    ],
)
def test_a_file_that_has_no_keys_is_refused_in_words(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(KeyFileError, match=told) as caught:
        read_keys(file, None)
    assert "cret" not in str(caught.value)


def test_a_variable_that_has_no_keys_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="there is no key"):
        read_keys(None, "")
    with pytest.raises(KeyFileError, match="a word in LLMOUNT_KEYS") as caught:
        read_keys(None, "sk-s\u00e9cret")
    assert "cret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        read_keys(tmp_path / "nowhere", None)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(KeyFileError, match="not text"):
        read_keys(tmp_path / "bytes", None)


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "told"),
    [
        (["--key-file", "/nowhere/keys"], {}, 1, "cannot read the keys in /nowhere/keys"),
        ([], {"LLMOUNT_KEYS": ""}, 1, "there is no key"),
        (["--limit-requests", "0"], {}, 2, "'0' is not a number above 0"),
        (["--limit-requests", "many"], {}, 2, "'many' is not a number above 0"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(
    arguments: list[str], environment: dict[str, str], status: int, told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llmount", "serve", "--model", "echo", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr
