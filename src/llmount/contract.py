"""An OpenAPI document, compiled once: what a server of it must accept and may answer."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .bundling import bundled, pointed
from .errors import InvalidRequest
from .types import JSON
from .validation import Engine, Schema

__all__ = ["Contract", "Media", "Operation", "essence", "names", "path", "read", "resolve"]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")


@functools.lru_cache(maxsize=64)
def essence(media_type: str) -> str:
    """`text/event-stream` of `Text/Event-Stream; charset=utf-8`."""
    return media_type.partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Media:
    """One media type of a request or a response; `name` is sent as the Content-Type.

    schema describes the whole body (of a stream: all its items as an array); item one
    item of a stream. Both compile on first use. framing: a name for `framing_of`; the
    media type, unless the document has an `x-framing`.
    """

    name: str
    schema: Schema | None = None
    item: Schema | None = None
    framing: str = ""

    @property
    def is_text(self) -> bool:
        return essence(self.name).startswith("text/") and self.item is None

    @property
    def carried(self) -> Schema | None:
        """What the items carry: `item` with every `contentSchema` in the place of the
        string that it describes."""
        if self.item is None:
            return None
        item = self.item
        return Schema(_carried(item.schema), _carried(item.components), item.engine)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    path: below the mount, as in the document. absolute: it stands at the root of the
    server instead, because its path has a `servers` of its own with the address "/".
    responses: status ("200", "4XX", "default") to the media types in their order.
    accepts_untyped: a body without a Content-Type will do (not with
    `x-content-type-required`). secured: it demands a key; False if it says itself that it
    does not, None if nothing does. key_headers: where the key may be, "authorization" for
    a bearer token. fields: what the schema of the body names, at its top.
    """

    id: str
    method: str
    path: str
    absolute: bool
    accepts: tuple[str, ...]
    body: Schema | None
    body_required: bool
    defaults: tuple[tuple[str, JSON], ...]
    responses: Mapping[str, tuple[Media, ...]]
    summary: str = ""
    pattern: re.Pattern[str] | None = None
    accepts_untyped: bool = True
    secured: bool | None = None
    key_headers: tuple[str, ...] = ()
    fields: frozenset[str] = frozenset()
    whole: Media | None = field(init=False)
    stream: Media | None = field(init=False)
    _media: dict[tuple[int, bool], Media | None] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        good = self.responses.get("200", ())
        object.__setattr__(self, "whole", next((m for m in good if m.item is None), None))
        object.__setattr__(self, "stream", next((m for m in good if m.item is not None), None))

    def validate(self, body: JSON) -> JSON:
        """The body with the document's defaults filled in. Raises `InvalidRequest`."""
        if fault := self.fault(body):
            raise fault
        return self.fill(body)

    def fault(self, body: JSON) -> InvalidRequest | None:
        """What the document has against a body."""
        assert self.body is not None
        return None if self.body.is_valid(body) else InvalidRequest(*self.body.violations(body))

    def fill(self, body: JSON) -> JSON:
        """The body with the document's defaults filled in, in place."""
        if isinstance(body, dict):
            for key, value in self.defaults:
                if body.get(key) is None:
                    body[key] = value
        return body

    def media(self, status: int, *, text: bool = False) -> Media | None:
        """The media type of an answer with this status, textual or not."""
        try:
            return self._media[status, text]
        except KeyError:
            return self._media.setdefault((status, text), self._find_media(status, text))

    def _find_media(self, status: int, text: bool) -> Media | None:
        for key in (str(status), f"{status // 100}XX", "default"):
            for media in self.responses.get(key, ()):
                if media.is_text == text:
                    return media
        return None


@dataclass(frozen=True, slots=True)
class Contract:
    """A compiled document. `name` is its place under `openapi/`, such as "chat/openai"."""

    name: str
    document: Mapping[str, Any]
    operations: Mapping[str, Operation]

    @property
    def title(self) -> str:
        return str(self.document["info"]["title"])

    @property
    def version(self) -> str:
        return str(self.document["info"]["version"])

    @classmethod
    def load(cls, source: str | Path, *, engine: Engine = "jsonschema-rs") -> Contract:
        """A document of ours by name ("generate/ollama"), or any by the path of its file.

        engine: who validates, "jsonschema-rs" or "jsonschema", the slow reference.
        Raises `LookupError` for an unknown name, `ValueError` for a document that is not
        OpenAPI 3.x or has an operation without an `operationId`.
        """
        return _load(source, engine)

    @classmethod
    def compile(
        cls, document: Mapping[str, Any], *, name: str, engine: Engine = "jsonschema-rs"
    ) -> Contract:
        if not str(document.get("openapi", "")).startswith("3."):
            raise ValueError(f"{name}: not an OpenAPI 3 document")
        operations: dict[str, Operation] = {}
        for operation in _operations(document, name, engine):
            if operation.id in operations:
                raise ValueError(f"{name}: operationId {operation.id!r} is used twice")
            operations[operation.id] = operation
        return cls(name, document, operations)

    def media(self, status: int, *, text: bool = False) -> Media | None:
        """The media type that answers of this status have when no operation was reached."""
        for operation in self.operations.values():
            if media := operation.media(status, text=text):
                return media
        return None


@functools.cache
def _load(source: str | Path, engine: Engine) -> Contract:
    return Contract.compile(read(source), name=str(source), engine=engine)


# Finding and reading


def _folder() -> Path:
    """`openapi/` in the installed package, or in the checkout of an editable install."""
    packaged = Path(__file__).parent / "openapi"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "openapi"


