"""Two APIs in a Starlette application: `uvicorn examples.starlette_app:app`.

curl localhost:8000/api/generate -d '{"model": "echo", "prompt": "Hello there"}'
"""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from llmount import EchoBackend, chat_app, generate_app

backend = EchoBackend()


async def home(request: object) -> PlainTextResponse:
    return PlainTextResponse("My own page. Try /v1/docs and /api/docs.")


app = Starlette(
    routes=[
        Route("/", home),
        Mount("/api", generate_app(backend)),
        Mount("/v1", chat_app(backend)),
    ]
)
