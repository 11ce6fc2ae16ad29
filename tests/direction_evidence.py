"""How it is found out whether something gets through: what comes out with and without it.

Whatever makes no difference is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import anyio

from llmount.dialects.client import Client
from llmount.dialects.ollama_client import OLLAMA
from llmount.dialects.openai_client import OPENAI
from llmount.dialects.openai_client_request import HOSTED
from llmount.dialects.openai_client_request import request as openai_request
from llmount.dialects.responses_client import RESPONSES
from llmount.errors import Unsupported
from llmount.types import Event, Finish, Prompt, Timings, ToolCallDelta
from tests.direction_models import open_engine
from tests.direction_prompts import Asked

__all__ = ["UPSTREAMS", "Verdict", "answer_of", "of_engine", "of_upstream"]

Verdict: TypeAlias = Literal["carried", "dropped", "refused"]

UPSTREAMS: Mapping[str, Client] = {
    "ollama": OLLAMA,
    "openai": OPENAI,
    "hosted": replace(OPENAI, request=partial(openai_request, settings=HOSTED)),
    "responses": RESPONSES,
}


def of_upstream(upstream: str, asked: Asked) -> Verdict:
    """By the requests that go out."""
    without, with_ = asked.prompts("m")
    send = UPSTREAMS[upstream].request
    try:
        sent = send(with_)
    except Unsupported:
        return "refused"
    return "dropped" if sent == send(without) else "carried"


def of_engine(engine: str, asked: Asked, folder: Path) -> Verdict:
    """By the answers of a real, tiny model, whose files are kept in the folder."""
    model, sampling = "babbles", {"temperature": 1.0, "seed": 1, "max_tokens": 40}
    if "parallel_tool_calls" in asked.fields:
        model, sampling = "calls", {"temperature": 0.0, "max_tokens": 100}
    without, with_ = asked.prompts("m", **sampling)
    try:
        told = anyio.run(_told, open_engine(engine, model, folder), with_)
    except Unsupported:
        return "refused"
    plain = anyio.run(_told, open_engine(engine, model, folder), without)
    return "dropped" if told == plain else "carried"


async def _told(backend: Any, prompt: Prompt) -> Any:
    """What it says and how many hours it stays, without what differs from answer to answer."""
    try:
        said = await answer_of(backend, prompt)
        (resident,) = await backend.resident()
    finally:
        await backend.aclose()
    hours = None if resident.expires is None else round((resident.expires - time.time()) / 3600)
    return hours, [_comparable(event) for event in said]


async def answer_of(backend: Any, prompt: Prompt) -> list[Event]:
    with anyio.fail_after(60):
        async with aclosing(backend.generate(prompt)) as events:
            return [event async for event in events]


def _comparable(event: Event) -> Event:
    if isinstance(event, Finish):
        return replace(event, timings=Timings())
    if isinstance(event, ToolCallDelta) and event.id is not None:
        return replace(event, id="")
    return event
