"""The types of providers: what makes a backend of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from .. import models
from ..backends.echo import EchoBackend
from ..backends.images import ScriptedImageBackend
from ..backends.images_sheet import SIZES
from ..backends.routing import RoutingBackend
from ..backends.speech import ScriptedSpeechBackend, ScriptedTranscriptionBackend
from ..media import ImageBackend, SpeechBackend, TranscriptionBackend
from ..types import Backend
from .values import Provider

__all__ = ["DRAWERS", "LISTENERS", "PROVIDERS", "SPEAKERS", "Kind", "Pull"]

Pull: TypeAlias = Callable[[str], Path]
"""Gives the file of a model that is known by name."""

B = TypeVar("B", covariant=True)


@dataclass(frozen=True, slots=True)
class Kind(Generic[B]):
    """A type of provider.

    make: its backend; raises `ImportError` where an extra is not installed, and `ValueError`
    or `OSError` for what cannot be. models: what those of a provider are: files, mere names,
    or what an upstream has under names of its own. needs: a package that has to be installed,
    and the extra of ours that brings it. default: the names, where a provider has none of its
    own. alien: its raw answers are not of Ollama's form.
    """

    make: Callable[[Provider, Pull], B]
    models: Literal["files", "names", "upstream"]
    needs: str = ""
    extra: str = ""
    default: Sequence[str] = ()
    alien: bool = False


def _echo(provider: Provider, pull: Pull) -> Backend:
    return EchoBackend(
        models=tuple(provider.models or PROVIDERS["echo"].default), **provider.options
    )


def _ollama(provider: Provider, pull: Pull) -> Backend:
    from ..backends.http import OllamaBackend

    return OllamaBackend(**_of_upstream(provider.options))


def _openai(provider: Provider, pull: Pull) -> Backend:
    from ..backends.http import OpenAIBackend, OpenAIResponsesBackend

    options = dict(provider.options)
    if options.pop("api", "chat") == "chat":
        return OpenAIBackend(**_of_upstream(options))
    if "settings" in options:
        raise ValueError("settings are of the chat API; responses have but one set of names")
    return OpenAIResponsesBackend(**_of_upstream(options))


def _of_upstream(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a file as the arguments of an upstream's backend."""
    from ..backends.http import Timeouts
    from ..dialects.openai_client_request import HOSTED, SELF_HOSTED

    read: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
        "url": ("base_url", str),
        "key": ("api_key", str),
        "timeout": ("timeout", lambda table: Timeouts(**table)),
        "settings": ("settings", {"hosted": HOSTED, "self-hosted": SELF_HOSTED}.__getitem__),
        "headers": ("headers", dict),
    }
    return {read[key][0]: read[key][1](value) for key, value in options.items()}


def _llamacpp(provider: Provider, pull: Pull) -> Backend:
    from ..backends.llamacpp import LlamaCppBackend

    return _of_files(LlamaCppBackend, provider, pull)


def _ctransformers(provider: Provider, pull: Pull) -> Backend:
    from ..backends.ctransformers import CTransformersBackend

    return _of_files(CTransformersBackend, provider, pull)


def _of_files(engine: Callable[..., Backend], provider: Provider, pull: Pull) -> Backend:
    """An engine for each file."""
    files = {
        name: pull(source) if source in models.KNOWN else Path(source)
        for name, source in (provider.models or {}).items()
    }
    backends = {name: engine(file, name=name, **provider.options) for name, file in files.items()}
    return next(iter(backends.values())) if len(backends) == 1 else RoutingBackend(backends)


def _openai_images(provider: Provider, pull: Pull) -> ImageBackend:
    from ..backends.http_images import OpenAIImageBackend

    return OpenAIImageBackend(**_of_upstream(provider.options))


def _ollama_images(provider: Provider, pull: Pull) -> ImageBackend:
    from ..backends.http_images import OllamaImageBackend

    return OllamaImageBackend(**_of_upstream(provider.options))


def _pillow(provider: Provider, pull: Pull) -> ImageBackend:
    from ..backends.pillow_images import PillowImageBackend

    return PillowImageBackend(*_named(provider))


def _scripted(provider: Provider, pull: Pull) -> ImageBackend:
    return ScriptedImageBackend(*_named(provider))


def _speech(provider: Provider, pull: Pull) -> SpeechBackend:
    return ScriptedSpeechBackend(*_named(provider))


def _transcription(provider: Provider, pull: Pull) -> TranscriptionBackend:
    return ScriptedTranscriptionBackend(*_named(provider))


def _named(provider: Provider) -> Sequence[Sequence[str]]:
    """The argument for its names, if it has any."""
    return () if provider.models is None else (tuple(provider.models),)


PROVIDERS: Final[Mapping[str, Kind[Backend]]] = {
    "ollama": Kind(_ollama, "upstream", "httpx", "http"),
    "openai": Kind(_openai, "upstream", "httpx", "http", alien=True),
    "llamacpp": Kind(_llamacpp, "files", "xllamacpp", "llamacpp"),
    "ctransformers": Kind(_ctransformers, "files", "ctransformers", "ctransformers"),
    "echo": Kind(_echo, "names", default=("echo",)),
}

DRAWERS: Final[Mapping[str, Kind[ImageBackend]]] = {
    "openai": Kind(_openai_images, "upstream", "httpx", "http"),
    "ollama": Kind(_ollama_images, "upstream", "httpx", "http"),
    "pillow": Kind(_pillow, "names", "PIL", "images", default=tuple(SIZES)),
    "scripted": Kind(_scripted, "names", default=tuple(SIZES)),
}

SPEAKERS: Final[Mapping[str, Kind[SpeechBackend]]] = {"scripted": Kind(_speech, "names")}

LISTENERS: Final[Mapping[str, Kind[TranscriptionBackend]]] = {
    "scripted": Kind(_transcription, "names"),
}
