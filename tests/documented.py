"""The documents as test data: their operations, their examples, and apps that know both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmount import EchoBackend, ScriptedImageBackend, ai_app, chat_app, generate_app
from llmount.app import App
from llmount.backends.speech import ScriptedSpeechBackend, ScriptedTranscriptionBackend
from llmount.contract import Contract, Operation, names
from llmount.types import Backend

__all__ = [
    "MODELS",
    "SERVED",
    "app",
    "bodies",
    "carriers",
    "credentials",
    "named",
    "operations",
    "path_of",
    "resolve",
]

_KEY = "a-good-key"

SERVED = ("ai/geenii", "chat/openai", "generate/ollama")
"""The dialects whose app draws as well, one of each family."""

MODELS: Mapping[str, Sequence[str]] = {
    "generate": ["echo"],
    "chat": ["echo", "dall-e-2"],
    "ai": ["mine:echo", "hf:llama-2:latest", "whisper:whisper-1:latest", "openai:dall-e-2"],
}
"""Models that answer, by family; the last one of `chat` and of `ai` draws."""


def operations(*, with_body: bool = False) -> Iterator[tuple[str, str]]:
    """Document and id of every operation, or of those that take a body."""
    for name in names():
        for operation in Contract.load(name).operations.values():
            if operation.body is not None or not with_body:
                yield name, operation.id


def app(name: str, backend: Backend | None = None, **options: Any) -> App:
    """An app of the document over a backend for every model of its examples, or one that
    echoes."""
    family, _, dialect = name.partition("/")
    backend = backend or EchoBackend(models=named(name))
    options["dialect"] = dialect
    if credentials(name):
        options.setdefault("keys", [_KEY])
    match family:
        case "generate":
            if name in SERVED:
                options["images"] = ScriptedImageBackend(["stable-diffusion"])
            return generate_app(backend, **options)
        case "chat":
            if name in SERVED:
                options["images"] = ScriptedImageBackend()
            return chat_app(backend, **options)
    drawing = ScriptedImageBackend()
    return ai_app(
        {"mine": backend, "ollama": backend, "openai": backend},
        images={"openai": drawing},
        speech={"hf": ScriptedSpeechBackend(["llama-2:latest"])},
        transcription={"whisper": ScriptedTranscriptionBackend(["whisper-1:latest"])},
        **options,
    )


def credentials(name: str) -> dict[str, str]:
    """The headers that the app of the document wants to see; none where it has no keys."""
    secured = any(each.secured for each in Contract.load(name).operations.values())
    return {"authorization": f"Bearer {_KEY}"} if secured else {}


def path_of(operation: Operation) -> str:
    """The operation's path, its parameters filled in with the name of a model."""
    return re.sub("{[a-z]+}", "echo", operation.path)


def bodies(name: str, operation: Operation) -> list[Any]:
    """The examples of the operation's request, as new values."""
    contract = Contract.load(name)
    found = []
    for carrier in carriers(contract, operation):
        for example in carrier.get("examples", {}).values():
            found.append(_copied(resolve(contract, example)["value"]))
    return found


def carriers(contract: Contract, operation: Operation) -> Iterator[Mapping[str, Any]]:
    """The Media Type Objects of the operation's request."""
    described = contract.document["paths"][operation.path][operation.method.lower()]
    yield from resolve(contract, described["requestBody"])["content"].values()


def resolve(contract: Contract, node: Any) -> Any:
    """The node, or what its `$ref` points to."""
    while "$ref" in node:
        steps, node = node["$ref"].removeprefix("#/").split("/"), contract.document
        for key in steps:
            node = node[key]
    return node


def named(name: str) -> Sequence[str]:
    """The models of the document's examples, as a backend has them, and `echo`."""
    return sorted({*filter(None, _named(name)), "echo"})


def _named(name: str) -> Iterator[str]:
    for operation in Contract.load(name).operations.values():
        for body in bodies(name, operation) if operation.body else ():
            model = body.get("model") or body.get("name") or ""
            yield (
                model.partition(":")[2] if name.startswith("ai/") else model.removesuffix(":latest")
            )
    if name.startswith("ai/"):
        yield "mistral:latest"


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
