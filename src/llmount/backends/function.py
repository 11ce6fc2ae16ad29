"""One async generator function as a backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias

from ..errors import ModelNotFound
from ..types import Backend, Event, Finish, Model, Prompt, TextDelta, Usage

__all__ = ["FunctionBackend", "backend"]

Answering: TypeAlias = Callable[[Prompt], AsyncGenerator[str | Event, None]]


class FunctionBackend:
    """Answers with what the function yields: events, or a str for a piece of text.

    The function need not yield a `Finish`; one is added, with one token counted for every
    event. A prompt for a name that is not in `models` raises `ModelNotFound`.
    """

    def __init__(self, function: Answering, models: Sequence[str | Model]) -> None:
        self.function = function
        self._models = {
            model.name: model
            for model in (Model(name=each) if isinstance(each, str) else each for each in models)
        }

    async def models(self) -> Sequence[Model]:
        return tuple(self._models.values())

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        if prompt.model not in self._models:
            raise ModelNotFound(prompt.model)
        count = 0
        async with aclosing(self.function(prompt)) as pieces:
            async for piece in pieces:
                yield TextDelta(piece) if isinstance(piece, str) else piece
                if isinstance(piece, Finish):
                    return
                count += 1
        yield Finish(usage=Usage(completion=count))


def backend(*models: str | Model) -> Callable[[Answering], Backend]:
    """Make a backend of an async generator function:

    @backend("parrot")
    async def parrot(prompt):
        yield prompt.messages[-1].text
    """
    return lambda function: FunctionBackend(function, models)
