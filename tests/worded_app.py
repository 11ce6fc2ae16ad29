"""An app that says its own name word by word, for processes that are to be killed.

The model `now` begins at once and takes two seconds, `later` waits a second first. `/asked`
tells how many have asked them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router

from llmount import backend, chat_app, gateway, generate_app
from llmount.types import Prompt

__all__ = ["WORDS", "app"]

WORDS = 40
asked = 0


@backend("now", "later")
async def worded(prompt: Prompt) -> AsyncGenerator[str, None]:
    global asked
    asked += 1
    if prompt.model == "later":
        await anyio.sleep(1)
    for number in range(WORDS):
        yield f"{os.environ['WORDED']}{number} "
        await anyio.sleep(0.05 if prompt.model == "now" else 0)


def tell(request: Request) -> Response:
    return Response(str(asked))


apps = gateway({"/v1": chat_app(worded), "/api": generate_app(worded)})
app = Router([Route("/asked", tell), Mount("/", apps)])