def names() -> tuple[str, ...]:
    """The names of our documents, sorted."""
    folder = _folder()
    files = folder.glob("*/*.yaml")
    return tuple(sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files))


def path(source: str | Path) -> Path:
    """The file of a document. `source` as for `Contract.load`; raises `LookupError`."""
    if isinstance(source, str) and source in names():
        return _folder() / f"{source}.yaml"
    file = Path(source)
    if file.suffix not in (".yaml", ".yml", ".json"):
        raise LookupError(f"no document {str(source)!r}; there are {', '.join(names())}")
    return file


def read(source: str | Path) -> dict[str, Any]:
    """The document as plain JSON values, and what it refers to in other files with it.

    `source` as for `Contract.load`.
    """
    file = path(source)
    # Each of the others is asked for once for every part of it.
    return bundled(_parsed(file), functools.cache(lambda other: _parsed(file.parent / other)))


def _parsed(file: Path) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    document = json.loads(text) if file.suffix == ".json" else yaml.load(text, _Loader)
    if not isinstance(document, dict):
        raise ValueError(f"{file}: not an OpenAPI 3 document")
    return document


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as JSON sees it: dates stay strings, keys are strings."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        return {str(k): v for k, v in super().construct_mapping(node, deep=deep).items()}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


# Compiling


def _operations(document: Mapping[str, Any], name: str, engine: Engine) -> Iterator[Operation]:
    components = document.get("components", {})

    def schema(value: Any) -> Schema | None:
        return None if value is None else Schema(value, components, engine)

    for path, path_item in document.get("paths", {}).items():
        for method in _METHODS:
            if (described := path_item.get(method)) is None:
                continue
            if not (operation_id := described.get("operationId")):
                raise ValueError(f"{name}: {method.upper()} {path} has no operationId")
            body = resolve(document, described.get("requestBody", {}))
            content = body.get("content", {})
            # All media types of a request share one schema: it is one JSON value.
            body_schema = next((media.get("schema") for media in content.values()), None)
            secured, key_headers = _security(document, described)
            yield Operation(
                id=operation_id,
                method=method.upper(),
                path=path,
                absolute=path_item.get("servers") == [{"url": "/"}],
                accepts=tuple(map(essence, content)),
                body=schema(body_schema),
                body_required=bool(body.get("required")),
                defaults=tuple(_defaults(document, body_schema)),
                responses={
                    str(status): tuple(
                        Media(
                            media_type,
                            schema(m.get("schema")),
                            schema(m.get("itemSchema")),
                            m.get("x-framing", media_type),
                        )
                        for media_type, m in resolve(document, response).get("content", {}).items()
                    )
                    for status, response in described.get("responses", {}).items()
                },
                summary=described.get("summary", ""),
                pattern=_pattern(path),
                accepts_untyped=not body.get("x-content-type-required"),
                secured=secured,
                key_headers=key_headers,
                fields=frozenset(name for name, _ in _properties(document, body_schema)),
            )


def _security(
    document: Mapping[str, Any], described: Mapping[str, Any]
) -> tuple[bool | None, tuple[str, ...]]:
    """Whether a key is demanded, and the headers that may carry it.

    An empty alternative says that none is. A scheme that is neither a bearer token nor a
    key in a header has no header, and neither have several that are demanded at once.
    """
    own = described.get("security")
    alternatives = own if own is not None else document.get("security") or ()
    schemes = document.get("components", {}).get("securitySchemes", {})
    headers: list[str] = []
    for names in alternatives:
        if len(names) != 1:
            continue
        scheme = resolve(document, schemes[next(iter(names))])
        kind = scheme["type"]
        if kind == "apiKey" and scheme["in"] == "header":
            headers.append(scheme["name"].lower())
        elif kind in ("oauth2", "openIdConnect") or scheme.get("scheme", "").lower() == "bearer":
            headers.append("authorization")
    if alternatives and all(alternatives):
        return True, tuple(dict.fromkeys(headers))
    return (None if own is None else False), tuple(dict.fromkeys(headers))


def resolve(document: Mapping[str, Any], value: Any) -> Any:
    """What a reference means; keywords beside it, such as a default, stay in force."""
    while isinstance(value, dict) and (ref := value.get("$ref")):
        target = pointed(document, ref.removeprefix("#"))
        value = {**target, **{key: each for key, each in value.items() if key != "$ref"}}
    return value


def _carried(schema: Any) -> Any:
    if isinstance(schema, dict):
        if "contentSchema" in schema:
            return schema["contentSchema"]
        return {key: _carried(value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_carried(value) for value in schema]
    return schema


def _properties(document: Mapping[str, Any], schema: Any) -> Iterator[tuple[str, Any]]:
    schema = resolve(document, schema) or {}
    for part in schema.get("allOf", ()):
        yield from _properties(document, part)
    yield from schema.get("properties", {}).items()


def _defaults(document: Mapping[str, Any], schema: Any) -> Iterator[tuple[str, JSON]]:
    for key, value in _properties(document, schema):
        if (default := resolve(document, value).get("default")) is not None:
            yield key, default


def _pattern(path: str) -> re.Pattern[str] | None:
    """What a templated path matches. A lone parameter, and a last one that ends the path,
    take all there is, slashes too: a model's id has them, and servers unescape them."""
    if "{" not in path:
        return None
    parts = re.split(r"\{(\w+)\}", path)
    regex = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            regex += re.escape(part)
        else:
            wide = len(parts) == 3 or (number == len(parts) - 2 and not parts[-1])
            regex += f"(?P<{part}>{'.+' if wide else '[^/]+'})"
    return re.compile(regex)
