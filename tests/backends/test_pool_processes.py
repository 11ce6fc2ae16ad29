"""A pool before real servers in processes of their own, one of which is killed under load."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving import serve
from tests.upstream import PROMPT, collect, text_of
from tests.worded_app import WORDS

from llmount import chat_app, gateway, generate_app
from llmount.backends.http import OllamaBackend, OpenAIBackend
from llmount.backends.pool import Circuit, Member, PoolBackend
from llmount.errors import BackendUnavailable
from llmount.testing.transport import ASGITransport

pytestmark = [
    pytest.mark.anyio,
    # httpx leaves inner generators of its own unclosed, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator 'http(x|core):ResourceWarning"),
]

ROOT = Path(__file__).parents[2]


@dataclass
class Process:
    url: str
    port: int
    popen: subprocess.Popen[bytes]

    async def asked(self) -> int:
        """How many have asked it; waits until it has started."""
        async with httpx.AsyncClient(timeout=30) as http:
            return int((await http.get(f"{self.url}/asked")).text)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(10)


@contextmanager
def worded(name: str, port: int = 0) -> Iterator[Process]:
    """`tests.worded_app` under uvicorn, which can be killed."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        port = listener.getsockname()[1]
        # The child has the only listening socket, so that its death is a refused connection.
        popen = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "tests.worded_app:app", f"--fd={listener.fileno()}"],
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "WORDED": name},
            pass_fds=[listener.fileno()],
        )
    try:
        process = Process(f"http://127.0.0.1:{port}", port, popen)
        yield process
    finally:
        process.kill()


@dataclass
class Answer:
    """What a client has read. words: of the text; ended: with what claims success."""

    path: str
    begun: anyio.Event = field(default_factory=lambda: anyio.Event())
    words: list[str] = field(default_factory=list)
    status: int = 0
    error: str = ""
    ended: bool = False


async def read(http: httpx.AsyncClient, model: str, answer: Answer) -> None:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Go"}]}
    text = ""
    async with http.stream("POST", answer.path, json=body) as response:
        answer.status = response.status_code
        async for line in response.aiter_lines():
            line = line.removeprefix("data: ")
            if line == "[DONE]":
                answer.ended = True
            elif line.startswith("{"):
                item = json.loads(line)
                answer.error += str(item.get("error", ""))
                answer.ended |= item.get("done") is True
                text += said(item)
                answer.words = text.split()
                if answer.words:
                    answer.begun.set()


def said(item: dict[str, Any]) -> str:
    parts = [item.get("message"), *(each["delta"] for each in item.get("choices", ()))]
    return "".join(part.get("content") or "" for part in parts if part)


@pytest.mark.parametrize("upstream", [OllamaBackend, OpenAIBackend])
async def test_killing_a_server_under_load_loses_no_request_that_had_not_begun(
    upstream: type[OllamaBackend | OpenAIBackend],
) -> None:
    below = "" if upstream is OllamaBackend else "/v1"
    with ExitStack() as stack, anyio.fail_after(60):
        a, b = (stack.enter_context(worded(name)) for name in "AB")
        backends = [upstream(process.url + below) for process in (a, b)]
        several = PoolBackend([Member(backend) for backend in backends])
        assert [await a.asked(), await b.asked()] == [0, 0]
        app = gateway({"/v1": chat_app(several), "/api": generate_app(several)})
        early, late = ([Answer(path) for path in PATHS * 10] for _ in range(2))
        async with (
            httpx.AsyncClient(
                transport=ASGITransport(app), base_url="http://pool", timeout=None
            ) as http,
            anyio.create_task_group() as tasks,
        ):
            for answer in early:
                tasks.start_soon(read, http, "now", answer)
            for answer in early:
                await answer.begun.wait()
            for answer in late:
                tasks.start_soon(read, http, "later", answer)
            while [await a.asked(), await b.asked()] != [20, 20]:
                pass
            assert several.busy == [20, 20]
            assert not any(answer.words for answer in late)
            a.kill()
        await several.aclose()

    assert all(answer.status == 200 for answer in early + late)
    for answer in early + late:
        name = answer.words[0][0]
        whole = [f"{name}{number}" for number in range(WORDS)]
        if name == "A":
            assert answer in early
            assert answer.words == whole[: len(answer.words)]
            assert answer.error
            assert not answer.ended
        else:
            assert answer.words == whole
            assert not answer.error
            assert answer.ended
    assert Counter(answer.words[0][0] for answer in early) == {"A": 10, "B": 10}
    assert Counter(answer.words[0][0] for answer in late) == {"B": 20}


PATHS = ["/v1/chat/completions", "/api/chat"]


async def test_a_server_that_comes_back_is_asked_again() -> None:
    with ExitStack() as stack, anyio.fail_after(60):
        a, b = (stack.enter_context(worded(name)) for name in "AB")
        several = PoolBackend(
            [Member(OpenAIBackend(f"{each.url}/v1"), tier=n) for n, each in enumerate((a, b))],
            circuit=Circuit(failures=2, cooldown=0.1),
        )
        assert [await a.asked(), await b.asked()] == [0, 0]
        assert await begins(several) == "A0 "
        a.kill()
        assert await begins(several) == "B0 "
        again = stack.enter_context(worded("C", a.port))
        assert await again.asked() == 0
        while await begins(several) != "C0 ":
            pass
        await several.aclose()


async def begins(backend: PoolBackend) -> str:
    async with aclosing(backend.generate(replace(PROMPT, model="now"))) as events:
        return text_of([await anext(events)])


async def test_a_pool_of_two_of_our_own_servers_has_their_models() -> None:
    with serve("--model", "one=echo") as one, serve("--model", "two=echo") as two:
        several = PoolBackend([Member(OpenAIBackend(f"{each.url}/v1")) for each in (one, two)])
        with anyio.fail_after(30):
            assert {model.name for model in await several.models()} >= {"one", "two"}
            for model in ("one", "two"):
                assert text_of(await collect(several, replace(PROMPT, model=model))) == "Hello"
            one.process.kill()
            one.process.wait(10)
            assert text_of(await collect(several, replace(PROMPT, model="two"))) == "Hello"
            with pytest.raises(BackendUnavailable):
                await collect(several, replace(PROMPT, model="one"))
            await several.aclose()
