"""Three APIs at one root, without any framework: `uvicorn examples.gateway_app:app`.

A host asks only the first of two apps that are mounted at the same prefix. So what has
to stand side by side at the root is one app, at the paths that clients expect.
"""

from llmount import EchoBackend, ScriptedImageBackend, ai_app, chat_app, gateway, generate_app

backend = EchoBackend()

app = gateway(
    {
        "/api": generate_app(backend),
        "/v1": chat_app(backend),
        "/ai/v1": ai_app({"echo": backend}, images={"draw": ScriptedImageBackend()}),
    }
)
