"""The checks of models, of vectors, of pictures, and of what only Ollama has: each finds the
fault that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from llmount.check.registry import CHECKS
from llmount.check.verdict import Verdict

from .breaking import Answer, Edit, altered, whole
from .own import OWN, checked, told
from .proving import proves

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]

AREAS = ("models", "ollama", "images")


def at(end: str, change: Callable[[Any], object]) -> Edit:
    """Change the answers of the path with this end."""

    def edit(answer: Answer) -> None:
        if answer.path.endswith(end):
            whole(change)(answer)

    return edit


def status(number: int, *ends: str, content: bytes | None = None) -> Edit:
    """The answers of the paths with these ends have this status."""

    def edit(answer: Answer) -> None:
        if answer.path.endswith(ends):
            answer.status = number
            answer.content = answer.content if content is None else content

    return edit


def loaded(reason: str, instead: str) -> Edit:
    def change(value: Any) -> None:
        if value.get("done_reason") == reason:
            value["done_reason"] = instead

    return whole(change)


def still_loaded(value: Any) -> None:
    value["models"] = [{"name": "echo:latest", "model": "echo:latest"}]


def other_loaded(value: Any) -> None:
    value["models"] = [{"name": "other:latest", "model": "other:latest", "details": {"a": 1}}]


def swapped(value: Any) -> None:
    """The vectors of two texts, each in the place of the other."""
    second, first = value["data"][1], value["data"][0]
    first["embedding"], second["embedding"] = second["embedding"], first["embedding"]


def twice(name: str) -> Callable[[Any], object]:
    return lambda value: value[name].extend(list(value[name]))


CODED = "AAAAAAAA"

FAULTS: list[tuple[str, str, Edit]] = [
    ("chat/openai", "models.schema", at("/models", lambda v: v.update(data=None))),
    ("chat/openai", "models.schema", at("/models", lambda v: v["data"][0].pop("id"))),
    ("generate/ollama", "models.schema", at("/tags", lambda v: v.update(models=None))),
    ("generate/codeinferflow", "models.schema", at("/tags", lambda v: v.update(models=None))),
    ("chat/codeinferflow", "models.schema", at("/health", lambda v: v.update(chat_model=5))),
    ("ai/geenii", "models.schema", at("/models", lambda v: v[0].pop("name"))),
    ("chat/azure", "models.exact", at("/models", lambda v: v["data"][0].pop("owned_by"))),
    ("generate/ollama", "models.there", status(404, "/ps")),
    ("chat/openai", "models.unique", at("/models", twice("data"))),
    ("generate/ollama", "models.unique", at("/tags", twice("models"))),
    ("chat/openai", "models.retrieve", status(404, "/models/echo")),
    ("chat/openai", "models.retrieve", at("/models/echo", lambda v: v.update(id="other"))),
    ("chat/openai", "models.unknown", status(200, "c0ffee", content=b"{}")),
    ("chat/openai", "models.unknown", status(404, "c0ffee", content=b"Not Found")),
    ("chat/openai", "models.embeddings", at("/embeddings", lambda v: v["data"].pop())),
    ("chat/openai", "models.embeddings",
     at("/embeddings", lambda v: v["data"][0]["embedding"].pop())),
    ("chat/openai", "models.embeddings", at("/embeddings", lambda v: v["data"].reverse())),
    ("generate/ollama", "models.embeddings", at("/embed", lambda v: v["embeddings"].pop())),
    ("chat/openai", "models.embeddings-base64",
     at("/embeddings", lambda v: v["data"][0].update(embedding=CODED))),
    ("generate/ollama", "ollama.version", at("/version", lambda v: v.update(version="dev"))),
    ("generate/ollama", "ollama.show", at("/show", lambda v: v.pop("model_info"))),
    ("generate/ollama", "ollama.show", status(404, "/show")),
    ("generate/ollama", "ollama.capabilities", at("/show", lambda v: v.pop("capabilities"))),
    ("generate/ollama", "ollama.load", loaded("load", "stop")),
    ("generate/ollama", "ollama.load", at("/ps", other_loaded)),
    ("generate/ollama", "ollama.unload", loaded("unload", "load")),
    ("generate/ollama", "ollama.unload", at("/ps", still_loaded)),
    ("chat/openai", "images.schema", at("/generations", lambda v: v.update(data=None))),
    ("chat/openai", "images.exact", at("/generations", lambda v: v.pop("created"))),
    ("chat/openai", "images.picture",
     at("/generations", lambda v: v["data"][0].update(b64_json="AAAA", url=None))),
    ("chat/openai", "images.picture", at("/generations", twice("data"))),
    ("ai/geenii", "images.picture", at("/generate", lambda v: v.update(output=[{}]))),
    ("chat/openai", "models.some", at("/models", lambda v: v["data"].clear())),
    ("chat/openai", "models.embeddings-order", at("/embeddings", swapped)),
    ("chat/openai", "models.embeddings-format",
     at("/embeddings", lambda v: [each.update(embedding=[0.5]) for each in v["data"]])),
    ("generate/ollama", "ollama.tags", status(404, "/tags")),
    ("generate/ollama", "ollama.show-unknown", status(400, "/show")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("contract", "name", "edit"), FAULTS, ids=[f"{contract} {name}" for contract, name, _ in FAULTS]
)
async def test_a_fault_of_models_is_found(contract: str, name: str, edit: Edit) -> None:
    await proves(name, contract, edit)


def test_every_check_of_models_has_a_fault() -> None:
    checks = {name for name, check in CHECKS.items() if check.area in AREAS}
    assert checks == {name for _, name, _ in FAULTS}


async def test_a_model_with_the_same_weights_may_be_the_one_that_is_loaded() -> None:
    def same(answer: Answer) -> None:
        at("/show", lambda v: v.update(details={"family": "llama"}))(answer)
        at("/ps", other_loaded)(answer)
        at("/ps", lambda v: v["models"][0].update(details={"family": "llama"}))(answer)

    app = altered(OWN["generate/ollama"](), same)
    results = await checked(app, "generate/ollama", "ollama.load")
    assert [result.verdict for result in results] == [Verdict.PASS], told(results)


LACKING: Mapping[str, Edit] = {
    "models.embeddings": status(501, "/embeddings"),
    "models.embeddings-base64": status(404, "/embeddings"),
    "images.picture": status(404, "/generations"),
    "models.schema": status(404, "/models"),
}


@pytest.mark.parametrize("name", LACKING)
async def test_what_a_server_has_not_is_no_finding(name: str) -> None:
    results = await checked(altered(OWN["chat/openai"](), LACKING[name]), "chat/openai", name)
    assert [result.verdict for result in results] == [Verdict.UNSUPPORTED], told(results)
