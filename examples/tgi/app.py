"""A dialect of one's own over a backend: `uvicorn examples.tgi.app:app`.

curl localhost:8000/generate -H 'Content-Type: application/json' \
    -d '{"inputs": "Tell me a joke."}'
"""

from examples.tgi.tgi import TGI

from llmount import EchoBackend, generate_app

backend = EchoBackend()
app = generate_app(backend, dialect=TGI(backend, "echo"))
