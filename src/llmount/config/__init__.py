"""A server, its providers and its models from one TOML file.

    from llmount.config import build, load

    app.mount("/llm", build(load("llmount.toml")))

What may stand in a file is told by `document()`, a JSON Schema.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from .. import models
from .assembly import SHARED, Service, assemble, build, make
from .kinds import DRAWERS, LISTENERS, PROVIDERS, SPEAKERS, Kind
from .problems import ConfigError, Place, Problem, Problems
from .reading import read
from .schema import defaults, document
from .secrets import KeyFileError, read_keys
from .values import Config, Provider, Server, Shared, Target

__all__ = [
    "SHARED",
    "Config",
    "ConfigError",
    "KeyFileError",
    "Place",
    "Problem",
    "Provider",
    "Server",
    "Service",
    "Shared",
    "Target",
    "assemble",
    "build",
    "check",
    "defaults",
    "document",
    "load",
    "read_keys",
]


def load(file: str | PathLike[str], *, environment: Mapping[str, str] = os.environ) -> Config:
    """What a file says. environment: where its secrets are.

    Raises `ConfigError`, with all that is wrong. Nothing is opened, fetched or loaded.
    """
    config, problems = read(Path(file), environment)
    if problems.found or config is None:
        raise ConfigError(problems.sorted())
    return config


def check(
    file: str | PathLike[str], *, environment: Mapping[str, str] = os.environ
) -> list[Problem]:
    """All that is wrong with a file, in its order; empty if nothing is.

    Also what only an engine can say, of a model file or of its own installation. Nothing is
    fetched, and no upstream is asked. Arguments as for `load`.
    """
    config, problems = read(Path(file), environment)
    if config is not None:
        for providers, kinds in _sections(config):
            for provider in providers:
                _try(provider, kinds, problems)
    return problems.sorted()


def _sections(config: Config) -> Iterator[tuple[Sequence[Provider], Mapping[str, Kind[Any]]]]:
    yield config.providers, PROVIDERS
    yield config.images, DRAWERS
    yield config.speech, SPEAKERS
    yield config.transcription, LISTENERS


class _NotPulled(Exception):
    pass


def _try(provider: Provider, kinds: Mapping[str, Kind[Any]], problems: Problems) -> None:
    try:
        make(provider, kinds, _pulled)
    except ConfigError as error:
        problems.found += error.problems
    except _NotPulled:
        # It is fetched when it is first served; until then nothing can be said of it.
        return


def _pulled(name: str) -> Path:
    found = models.locate(name)
    if found is None:
        raise _NotPulled
    return found
