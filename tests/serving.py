"""The real command in a process of its own, for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

READY = re.compile(r"Serving .* at (http://\S+) ")


@dataclass
class Served:
    """A running `llmount serve`: its address, its process and what it has printed."""

    url: str
    process: subprocess.Popen[str]
    printed: list[str] = field(default_factory=list)

    def stop(self, timeout: float = 20) -> int:
        """Ask it to stop; its exit status."""
        self.process.terminate()
        return self.process.wait(timeout)


@contextmanager
def serve(
    *arguments: str, timeout: float = 60, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """`llmount serve` with these arguments on a free port, ready to answer.

    environment: variables besides those that there are.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "llmount", "serve", "--port", "0", *arguments],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    served = Served("", process)
    ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            served.printed.append(line)
            if match := READY.match(line):
                served.url = match[1]
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert ready.wait(timeout), "the server did not start in time"
        assert served.url, "".join(served.printed)
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(10)
        if process.stdout is not None:
            process.stdout.close()
