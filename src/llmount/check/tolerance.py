"""A document as clients need it, made from the document as it is.

Our documents say exactly what a server sends. Clients put up with more: with fields that
they do not know, and without many that they do not read. `tolerances.yaml` lists what may be
missing or be something else, by the schemas of each document.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
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
    document = read(name)
    loosened = copy.deepcopy(document)
    schemas = loosened["components"]["schemas"]
    for schema, freedoms in _tolerances().get(name, {}).items():
        _loosen(schemas, schema, freedoms)
    _open(loosened)
    return Contract.compile(loosened, name=name)


@cache
def _tolerances() -> Mapping[str, Mapping[str, Mapping[str, list[str]]]]:
    text = files(__package__).joinpath("tolerances.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Mapping[str, list[str]]]] = yaml.safe_load(text)
    return found


def _loosen(schemas: Mapping[str, Any], place: str, freedoms: Mapping[str, list[str]]) -> None:
    """Loosen the schema at a place: its name, then names of properties.

    optional: names that may be missing or null. any: names that may be missing or anything. drop:
    keywords that do not count. Raises KeyError for what is not there.
    """
    name, *path = place.split(".")
    schema = schemas[name]
    for step in path:
        schema = schema["properties"][step]
    for name in freedoms.get("optional", ()):
        if name in schema.get("required", ()):
            schema["required"] = [each for each in schema["required"] if each != name]
        schema["properties"][name] = {"anyOf": [schema["properties"][name], {"type": "null"}]}
    for name in freedoms.get("any", ()):
        if name in schema.get("required", ()):
            schema["required"] = [each for each in schema["required"] if each != name]
        if name not in schema["properties"]:
            raise KeyError(name)
        schema["properties"][name] = {}
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
