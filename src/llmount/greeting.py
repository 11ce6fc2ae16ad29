"""What a server says once it listens: lines to paste, and where to read on."""

from __future__ import annotations

from collections.abc import Iterator

from .config import SHARED, Config

__all__ = ["greeting"]


def greeting(url: str, config: Config) -> str:
    """url: of the server, without a slash at its end."""
    curl, how = "curl", "Try one of these"
    if config.keys is not None:
        curl, how = (
            'curl -H "Authorization: Bearer $KEY"',
            "Put a key into KEY and try one of these",
        )
    named = [*_named(config)]
    rest = [f"{each.prefix}…" for each in config.providers if each.models is None]
    served = ", ".join([*(name for name, _ in named), *rest])
    commands = [f"  {curl} {url}/v1/models   # what there is"] if rest else []
    commands += [command for name, id_ in named[:1] for command in _commands(curl, url, name, id_)]
    for images in config.images:
        if images.models:
            commands.append(_drawing(curl, url, f"{images.name}:{next(iter(images.models))}"))
            break
    documents = "  ".join(
        f"{url}{mount}/docs" for mount in ("/api", "/v1", "/v1/responses", "/ai/v1")
    )
    return "\n\n".join(
        [
            f"Serving {served} at {url} (stop with Ctrl-C). {how}:",
            *commands,
            f"Read and try: {documents}\n",
        ]
    )


def _named(config: Config) -> Iterator[tuple[str, str]]:
    """The models that have a name, and what they are called on /ai/v1."""
    for shared in config.models:
        yield shared.name, f"{SHARED}:{shared.name}"
    for provider in config.providers:
        for name in provider.models or ():
            yield provider.prefix + name, f"{provider.name}:{name}"


def _commands(curl: str, url: str, name: str, id_: str) -> Iterator[str]:
    yield f"""\
  {curl} {url}/api/generate -d '{{"model": "{name}", "prompt": "Why is the sky blue?"}}'"""
    yield f"""\
  {curl} {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "{name}", "messages": [{{"role": "user", "content": "Tell me a joke."}}]}}'"""
    yield f"""\
  {curl} {url}/ai/v1/completion -H 'Content-Type: application/json' \\
    -d '{{"model": "{id_}", "prompt": "Tell me a joke about AI"}}'"""


def _drawing(curl: str, url: str, id_: str) -> str:
    return f"""\
  {curl} {url}/ai/v1/image/generate -H 'Content-Type: application/json' \\
    -d '{{"model": "{id_}", "prompt": "A funky cat"}}'"""
