"""What real clients do on each fault, in the words of the table in `docs/pytest.md`.

`python -m tests.plugin.client_faults` prints the table. The clients mostly wait, so all cells
are made at once, each with a server of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from queue import SimpleQueue
from typing import Any, Final

import ollama
import openai

from llmount.testing.reference.connections import Port
from llmount.testing.reference.server import ReferenceServer

__all__ = ["FAULTS", "outcome", "rows", "title"]

_PATIENCE: Final = 1.0
"""Seconds that a client is to bear of a silence."""

_SILENCE: Final = 10.0
_LONGEST: Final = 60.0
"""Seconds for whatever is not about silence, however busy the machine."""

_AT_ONCE: Final = 12
_QUESTION: Final = [{"role": "user", "content": "one two three four five"}]

FAULTS: Final[Mapping[str, Callable[[ReferenceServer], object]]] = {
    "429 with `Retry-After: 1`": lambda server: server.fault.rate_limit(retry_after=1),
    "503": lambda server: server.fault.outage(),
    "connection reset": lambda server: server.fault.reset(),
    "silence before the first token": lambda server: server.fault.slow_first_token(
        _SILENCE, times=None
    ),
    "silence after two items": lambda server: server.fault.stall(seconds=_SILENCE, times=None),
    "cut connection": lambda server: server.fault.truncate(after_items=2, cut=True),
    "answer that ends early": lambda server: server.fault.truncate(after_items=2),
    "malformed item": lambda server: server.fault.malformed(),
    "item that comes twice": lambda server: server.fault.duplicate(),
    "error in the stream": lambda server: server.fault.error_in_band(),
    "wrong content type": lambda server: server.fault.wrong_content_type(),
    "call with broken arguments": lambda server: (
        server.say(tool_call=("weather", {"city": "Oslo"})),
        server.fault.broken_tool_call(),
    ),
}
"""By what a row is called."""

_WRONG: Final = {
    "retry_after_ignored": "**asks again too early**",
    "unbounded_wait": "**waits for as long as it takes**",
}


def _openai(server: ReferenceServer, stream: bool, patience: float) -> None:
    with openai.OpenAI(base_url=server.openai_url, api_key="none", timeout=patience) as client:
        answer: Any = client.chat.completions.create(model="gpt", messages=_QUESTION, stream=stream)
        if stream:
            list(answer)


def _ollama(server: ReferenceServer, stream: bool, patience: float) -> None:
    client = ollama.Client(host=server.ollama_url, timeout=patience, trust_env=False)
    try:
        answer: Any = client.chat("llama", _QUESTION, stream=stream)
        if stream:
            list(answer)
    finally:
        client._client.close()


CLIENTS: Final[Mapping[str, Callable[[ReferenceServer, bool, float], None]]] = {
    "openai": _openai,
    "ollama": _ollama,
}
"""By the names of their packages; each asks once, streamed or not, with a patience in
seconds."""


def outcome(server: ReferenceServer, fault: str, client: str, *, stream: bool) -> str:
    """What the client does, in a few words."""
    FAULTS[fault](server)
    raised = ""
    try:
        CLIENTS[client](server, stream, _PATIENCE if "silence" in fault else _LONGEST)
    except Exception as error:
        raised = f"`{type(error).__name__}`"
    verdict = server.verdict(accepted=not raised, patience=2 * _PATIENCE)
    tries = len(server.requests)
    if raised:
        return raised if tries == 1 else f"{raised} after {tries} tries"
    for id, words in _WRONG.items():
        if id in verdict.ids:
            return words
    if any(id.endswith(("_accepted", "_band_ignored")) for id in verdict.ids):
        return "**takes it for good**"
    return "asks again" if tries > 1 else "is not hit"


def rows() -> dict[str, str]:
    """The rows of the table, by their faults."""
    cells = [
        (fault, client, stream)
        for fault in FAULTS
        for client in CLIENTS
        for stream in (True, False)
    ]
    with ExitStack() as stack:
        # One after the other, because they set up the logging of all.
        ports = [stack.enter_context(Port(ReferenceServer().app)) for _ in range(_AT_ONCE)]
        pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE))
        free = SimpleQueue[Port]()
        for port in ports:
            free.put(port)
        told = dict(zip(cells, pool.map(partial(_cell, free), cells), strict=True))
    return {
        fault: f"| {fault} | {' | '.join(told[cell] for cell in cells if cell[0] == fault)} |"
        for fault in FAULTS
    }


def _cell(free: SimpleQueue[Port], cell: tuple[str, str, bool]) -> str:
    fault, client, stream = cell
    port = free.get()
    try:
        return outcome(ReferenceServer(port), fault, client, stream=stream)
    finally:
        free.put(port)


def title() -> str:
    """The first row, with the versions that are measured."""
    names = [f"{name} {version(name)}" for name in CLIENTS]
    return f"| fault | {' | '.join(f'{name}, streamed | {name}, whole' for name in names)} |"


def main() -> None:
    # It would tell of every fault.
    logging.getLogger("llmount").setLevel(logging.CRITICAL)
    print(title())
    print("|---" * (1 + 2 * len(CLIENTS)) + "|")
    print("\n".join(rows().values()))


if __name__ == "__main__":
    main()
