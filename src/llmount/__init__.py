"""Mount the APIs that clients of language models speak.

    from llmount import EchoBackend, chat_app

    app.mount("/v1", chat_app(EchoBackend()))

`generate_app`, `chat_app` and `ai_app` make the three families' apps, `gateway` puts
several of them under one root. A backend is anything with `generate` and `models`:
see `llmount.types.Backend`. Here are the backends that need nothing but this package; those
for other servers and for engines are imported from `llmount.backends`, each from its file.
"""

from .access import KeysRequired, Limits
from .app import App, ContractMismatch, ai_app, chat_app, gateway, generate_app
from .backends.echo import EchoBackend
from .backends.function import FunctionBackend, backend
from .backends.images import ScriptedImageBackend
from .backends.pool import PoolBackend
from .backends.routing import RoutingBackend
from .backends.speech import ScriptedSpeechBackend, ScriptedTranscriptionBackend
from .contract import Contract

__all__ = [
    "App",
    "Contract",
    "ContractMismatch",
    "EchoBackend",
    "FunctionBackend",
    "KeysRequired",
    "Limits",
    "PoolBackend",
    "RoutingBackend",
    "ScriptedImageBackend",
    "ScriptedSpeechBackend",
    "ScriptedTranscriptionBackend",
    "__version__",
    "ai_app",
    "backend",
    "chat_app",
    "gateway",
    "generate_app",
]

__version__ = "0.1.0"
