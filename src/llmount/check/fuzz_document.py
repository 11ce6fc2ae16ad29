"""The document of a server that is fuzzed: at its place, and with a model that is there."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..contract import Operation, resolve
from ..jsontext import dumps, loads
from ..testing.schema_run import MODEL_PARAMETERS
from ..types import JSON
from .bounds import bounded
from .probe import Session

__all__ = ["labelled", "placed", "plain", "shape"]

_FIELDS: Final = ("model", "name")
"""The fields of bodies that name a model; the second one is an older way to."""


def labelled(session: Session) -> dict[str, Operation]:
    """The operations by their labels at the target, "POST /v1/chat/completions"."""
    return {
        f"{operation.method} {_path(session, operation.path, operation.absolute)}": operation
        for operation in session.contract.operations.values()
    }


def placed(session: Session) -> dict[str, Any]:
    """The tolerant document with its paths below the target, those at the root where they are, and
    with examples of the model that is there."""
    document = copy.deepcopy(dict(session.tolerant.document))
    for item in document["paths"].values():
        operations = [operation for operation in item.values() if isinstance(operation, dict)]
        for place in (item, *operations):
            _fill_parameters(document, place, session.model)
        for operation in operations:
            _exemplify(document, operation, session.model)
    # What takes long comes last, and gets the time that the others leave.
    fields = {
        operation.path: len(operation.fields) for operation in session.contract.operations.values()
    }
    document["paths"] = {
        _path(session, path, item.get("servers") == [{"url": "/"}]): item
        for path, item in sorted(document["paths"].items(), key=lambda each: fields[each[0]])
    }
    return document


def _path(session: Session, path: str, absolute: bool) -> str:
    return path if absolute else session.mount + path


def _fill_parameters(document: Mapping[str, Any], place: dict[str, Any], model: str) -> None:
    parameters = [resolve(document, each) for each in place.get("parameters", ())]
    for number, parameter in enumerate(parameters):
        if parameter["in"] == "path" and parameter["name"] in MODEL_PARAMETERS:
            others = {key: value for key, value in parameter.items() if key != "examples"}
            parameters[number] = {**others, "example": model}
    if parameters:
        place["parameters"] = parameters


def _exemplify(document: Mapping[str, Any], operation: dict[str, Any], model: str) -> None:
    for media in resolve(document, operation.get("requestBody", {})).get("content", {}).values():
        for name, example in media.get("examples", {}).items():
            told = copy.deepcopy(resolve(document, example))
            value = told.get("value")
            for field in _FIELDS if isinstance(value, dict) else ():
                if value.get(field):
                    value[field] = model
            media["examples"][name] = told


def plain(
    contract: str, document: Mapping[str, Any], operations: Mapping[str, Operation]
) -> Iterator[tuple[str, str]]:
    """The documented requests, as `shape` has them, but for those that say null: few clients
    do, and few servers are made for it."""
    for path, item in document["paths"].items():
        for method in item:
            operation = operations.get(label := f"{method.upper()} {path}")
            if operation is None:
                continue
            body = resolve(document, item[method].get("requestBody", {}))
            for media in body.get("content", {}).values():
                for example in media.get("examples", {}).values():
                    if not _has_null(example["value"]):
                        yield label, dumps(bounded(contract, operation, example["value"]))
            if not body:
                yield label, ""


def _has_null(value: JSON) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_null, value.values() if isinstance(value, dict) else value))
    return value is None


def shape(label: str, body: bytes | None) -> tuple[str, str]:
    """A request: its operation and its body, in one way of writing it."""
    if body is None:
        return label, ""
    try:
        return label, dumps(loads(body.decode()))
    except ValueError:
        return label, ""
