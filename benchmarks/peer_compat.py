"""fastapi-openai-compat over an echo: what its environment serves, see `peers`."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi_openai_compat import CompletionResult, create_openai_router

__all__ = ["app"]


def _run(model: str, messages: list[dict[str, Any]], body: dict[str, Any]) -> CompletionResult:
    text: str = messages[-1]["content"]
    return _words(text) if body.get("stream") else text


def _words(text: str) -> Iterator[str]:
    first, *rest = text.split(" ")
    yield first
    for word in rest:
        yield f" {word}"


app = FastAPI()
app.include_router(create_openai_router(list_models=lambda: ["echo"], run_completion=_run))
