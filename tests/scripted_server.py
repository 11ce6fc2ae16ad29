"""A real server for clients that need more than an echo: it calls tools, thinks and fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llmount import EchoBackend, chat_app, gateway, generate_app
from llmount.backends.echo import Fail, Step, echo
from llmount.errors import BackendError
from llmount.types import Capability, Finish, Model, Prompt, TextDelta, ToolCallDelta, Usage
from tests.mounting.servers import serving

__all__ = ["scripted"]

MODELS = ("echo", "breaks", "thinks")


def script(prompt: Prompt) -> Iterator[Step]:
    """Calls the first tool that there is with `{"city": "Oslo"}`, then says what it returned;
    without tools it echoes. The model "breaks" fails after two words."""
    answered = bool(prompt.messages) and prompt.messages[-1].role == "tool"
    if prompt.model == "breaks":
        yield TextDelta("one")
        yield TextDelta(" two")
        yield Fail(BackendError())
    elif answered:
        yield TextDelta("It is ")
        yield TextDelta(prompt.messages[-1].text)
        yield Finish(usage=Usage(prompt=9, completion=2))
    elif prompt.tools and prompt.tool_choice != "none":
        yield ToolCallDelta(0, "call_abc", prompt.tools[0].name)
        yield ToolCallDelta(0, arguments='{"city"')
        yield ToolCallDelta(0, arguments=': "Oslo"}')
        yield Finish(reason="tool_calls", usage=Usage(prompt=5, completion=7))
    else:
        yield from echo(prompt)


@contextmanager
def scripted() -> Iterator[str]:
    """The address of a server with `/api`, and with chat completions and responses at `/v1`."""
    backend = EchoBackend(script, models=[_model(name) for name in MODELS])
    chat = [chat_app(backend), chat_app(backend, dialect="responses")]
    app = gateway({"/api": generate_app(backend), "/v1": chat}, check_answers=True)
    with serving(app) as (host, port):
        yield f"http://{host}:{port}"


def _model(name: str) -> Model:
    thinks: set[Capability] = {"thinking"} if name == "thinks" else set()
    return Model(
        name=name,
        context_length=4096,
        embedding_length=64,
        capabilities=frozenset({"completion", "tools", "insert", "vision", "embedding", *thinks}),
    )
