"""An ASGI app as a server on a port of this machine, so that all checks go one way."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["AppNotFound", "load", "served"]

_SECONDS = 30.0


class AppNotFound(LookupError):
    """There is no such app; the text says why."""


def load(name: str) -> Any:
    """The app that `module:app` names, from the working directory too. Raises `AppNotFound`."""
    module_name, _, attributes = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise AppNotFound(f"cannot import {module_name}: {error!r}") from error
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise AppNotFound(f"{module_name} has no {attributes}") from None
    if not callable(found):
        raise AppNotFound(f"{name} is no ASGI app")
    return found


@contextmanager
def served(app: Any, *, port: int = 0, **settings: Any) -> Iterator[str]:
    """The URL of a server of the app, for as long as the block lasts.

    port: 0 for any that is free. settings: of uvicorn. Raises RuntimeError if it does not
    start, OSError if the port is not free, ImportError without uvicorn.
    """
    import uvicorn

    settings = {"log_level": "error", "access_log": False, "lifespan": "auto", **settings}
    config = uvicorn.Config(app, **settings)
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        if sys.platform != "win32":
            # So that a port can be had again that was just left.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        # Before the thread runs, so that the first request waits instead of failing.
        listening.listen(128)
        port = listening.getsockname()[1]
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, name="served", daemon=True
        )
        thread.start()
        try:
            _wait(server, thread)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(_SECONDS)


def _wait(server: Any, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the app did not start: see its log")
        time.sleep(0.005)
