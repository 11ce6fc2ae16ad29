"""Servers under test: one process of one worker each."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

__all__ = ["Server", "pinned", "uvicorn"]

HERE = Path(__file__).parent


class Server(AbstractContextManager["Server"]):
    """A server that runs while this is entered.

    command: `{port}` in it becomes a free port. Entering waits until the port answers,
    at most `patience` seconds, and raises `RuntimeError` with what the server said if it
    does not.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        patience: float = 30.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._patience = patience
        self._environment = environment or {}

    def __enter__(self) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [*pinned(0), *(word.replace("{port}", str(port)) for word in self._command)],
            cwd=HERE,
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + self._patience
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                said, _ = self._process.communicate()
                raise RuntimeError(f"{self.name} did not start:\n{said}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def cpu_seconds(self) -> float | None:
        """Processor time that the process has used; None where there is no /proc."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def uvicorn(name: str, app: str, *options: str, python: str = sys.executable) -> Server:
    """An app under uvicorn with its fastest parts, one worker."""
    command = [python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "{port}"]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    command += ["--log-level", "warning", "--lifespan", "off", *options]
    return Server(name, command)


def pinned(number: int) -> list[str]:
    """The words before a command that keep it on one processor, where that is possible."""
    if shutil.which("taskset") is None or not hasattr(os, "sched_getaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(allowed[number])] if len(allowed) > number else []
