"""An app on loopback, and curl commands that reach it whatever address they name."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

__all__ = ["Curl", "curling"]

SECONDS = 20.0
"""How long anything here may take before its test fails."""


@dataclass(frozen=True)
class Curl:
    """A server at `url`; `home` has the .curlrc that leads every command there."""

    url: str
    home: Path

    def __call__(self, command: str) -> str:
        """What a shell prints for the command, which has to succeed."""
        done = subprocess.run(
            ["sh", "-c", command],
            env={"CURL_HOME": str(self.home), "PATH": "/usr/bin:/bin:/usr/local/bin"},
            capture_output=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@contextmanager
def curling(app: Any, home: Path) -> Iterator[Curl]:
    """Serve the app from a thread, with a parser that takes a method in any case."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        config = uvicorn.Config(app, http="h11", ws="none", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        home.joinpath(".curlrc").write_text(
            f'silent\nshow-error\nnoproxy = "*"\nconnect-to = "::{host}:{port}"\n'
        )
        try:
            yield Curl(f"http://{host}:{port}", home)
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive(), "the server did not stop"
