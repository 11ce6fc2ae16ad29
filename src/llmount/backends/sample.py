"""A small value that fits a JSON Schema, always the same one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Unsupported
from ..types import JSON
from ..validation import Schema

__all__ = ["sample"]

_DEPTH = 16

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
}


def sample(schema: JSON) -> JSON:
    """A value that the schema allows.

    Raises `Unsupported` for a schema that this does not manage: one with a `pattern`, or
    with conditions that exclude each other.
    """
    try:
        value = _value(schema, schema, _DEPTH)
        fits = Schema(schema).is_valid(value)
    except (ValueError, KeyError, RecursionError):
        fits = False
    if not fits:
        raise Unsupported("this JSON Schema")
    return value


def _value(schema: JSON, root: JSON, depth: int) -> JSON:
    if not isinstance(schema, Mapping):
        return {}
    if depth == 0:
        raise ValueError("the schema has no end")
    if "$ref" in schema:
        schema = {
            **_resolve(root, schema["$ref"]),
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("enum", "examples"):
        if schema.get(keyword):
            return schema[keyword][0]
    for part in schema.get("allOf", ()):
        schema = _merge(schema, part if "$ref" not in part else _resolve(root, part["$ref"]))
    for keyword in ("anyOf", "oneOf"):
        if schema.get(keyword):
            rest = {key: value for key, value in schema.items() if key != keyword}
            return _value(_merge(rest, schema[keyword][0]), root, depth - 1)
    return _typed(schema, root, depth)


def _typed(schema: Mapping[str, Any], root: JSON, depth: int) -> JSON:
    kind = schema.get("type", "object" if "properties" in schema else None)
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "string":
            text = _FORMATS.get(schema.get("format", ""), "text")
            return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            items = schema.get("items", {"type": "string"})
            return [_value(items, root, depth - 1)] * max(schema.get("minItems", 0), 0)
    properties = schema.get("properties", {})
    names = properties if depth > _DEPTH - 4 else schema.get("required", ())
    return {
        name: _value(properties.get(name, {"type": "string"}), root, depth - 1)
        for name in dict.fromkeys([*names, *schema.get("required", ())])
    }


def _number(schema: Mapping[str, Any]) -> JSON:
    step = schema.get("multipleOf", 1)
    lowest = schema.get("minimum", schema.get("exclusiveMinimum", -step) + step)
    highest = schema.get("maximum", schema.get("exclusiveMaximum", lowest + step) - step)
    value = 0 if lowest <= 0 <= highest else lowest if lowest > 0 else highest
    return -(-value // step) * step if "multipleOf" in schema else value


def _resolve(root: JSON, ref: str) -> Mapping[str, Any]:
    target = root
    for key in ref.removeprefix("#").strip("/").split("/"):
        target = target[key.replace("~1", "/").replace("~0", "~")] if key else target
    if not isinstance(target, Mapping):
        raise ValueError(f"nothing at {ref}")
    return target


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = [*first["required"], *second["required"]]
    return merged
