"""The Go types behind a document's request schemas.

They follow from the schemas' own keywords, except where `x-go-type` names another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..validation import Schema

__all__ = ["GoType", "folded", "go_type"]


def go_type(schema: Schema) -> GoType:
    """What the real server reads a value of this schema into."""
    return _compile(schema.schema, schema.components, {})


@dataclass(slots=True)
class GoType:
    """kind: how it is read. name: as Go writes it in errors.

    fields: of a struct or message. folded: their names by their folded form. item: of a
    slice, or of the values of an ordered map. deep: whether a value of it can be one that
    Go reads otherwise than Python does. shallow: the fields of which none can.
    """

    kind: str
    name: str
    fields: dict[str, GoType] = field(default_factory=dict)
    folded: dict[str, str] = field(default_factory=dict)
    item: GoType | None = None
    deep: bool = False
    shallow: frozenset[str] = frozenset()


_BY_NAME: Final[Mapping[str, str]] = {
    "api.Duration": "duration",
    "api.ImageData": "image",
    "api.Message": "message",
    "api.PropertyType": "names",
    "api.ThinkValue": "think",
    "api.ToolCallFunctionArguments": "ordered",
    "api.ToolPropertiesMap": "ordered",
    "interface {}": "any",
    "json.RawMessage": "any",
    "map[string]interface {}": "map",
}

_BY_TYPE: Final[Mapping[str, tuple[str, str]]] = {
    "string": ("string", "string"),
    "boolean": ("bool", "bool"),
    "integer": ("int", "int"),
    "object": ("map", "map[string]interface {}"),
}

_DEEP: Final = ("duration", "image", "int", "message", "names", "struct")


def _compile(
    schema: Mapping[str, Any], components: Mapping[str, Any], known: dict[str, GoType]
) -> GoType:
    component = ""
    while "$ref" in schema:
        component = str(schema["$ref"]).rpartition("/")[2]
        if component in known:
            return known[component]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**components["schemas"][component], **rest}
    listed = schema.get("type", ())
    types = [listed] if isinstance(listed, str) else listed
    type_ = next((each for each in types if each != "null"), "")
    properties = schema.get("properties", {})
    name = schema.get("x-go-type", "")
    if name in _BY_NAME:
        kind = _BY_NAME[name]
    elif type_ == "object" and properties:
        kind, name = "struct", name or f"api.{component}"
    elif type_ == "array":
        kind = "slice"
    else:
        kind, default = _BY_TYPE.get(type_, ("any", "interface {}"))
        name = name or default
    go = GoType(kind, name, deep=kind in _DEEP)
    if component:
        # Before its inside is known, since it may contain itself.
        known[component] = go
    if kind in ("struct", "message"):
        for key, each in properties.items():
            go.fields[key] = _compile(each, components, known)
            go.folded[folded(key)] = key
        go.shallow = frozenset(key for key, each in go.fields.items() if not each.deep)
    elif kind == "slice":
        go.item = _compile(schema.get("items", {}), components, known)
        go.name = go.name or f"[]{go.item.name}"
    elif kind == "ordered" and "additionalProperties" in schema:
        go.item = _compile(schema["additionalProperties"], components, known)
    # A null is the zero value of the item there.
    go.deep = go.deep or (go.item is not None and (go.item.deep or go.item.kind == "string"))
    return go


_FOLDING: Final = str.maketrans({"\u017f": "s", "\u212a": "k"})


def folded(name: str) -> str:
    """Names that Go takes for the same field have the same folded form."""
    return name.translate(_FOLDING).lower()
