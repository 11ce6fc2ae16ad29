"""A document as clients need it, made from the document as it is.

Our documents say exactly what a server sends. Clients put up with more: with fields that
they do not know, and without many that they do not read. `tolerances.yaml` lists what may be
missing or be something else, by the schemas of each document.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ..contract import Contract, read
from ..types import JSON

__all__ = ["tolerant"]


@cache
def tolerant(name: str) -> Contract:
    """The contract of this name as clients need it."""
    loosened = copy.deepcopy(read(name))
    schemas = loosened["components"]["schemas"]
    places = dict(_tolerances().get(name, {}))
    if like := places.pop("like", None):
        others = _tolerances()[like].items()
        known = {place: each for place, each in others if place.partition("/")[0] in schemas}
        places = known | places
    for place, freedoms in places.items():
        for schema in _at(schemas, place):
            _loosen(schema, freedoms)
    _open(loosened)
    return Contract.compile(loosened, name=name)


@cache
def _tolerances() -> Mapping[str, Mapping[str, Any]]:
    text = files(__package__).joinpath("tolerances.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = yaml.safe_load(text)
    return found


def _at(schemas: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """The schemas at a place. Raises KeyError if there is none."""
    pattern, *keys = place.split("/")
    found: list[Any] = [schemas[name] for name in schemas if fnmatchcase(name, pattern)]
    for key in keys:
        found = [each[int(key) if isinstance(each, list) else key] for each in found]
    if not found or not all(isinstance(each, dict) for each in found):
        raise KeyError(place)
    return found


def _loosen(schema: dict[str, Any], freedoms: Mapping[str, Any]) -> None:
    """Loosen a schema in the words of `tolerances.yaml`. Raises KeyError for a name or a
    keyword that it does not have."""
    properties = schema.get("properties", {})
    free: dict[str, JSON] = {name: {} for name in freedoms.get("any", ())}
    for name in freedoms.get("optional", ()):
        free[name] = {"anyOf": [properties[name], {"type": "null"}]}
    free |= freedoms.get("as", {})
    for name, instead in (free | freedoms.get("instead", {})).items():
        if name not in properties:
            raise KeyError(name)
        properties[name] = instead
    if required := [name for name in schema.get("required", ()) if name not in free]:
        schema["required"] = required
    else:
        schema.pop("required", None)
    for keyword in freedoms.get("drop", ()):
        del schema[keyword]


def _open(value: JSON) -> None:
    """Let every object of an answer have more fields."""
    if isinstance(value, dict):
        for keyword in ("additionalProperties", "unevaluatedProperties"):
            if value.get(keyword) is False:
                del value[keyword]
        for each in value.values():
            _open(each)
    elif isinstance(value, list):
        for each in value:
            _open(each)
