"""A document whose parts are in several files, as one that needs none of the others."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["bundled", "pointed"]

_COMPONENT = re.compile(r"/components/([^/]+)/([^/]+)")


def pointed(document: Any, pointer: str) -> Any:
    """What stands at a JSON pointer. Raises `LookupError`."""
    for key in pointer.split("/")[1:]:
        document = document[key.replace("~1", "/").replace("~0", "~")]
    return document


def bundled(document: dict[str, Any], load: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """The document with what it refers to in other files copied into it.

    A component of another document becomes one of its own, of the same name; anything else
    takes the place of the reference, and keywords beside a reference win. load: gives the
    document at a path that is relative to this one. Raises `ValueError` for a name that
    would mean two things.
    """
    return _Bundle(document, load).whole()


class _Bundle:
    def __init__(self, document: dict[str, Any], load: Callable[[str], Mapping[str, Any]]) -> None:
        self._document = document
        self._load = load
        self._adopted: dict[tuple[str, str], str] = {}
        self._components: dict[str, dict[str, Any]] = {}

    def whole(self) -> dict[str, Any]:
        found = {key: self._walk(value, "") for key, value in self._document.items()}
        for kind, members in self._components.items():
            found.setdefault("components", {}).setdefault(kind, {}).update(members)
        return found

    def _walk(self, node: Any, origin: str) -> Any:
        """The node, which stands in the document at `origin` ("" is this one)."""
        if isinstance(node, list):
            return [self._walk(each, origin) for each in node]
        if not isinstance(node, dict):
            return node
        ref = node.get("$ref")
        beside = {key: self._walk(value, origin) for key, value in node.items() if key != "$ref"}
        if not isinstance(ref, str) or "://" in ref:
            return beside if ref is None else {"$ref": self._walk(ref, origin), **beside}
        file, _, pointer = ref.partition("#")
        if file:
            origin = posixpath.normpath(posixpath.join(posixpath.dirname(origin), file))
        if not origin:
            return {"$ref": ref, **beside}
        if component := _COMPONENT.fullmatch(pointer):
            self._adopt(component[1], component[2], origin)
            return {"$ref": f"#{pointer}", **beside}
        return {**self._walk(pointed(self._load(origin), pointer), origin), **beside}

    def _adopt(self, kind: str, name: str, origin: str) -> None:
        known = self._adopted.setdefault((kind, name), origin)
        own = self._document.get("components", {}).get(kind, {})
        if known != origin or name in own:
            raise ValueError(f"{kind} {name} is one of {origin} and another one, too")
        members = self._components.setdefault(kind, {})
        if name not in members:
            # First its place, because it may refer to itself.
            members[name] = None
            members[name] = self._walk(self._load(origin)["components"][kind][name], origin)
