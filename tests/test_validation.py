"""Two libraries validate, and say the same; and what they say stays short."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmount.contract import Contract, names
from llmount.errors import Violation
from llmount.validation import Engine, Schema, show
from tests.documented import bodies

MEGABYTE = 1_000_000

OPERATIONS = [
    (name, operation.id)
    for name in names()
    for operation in Contract.load(name).operations.values()
    if operation.body is not None
]
EACH = pytest.mark.parametrize(("name", "operation_id"), OPERATIONS)


# Bodies that were good once

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.sampled_from([2**31, -(2**31) - 1, 2**63, 10**30, 0.0, -0.0, 0.5, 1.0, 2.0, 1e300]),
    st.text(max_size=5),
    st.sampled_from(["", "text", "function", "user", "tool", "5m", "10", "auto", "a b", "\n", "é"]),
)
VALUES = st.one_of(
    SCALARS,
    st.just([]),
    st.just({}),
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.sampled_from(["type", "name", "0", "url", "role", ""]), SCALARS, max_size=3),
)


@st.composite
def mutated(draw: st.DrawFn, name: str, operation_id: str) -> Any:
    """An example of the document with something else, or nothing, in up to three places."""
    examples = bodies(name, Contract.load(name).operations[operation_id])
    body: Any = draw(st.sampled_from(examples))
    for _ in range(draw(st.integers(0, 3))):
        node, key = body, None
        while isinstance(node, dict | list) and node and draw(st.integers(0, 3)):
            parent = node
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
            node = parent[key]
        match draw(st.integers(0, 9)):
            case 0 if isinstance(node, dict):
                node[draw(st.text(max_size=3))] = draw(VALUES)
            case 0 if isinstance(node, list):
                node.append(draw(VALUES))
            case 1 | 2 if key is not None:
                del parent[key]
            case 3 if isinstance(node, list):
                node *= draw(st.sampled_from([0, 2, 5, 130]))
            case 4 if isinstance(node, str) and key is not None:
                parent[key] = node + draw(st.sampled_from(["\n", "x" * 600, " ", "="]))
            case _ if key is None:
                body = draw(VALUES)
            case _:
                parent[key] = draw(VALUES)
    return body


@functools.cache
def schema(name: str, operation_id: str, engine: Engine) -> Schema:
    body = Contract.load(name, engine=engine).operations[operation_id].body
    assert body is not None
    return body


@EACH
@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_both_libraries_find_the_same_fault_first(
    name: str, operation_id: str, data: st.DataObject
) -> None:
    body = data.draw(mutated(name, operation_id))
    fast = schema(name, operation_id, "jsonschema-rs")
    reference = schema(name, operation_id, "jsonschema")
    assert fast.is_valid(body) == reference.is_valid(body)
    found, expected = fast.violations(body), reference.violations(body)
    assert bool(found) == bool(expected) == (not fast.is_valid(body))
    assert first(found) == first(expected)


def first(violations: tuple[Violation, ...]) -> Any:
    return violations and (violations[0].path, violations[0].keyword)
