"""The app under uvicorn: models loaded first, a greeting once it listens, a clean stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from socket import AF_INET6, socket
from types import FrameType

import uvicorn

from .origins import ASGIApp
from .types import Resident

__all__ = ["run"]

_GRACE = 10
"""Seconds that requests under way have to finish after SIGTERM or Ctrl-C."""


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        backend: Resident,
        local: Sequence[str],
        greeting: Callable[[str], str],
    ) -> None:
        super().__init__(config)
        self._backend = backend
        self._local = local
        self._greeting = greeting

    async def startup(self, sockets: list[socket] | None = None) -> None:
        for name in self._local:
            print(f"Loading {name} …", file=sys.stderr)
            await self._backend.load(name, -1)
        await super().startup(sockets)
        if self.started:
            print(self._greeting(self._url()), flush=True)

    def _url(self) -> str:
        listening = self.servers[0].sockets[0]
        host, port = listening.getsockname()[:2]
        if listening.family == AF_INET6:
            host = f"[{host}]"
        return f"http://{host}:{port}"

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            print("Stopping …", file=sys.stderr)
        super().handle_exit(sig, frame)


def run(
    app: ASGIApp,
    backend: Resident,
    local: Sequence[str],
    *,
    greeting: Callable[[str], str],
    host: str,
    port: int,
    access_log: bool = False,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status.

    local: the models to load before the first request. greeting: what to print once the
    server listens, given its URL. Requests under way have ten seconds to finish, then they
    are cancelled; a second signal does not wait.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        lifespan="on",
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, backend, local, greeting)
    try:
        server.run()
    except KeyboardInterrupt:
        # uvicorn raises the signal again once it has stopped; for Ctrl-C this is how.
        return 128 + signal.SIGINT
    except SystemExit:
        # What kept it from starting has been printed.
        return 1
    return 0
