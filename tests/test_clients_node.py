"""Clients for Node, unchanged, over a real socket: `ollama`, `openai` and Vercel's AI SDK.

The packages are those of `tests/clients/package.json`; npm installs them once, into a cache.
What cannot be had (Node, or the packages without a network) is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmount.cache import cache_dir
from tests.scripted_server import scripted

FOLDER = Path(__file__).parent / "clients"
SECONDS = 120
UNKNOWN = "The model `nope` does not exist or you do not have access to it."


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder in which npm has installed them."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no Node")
    wanted = (FOLDER / "package.json").read_bytes()
    folder = cache_dir() / f"node-clients-{hashlib.sha256(wanted).hexdigest()[:16]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            (made / "package.json").write_bytes(wanted)
            command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
            command += ["--fetch-retries=1", "--fetch-timeout=20000"]
            done = subprocess.run(
                command, cwd=made, capture_output=True, text=True, timeout=SECONDS
            )
            if done.returncode:
                pytest.skip(f"npm cannot install the clients: {done.stderr[-300:]}")
            # All at once, so that the folder is whole if it is there.
            made.rename(folder)
    return folder


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with scripted() as url:
        yield url


def told(script: str, url: str, packages: Path) -> Any:
    """What the script prints, run as a module where the packages are."""
    done = subprocess.run(
        ["node", "--input-type=module", "-", url],
        input=(FOLDER / script).read_text("utf-8"),
        cwd=packages,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ollamas_package_reads_all_that_it_asks_for(url: str, packages: Path) -> None:
    assert told("ollama.mjs", url, packages) == {
        "text": "one two",
        "pieces": ["one", " two", ""],
        "chat": {"role": "assistant", "content": "one two three"},
        "chatPieces": ["one", " two", " three", ""],
        "thinking": "The user said something. I say it back.",
        "format": {"city": "text"},
        "call": {"index": 0, "name": "get_weather", "arguments": {"city": "Oslo"}},
        "told": "It is sunny",
        "models": ["echo:latest", "breaks:latest", "thinks:latest"],
        "capabilities": ["completion", "embedding", "insert", "thinking", "tools", "vision"],
        "embeddings": [64, 64],
        "unknown": ["ResponseError", 404, "model 'nope' not found"],
        "unknownStream": ["ResponseError", 404, "model 'nope' not found"],
        "refused": ["ResponseError", 400, 'option "stop" must be of type array'],
        "broken": ["Error", None, "the backend failed"],
    }


def test_openais_package_reads_all_that_it_asks_for(url: str, packages: Path) -> None:
    city = {"name": "text", "people": 0}
    assert told("openai.mjs", url, packages) == {
        "text": "one two three",
        "pieces": ["", "one", " two", " three", None],
        "helper": ["one two three", "stop", 6],
        "runTools": "It is sunny in Oslo",
        "runToolsStream": "It is sunny in Oslo",
        "parsed": city,
        "models": ["echo", "breaks", "thinks"],
        "unknown": ["NotFoundError", 404, "model_not_found"],
        "unknownStream": ["NotFoundError", 404, "model_not_found"],
        "refused": ["BadRequestError", 400, "empty_array"],
        "broken": ["APIError", None, "the backend failed"],
        "response": "one two",
        "responseStream": "one two",
        "responseParsed": city,
        "responseCall": ["function_call", "get_weather", {"city": "Oslo"}],
        "responseUnknown": ["NotFoundError", 404, "model_not_found"],
        "responseBroken": ["APIError", None, "the backend failed"],
    }


def test_the_ai_sdk_reads_all_that_it_asks_for(url: str, packages: Path) -> None:
    expected = {
        "text": ["one two three", "stop", 6],
        "pieces": ["one", " two", " three"],
        "usage": 6,
        "tools": "It is sunny in Oslo",
        "toolsStream": "It is sunny in Oslo",
        "object": {"name": "text", "people": 0},
        "unknown": ["AI_APICallError", 404, UNKNOWN],
        "broken": ["one", " two", "the backend failed"],
    }
    found = told("ai.mjs", url, packages)

    assert found == {"compatible": expected, "chat": expected, "responses": expected}
