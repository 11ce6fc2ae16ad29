"""The `llm` command, with its plugin for Ollama and as a client of a server like OpenAI's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scripted_server import scripted

pytest.importorskip("llm")
pytest.importorskip("llm_ollama")

TOOL = """
def get_weather(city: str) -> str:
    "The weather of a city."
    return "sunny in " + city
"""
KINDS = ("ollama", "openai")
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with scripted() as url:
        yield url


@pytest.fixture
def llm(url: str, tmp_path: Path) -> Command:
    """Runs `llm -m MODEL ...`, with a model of this server for either API."""
    models = [
        {"model_id": f"openai/{name}", "model_name": name, "api_base": f"{url}/v1"}
        | {"supports_tools": True, "supports_schema": True}
        for name in ("echo", "breaks", "nope")
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))
    (tmp_path / "tools.py").write_text(TOOL)

    def run(model: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llm", "-m", model, *arguments],
            env={
                **os.environ,
                "LLM_USER_PATH": str(tmp_path),
                "OLLAMA_HOST": url,
                "OPENAI_API_KEY": "none",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_it_prints_an_answer(kind: str, llm: Command) -> None:
    done = llm(f"{kind}/echo", "-u", "one two three")

    assert done.stdout.strip() == "one two three"
    assert "3 input, 3 output" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_a_tool(kind: str, llm: Command) -> None:
    done = llm(f"{kind}/echo", "--functions", "tools.py", "How is the weather?")

    assert done.stdout.strip() == "It is sunny in Oslo", done.stderr


def test_it_gets_an_object_that_fits_a_schema_at_once(llm: Command) -> None:
    done = llm("ollama/echo", "--no-stream", "--schema", "name, people int", "Which city?")

    assert json.loads(done.stdout) == {"name": "text", "people": 0}, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_a_failure_in_the_middle(kind: str, llm: Command) -> None:
    done = llm(f"{kind}/breaks", "hi")

    assert done.returncode != 0
    assert done.stdout.strip() == "one two"
    assert "the backend failed" in done.stderr


def test_it_reads_that_a_model_is_unknown(llm: Command) -> None:
    done = llm("openai/nope", "hi")

    assert done.returncode != 0
    assert "The model `nope` does not exist" in done.stderr


def test_it_reads_that_an_option_is_refused(llm: Command) -> None:
    done = llm("ollama/echo", "-o", "num_ctx", str(2**40), "hi")

    assert done.returncode != 0
    assert "num_ctx must be at most" in done.stderr
