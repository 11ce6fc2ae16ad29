"""How fast is llmount, as a share of what the same server does with a bare application?

    pip install "llmount[serve]"           # and wrk, from your system's packages
    python benchmarks/bench.py             # two minutes
    python benchmarks/bench.py --peers     # and fastapi-openai-compat and LiteLLM's proxy

One worker of uvicorn (httptools, uvloop) a server, wrk with 32 connections, the server and
wrk on a processor each. The servers take turns, round by round, so that a machine that
slows down slows them all; a ratio is taken within a round, and the median over the rounds.
The speed ratio is how many times as many requests or items llmount gives a second; the
CPU ratio, which a busy machine and a busy wrk do not distort, how many it gives for the
same processor time of the server. `docs/performance.md` says what is compared and what came out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from statistics import median

import peers
from load import CONNECTIONS, Measured, ask, measure, write_script
from servers import Server, pinned, uvicorn
from workloads import CHAT, WORKLOADS, Workload

_NEEDED = ("llmount", "uvicorn", "httptools", "uvloop")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of load a measurement")
    parser.add_argument("--only", metavar="WORD", default="", help="workloads with this word")
    parser.add_argument(
        "--peers",
        action="store_true",
        help="install the peers from PyPI into a virtual environment of their own each, "
        f"kept in {peers.FOLDER}, and measure them too",
    )
    options = parser.parse_args()
    if missing := list(_missing()):
        sys.exit("This needs " + "; ".join(missing) + ".")
    workloads = [each for each in WORKLOADS if options.only in each.name]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scripts = {each.name: write_script(each, folder) for each in workloads}
        ours = stack.enter_context(uvicorn("llmount", "apps:llmount_app"))
        others = [(uvicorn("bare", "apps:bare_app", "--factory"), workloads)]
        if options.peers:
            chat = [each for each in workloads if each in CHAT]
            others += [(server, chat) for server in peers.servers(folder)]
        else:
            print("The peers are skipped; --peers installs and measures them.\n")
        for server, _ in others:
            stack.enter_context(server)
        print(_circumstances(options.rounds, options.seconds))
        for workload in workloads:
            rivals = [server for server, can in others if workload in can]
            _compare(workload, ours, rivals, scripts[workload.name], options)


def _missing() -> Iterable[str]:
    if shutil.which("wrk") is None:
        yield "wrk on the PATH (apt install wrk, brew install wrk)"
    if lacking := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        yield f'{", ".join(lacking)} (pip install "llmount[serve]")'


def _circumstances(rounds: int, seconds: int) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _NEEDED)
    own = "a processor each for server and wrk" if pinned(1) else "no processor of their own"
    return (
        f"{date.today()}, {platform.python_implementation()} {platform.python_version()}, "
        f"{versions}; {os.cpu_count()} processors, {own}; {rounds} rounds of {seconds} s, "
        f"{CONNECTIONS} connections\n"
    )


def _compare(
    workload: Workload,
    ours: Server,
    rivals: Sequence[Server],
    script: Path,
    options: argparse.Namespace,
) -> None:
    servers = [ours, *rivals]
    answers = {server.name: ask(server, workload) for server in servers}
    rounds: list[dict[str, Measured]] = []
    for server in servers:
        measure(server, workload, script, 1)
    for number in range(options.rounds):
        # Each goes first in turn.
        turn = servers[number % len(servers) :] + servers[: number % len(servers)]
        rounds.append(
            {server.name: measure(server, workload, script, options.seconds) for server in turn}
        )
    print(f"### {workload.name}\n")
    unit = "items/s" if workload.stream else "requests/s"
    print(f"| server | {unit} | p50, ms | CPU, µs a request | speed ratio | CPU ratio |")
    print("| --- | ---: | ---: | ---: | --- | --- |")
    for server in servers:
        mine = [each[server.name] for each in rounds]
        items = answers[server.name].items
        cells = [
            f"{server.name}, {items} items" if workload.stream else server.name,
            f"{median(each.requests for each in mine) * items:,.0f}",
            f"{median(each.p50 for each in mine):.1f}",
            f"{median(cpu):,.0f}" if (cpu := [each.cpu for each in mine if each.cpu]) else "-",
        ]
        if server is ours:
            cells += ["", ""]
        else:
            # An item is the unit of a stream: not all have as many.
            share = answers[ours.name].items / items
            pairs = [(each[ours.name], each[server.name]) for each in rounds]
            cells.append(_ratio([us.requests / it.requests * share for us, it in pairs]))
            cells.append(_ratio([it.cpu / us.cpu * share for us, it in pairs if us.cpu and it.cpu]))
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


def _ratio(by_round: Sequence[float]) -> str:
    if not by_round:
        return "-"
    each = ", ".join(f"{value:,.2f}" for value in by_round)
    return f"**{median(by_round):,.2f}** ({each})"


if __name__ == "__main__":
    main()
