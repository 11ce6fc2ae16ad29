"""Load on one server: wrk on one processor, the server on another, both measured."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from servers import Server, pinned
from workloads import Workload

__all__ = ["Answer", "Measured", "ask", "measure", "write_script"]

CONNECTIONS = 32

_SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = %s

function done(summary, latency, requests)
  io.write(string.format(
    '\\n{"requests": %%d, "microseconds": %%d, "p50": %%d, "refused": %%d, "broken": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, looked at before the load begins."""

    size: int
    items: int


@dataclass(frozen=True, slots=True)
class Measured:
    """requests: a second. p50: milliseconds. cpu: microseconds of the server's processor
    time a request; None where the system does not tell."""

    requests: float
    p50: float
    cpu: float | None


def write_script(workload: Workload, folder: Path) -> Path:
    """The Lua script that makes wrk send this request."""
    script = folder / f"{workload.name.replace(' ', '-')}.lua"
    # A JSON string of ASCII text is a Lua string too.
    script.write_text(_SCRIPT % json.dumps(workload.content.decode()))
    return script


def ask(server: Server, workload: Workload) -> Answer:
    """One request, not measured. Raises `OSError` for anything but 200."""
    request = urllib.request.Request(
        server.url + workload.path,
        data=workload.content,
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        content: bytes = response.read()
        kind = response.headers["content-type"]
    if "event-stream" in kind:
        items = sum(line.startswith(b"data:") for line in content.splitlines())
    elif workload.stream:
        items = sum(bool(line.strip()) for line in content.splitlines())
    else:
        items = 1
    return Answer(len(content), items)


def measure(server: Server, workload: Workload, script: Path, seconds: float) -> Measured:
    """Raises `RuntimeError` if any request failed."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    before = server.cpu_seconds()
    run = subprocess.run(
        [*pinned(1), *command, server.url + workload.path],
        capture_output=True,
        text=True,
        check=True,
    )
    after = server.cpu_seconds()
    told = json.loads(run.stdout.splitlines()[-1])
    if told["refused"] or told["broken"] or not told["requests"]:
        raise RuntimeError(f"{server.name}, {workload.name}: requests failed:\n{run.stdout}")
    cpu = None
    if before is not None and after is not None:
        cpu = (after - before) / told["requests"] * 1e6
    return Measured(told["requests"] / told["microseconds"] * 1e6, told["p50"] / 1000, cpu)
