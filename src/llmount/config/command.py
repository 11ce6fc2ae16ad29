"""`llmount config`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio

from ..backends.listing import Survey
from ..backends.several import close_all, name_key
from ..errors import ApiError
from ..types import Backend, Model
from . import check, load
from .assembly import make
from .kinds import PROVIDERS
from .schema import document
from .values import Config, Provider

__all__ = ["add_to"]

_USUAL = Path("llmount.toml")


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add what it can do."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    checking = actions.add_parser("check", help="say what is wrong with a file, and where")
    checking.add_argument(
        "file", type=Path, nargs="?", default=_USUAL, metavar="FILE", help="default: %(default)s"
    )
    checking.add_argument(
        "--connect", action="store_true", help="also ask the upstreams which models they have"
    )
    checking.set_defaults(run=_check)

    showing = actions.add_parser("schema", help="print the JSON Schema of the file, for editors")
    showing.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    print(json.dumps(document(), indent=2, ensure_ascii=False))
    return 0


def _check(options: argparse.Namespace) -> int:
    problems = check(options.file)
    for problem in problems:
        print(problem)
    if problems:
        return 1
    config = load(options.file)
    print(f"{options.file}: nothing is wrong with it")
    return anyio.run(_connect, config) if options.connect else 0


async def _connect(config: Config) -> int:
    """Print what each upstream says; 1 if one says nothing."""
    upstreams = [each for each in config.providers if PROVIDERS[each.type].models == "upstream"]
    backends = [make(each, PROVIDERS, Path) for each in upstreams]
    survey = Survey(_models_or_why, "its models", timeout=config.server.list_timeout)
    try:
        answers = await survey.each(backends)
    finally:
        await close_all(backends)
    widths = [max((len(text) for text in column), default=0) for column in _columns(upstreams)]
    for provider, answer in zip(upstreams, answers, strict=True):
        told = _told(config, provider, answer)
        print(f"  {provider.name:{widths[0]}}  {provider.type:{widths[1]}}  {told}")
    return int(any(not isinstance(answer, list) for answer in answers))


def _columns(providers: Sequence[Provider]) -> tuple[list[str], list[str]]:
    return [each.name for each in providers], [each.type for each in providers]


async def _models_or_why(backend: Backend) -> list[Model] | str:
    try:
        return [*await backend.models()]
    except ApiError as error:
        return error.message


def _told(config: Config, provider: Provider, answer: list[Model] | str | None) -> str:
    if answer is None:
        return f"no answer in {config.server.list_timeout:g} seconds"
    if isinstance(answer, str):
        return answer
    listed = {name_key(model.name) for model in answer}
    missing = sorted({name for name in _wanted(config, provider) if name_key(name) not in listed})
    count = f"{len(answer)} model{'' if len(answer) == 1 else 's'}"
    return f"{count}; not among them: {', '.join(missing)}" if missing else count


def _wanted(config: Config, provider: Provider) -> Iterator[str]:
    """What the configuration asks of an upstream, by the upstream's names."""
    yield from (provider.models or {}).values()
    for shared in config.models:
        for member in shared.members:
            if member.provider == provider.name:
                yield member.model
