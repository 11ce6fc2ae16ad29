"""The `llmount` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import __version__, contract, models
from .access import Limits
from .check import command as checking
from .config import (
    Config,
    ConfigError,
    KeyFileError,
    assemble,
    command,
    defaults,
    load,
    read_keys,
)
from .fetching import fetch
from .greeting import greeting
from .origins import Origins, is_loopback
from .server import ENGINES, ModelSpec, SpecError, configuration

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status, 0 for success, 1 for failure, 2 for bad usage."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
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

    _add_serve(commands.add_parser("serve", help="serve models over /api, /v1 and /ai/v1"))
    command.add_to(commands.add_parser("config", help="check a configuration file"))

    checking.add_to(commands.add_parser("check", help="does a server keep its contract?"))
    checking.add_compare(commands.add_parser("compare", help="what changed between two checks"))

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


def _add_serve(serve: argparse.ArgumentParser) -> None:
    server = defaults("server")
    models = serve.add_mutually_exclusive_group()
    models.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="serve what this TOML file says; the options below come before it",
    )
    models.add_argument(
        "--model",
        action="append",
        metavar="[NAME=]MODEL",
        help="smollm2 (the default), a path to a .gguf file, echo, ollama:MODEL@URL or "
        "openai:MODEL@URL (key from OPENAI_API_KEY); may be given several times",
    )
    serve.add_argument("--engine", choices=ENGINES, help=f"for local models; default: {ENGINES[0]}")
    serve.add_argument("--host", help=f"default: {server['host']}")
    serve.add_argument("--port", type=int, help=f"default: {server['port']}; 0 is any")
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
    serve.add_argument(
        "--access-log", action="store_const", const=True, help="print a line per request"
    )
    serve.set_defaults(run=_serve)


def _pull(options: argparse.Namespace) -> int:
    print(fetch(options.name))
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
    config = _configuration(options)
    service = assemble(config, pull=fetch)
    try:
        loopback = is_loopback(config.server.host)
        guarded = Origins(service.app(), config.server.origins, loopback=loopback)
    except ValueError as error:
        raise SpecError(str(error)) from None
    return run(
        guarded,
        service.models,
        service.local,
        greeting=lambda url: greeting(url, config),
        host=config.server.host,
        port=config.server.port,
        access_log=config.server.access_log,
    )


def _configuration(options: argparse.Namespace) -> Config:
    """That of the file, or of the models on the command line; its other options win."""
    if options.config is None:
        specs = [ModelSpec.parse(text) for text in options.model or ["smollm2"]]
        config = configuration(specs, engine=options.engine or ENGINES[0])
    elif options.engine is not None:
        raise SpecError("--engine goes with --model; in a file, the type of a provider says it")
    else:
        config = load(options.config)
    given = {name: getattr(options, name) for name in ("host", "port", "access_log")}
    listed = os.environ.get("LLMOUNT_ORIGINS", "").split(",")
    origins = [
        *(options.origin or config.server.origins),
        *(origin for origin in listed if origin.strip()),
    ]
    changed = {name: value for name, value in given.items() if value is not None}
    server = replace(config.server, **changed, origins=origins)
    keys, limits = config.keys, config.limits
    if keys is None or options.key_file is not None:
        keys = read_keys(options.key_file, os.environ.get("LLMOUNT_KEYS"))
    if options.limit_requests is not None:
        limits = replace(limits or Limits(), requests=options.limit_requests)
    return replace(config, server=server, keys=keys, limits=limits)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)
