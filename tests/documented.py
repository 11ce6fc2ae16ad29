"""The documents as test data: their operations, their examples, and apps that know both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmount import EchoBackend, ScriptedImageBackend, ai_app, chat_app, generate_app
from llmount.app import App
from llmount.contract import Contract, Operation

__all__ = ["MODELS", "SERVED", "app", "bodies", "carriers", "operations", "resolve"]

SERVED = ("ai/geenii", "chat/openai", "generate/ollama")
"""The dialects that are tested in depth, one of each family."""

MODELS: Mapping[str, Sequence[str]] = {
    "generate": ["echo"],
    "chat": ["echo"],
    "ai": ["mine:echo", "openai:dall-e-2"],
}
"""Models that answer, by family; the last one of `ai` draws."""


def operations(*, with_body: bool = False) -> Iterator[tuple[str, str]]:
    """Document and id of every operation, or of those that take a body."""
    for name in SERVED:
        for operation in Contract.load(name).operations.values():
            if operation.body is not None or not with_body:
                yield name, operation.id


def app(name: str, **options: Any) -> App:
    """An app of the document over backends that echo, for every model of its examples."""
    family, _, dialect = name.partition("/")
    backend = EchoBackend(models=sorted({*_named(name), "echo"}))
    options["dialect"] = dialect
    match family:
        case "generate":
            images = ScriptedImageBackend(["stable-diffusion"])
            return generate_app(backend, images=images, **options)
        case "chat":
            return chat_app(backend, **options)
    drawing = ScriptedImageBackend()
    return ai_app(
        {"mine": backend, "ollama": backend, "openai": backend},
        images={"openai": drawing},
        **options,
    )


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
