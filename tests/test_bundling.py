"""A document in several files becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmount.bundling import bundled, pointed
from llmount.contract import Contract, read

OTHER: dict[str, Any] = {
    "paths": {"/a~b": {"get": {"x": {"$ref": "#/components/schemas/Leaf"}}}},
    "components": {
        "schemas": {
            "Leaf": {
                "type": "object",
                "properties": {"next": {"$ref": "#/components/schemas/Leaf"}},
            },
            "Root": {"allOf": [{"$ref": "#/components/schemas/Leaf"}]},
        }
    },
}


def bundle(document: dict[str, Any]) -> dict[str, Any]:
    return bundled(document, {"other.yaml": OTHER}.__getitem__)


def test_a_component_comes_with_all_that_it_refers_to() -> None:
    found = bundle({"a": {"$ref": "other.yaml#/components/schemas/Root", "description": "Mine"}})

    assert found["a"] == {"$ref": "#/components/schemas/Root", "description": "Mine"}
    assert found["components"] == OTHER["components"]


def test_anything_else_takes_the_place_of_its_reference() -> None:
    found = bundle({"a": [{"$ref": "other.yaml#/paths/~1a~0b", "beside": 1}]})

    assert found["a"] == [{**OTHER["paths"]["/a~b"], "beside": 1}]
    assert list(found["components"]["schemas"]) == ["Leaf"]


def test_a_document_of_one_file_stays_as_it_is() -> None:
    document = {
        "a": {"$ref": "#/components/schemas/A"},
        "b": {"$ref": "https://example.com/b"},
        "components": {"schemas": {"A": {"properties": {"$ref": {"type": "string"}}}}},
    }

    assert bundle(document) == document


def test_a_name_that_would_mean_two_things_is_refused() -> None:
    with pytest.raises(ValueError, match=r"schemas Leaf is one of .* and another one"):
        bundle(
            {
                "a": {"$ref": "other.yaml#/components/schemas/Leaf"},
                "components": {"schemas": {"Leaf": {}}},
            }
        )


@pytest.mark.parametrize("pointer", ["/paths/x", "/components/schemas/None"])
def test_what_points_nowhere_is_refused(pointer: str) -> None:
    with pytest.raises(LookupError):
        bundle({"a": {"$ref": f"other.yaml#{pointer}"}})


def test_a_file_is_found_beside_the_one_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("answer: {fields: {type: object}}", encoding="utf-8")
    whole = tmp_path / "whole.yaml"
    whole.write_text("openapi: 3.2.0\nx: {$ref: 'part.yaml#/answer'}", encoding="utf-8")

    assert read(whole)["x"] == {"fields": {"type": "object"}}


def test_one_of_ours_needs_no_other_file() -> None:
    document = Contract.load("chat/azure").document
    path = "/deployments/{deployment}/embeddings"

    assert "openai.yaml#" not in str(document)
    assert pointed(document, f"/paths/{path.replace('/', '~1')}/post/operationId")
