"""The models of a command line, as a configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from . import models
from .backends.images_sheet import SIZES
from .backends.several import name_key
from .config import Config, Provider, Server, defaults

__all__ = ["ENGINES", "Engine", "ModelSpec", "SpecError", "configuration"]

Engine: TypeAlias = Literal["llamacpp", "ctransformers"]
ENGINES: tuple[Engine, ...] = ("llamacpp", "ctransformers")

_PAINTER = "pillow" if find_spec("PIL") else "scripted"
_UPSTREAMS = {"ollama": "http://127.0.0.1:11434", "openai": None}


class SpecError(ValueError):
    """A `--model` that cannot be understood; the text says what would be."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One `--model`: `[NAME=]smollm2`, `PATH.gguf`, `echo`, `ollama:MODEL@URL` or
    `openai:MODEL@URL`.

    name: what clients call it. kind: "local", "echo", "ollama" or "openai". source: the
    path or known name, or what the upstream calls it. url: the upstream's address.
    """

    name: str
    kind: str
    source: str
    url: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelSpec:
        """Raises `SpecError`."""
        alias, equals, spec = text.partition("=")
        if not equals or "/" in alias or "@" in alias:
            alias, spec = "", text
        if spec == "echo":
            return cls(alias or "echo", "echo", "echo")
        kind, _, rest = spec.partition(":")
        if kind in _UPSTREAMS and rest:
            return cls._upstream(kind, rest, alias)
        if spec.endswith(".gguf"):
            path = Path(spec).expanduser()
            if not path.is_file():
                raise SpecError(f"there is no file {spec}")
            return cls(alias or path.stem, "local", str(path))
        if spec in models.KNOWN:
            return cls(alias or spec, "local", spec)
        raise SpecError(
            f"cannot understand the model {spec!r}; give {' or '.join(models.KNOWN)}, a path that "
            "ends in .gguf, echo, ollama:MODEL@URL or openai:MODEL@URL"
        )

    @classmethod
    def _upstream(cls, kind: str, rest: str, alias: str) -> ModelSpec:
        model, at, url = rest.rpartition("@")
        if not at:
            model, url = rest, _UPSTREAMS[kind] or ""
        if not model or not url.startswith(("http://", "https://")):
            raise SpecError(f"write {kind}:MODEL@URL, with a URL that begins with http")
        return cls(alias or model, kind, model, url)


def configuration(
    specs: Sequence[ModelSpec],
    *,
    engine: Engine = "llamacpp",
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """What `llmount serve` serves of these models, and pictures and sound without a model.

    `/ai/v1` knows the models by their kind (`echo:echo`, `llamacpp:smollm2`). environment:
    where the key of OpenAI upstreams is. Raises `SpecError` for a name that is given twice.
    """
    served: dict[tuple[str, str | None], dict[str, str]] = {}
    names: set[str] = set()
    for spec in specs:
        if name_key(spec.name) in names:
            raise SpecError(f"two models are called {spec.name!r}; write NAME=… before one")
        names.add(name_key(spec.name))
        served.setdefault((spec.kind, spec.url), {})[spec.name] = spec.source
    key = environment.get("OPENAI_API_KEY")
    return Config(
        server=Server(**defaults("server")),
        providers=tuple(
            Provider(name=type_, type=type_, models=named, options=_options(kind, url, key))
            for (kind, url), named in served.items()
            for type_ in [engine if kind == "local" else kind]
        ),
        images=(Provider(name="openai", type=_PAINTER, models={name: name for name in SIZES}),),
        speech=(Provider(name="scripted", type="scripted"),),
        transcription=(Provider(name="scripted", type="scripted"),),
    )


def _options(kind: str, url: str | None, key: str | None) -> dict[str, Any]:
    options = {} if url is None else {"url": url}
    return {**options, "key": key} if kind == "openai" and key else options
