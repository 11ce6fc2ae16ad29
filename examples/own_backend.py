"""Backends of one's own, as a class and as a function: `uvicorn examples.own_backend:app`.

curl localhost:8000/shout/v1/chat/completions \
    -d '{"model": "shout", "messages": [{"role": "user", "content": "Hello there"}]}'
"""

from collections.abc import AsyncGenerator, Sequence

import anyio
from starlette.applications import Starlette
from starlette.routing import Mount

from llmount import backend, chat_app
from llmount.errors import ModelNotFound
from llmount.types import Event, Finish, Model, Prompt, TextDelta, Usage


class Shout:
    """Whatever has these two methods is a backend."""

    async def models(self) -> Sequence[Model]:
        return [Model(name="shout")]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        if prompt.model != "shout":
            raise ModelNotFound(prompt.model)
        words = prompt.messages[-1].text.upper().split()
        for number, word in enumerate(words):
            yield TextDelta(f" {word}" if number else word)
        yield Finish(usage=Usage(prompt=len(words), completion=len(words)))


@backend("count")
async def count(prompt: Prompt) -> AsyncGenerator[str, None]:
    for number in range(1, 11):
        await anyio.sleep(0.01)
        yield f"{number} "


app = Starlette(routes=[Mount("/shout/v1", chat_app(Shout())), Mount("/count/v1", chat_app(count))])
