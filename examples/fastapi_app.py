"""An API in a FastAPI application, for holders of a key: `uvicorn examples.fastapi_app:app`.

curl localhost:8000/v1/chat/completions -H 'Authorization: Bearer secret' \
    -d '{"model": "echo", "messages": [{"role": "user", "content": "Hello there"}]}'

FastAPI's dependencies do not reach what is mounted, so the key is asked for by a plain
ASGI middleware around the mounted app.
"""

import hmac
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from llmount import EchoBackend, chat_app

KEY = "secret"


class RequireKey:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sent = Headers(scope=scope).get("authorization", "")
        answer = self.app
        if not hmac.compare_digest(sent.encode(), f"Bearer {KEY}".encode()):
            error = {"message": "Incorrect API key provided.", "type": "invalid_request_error"}
            answer = JSONResponse(
                {"error": {**error, "param": None, "code": "invalid_api_key"}}, 401
            )
        await answer(scope, receive, send)


app = FastAPI(title="My own API")


@app.get("/")
async def home() -> dict[str, str]:
    return {"models": "/v1/models"}


app.mount("/v1", RequireKey(chat_app(EchoBackend())))
