"""Every document under `openapi/` keeps the rules that the server and the checks rely on.

A rule is a function from a document to complaints; the table `RULES` is applied to every
document, and a tiny document that is broken in one place each shows that a rule can fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import jsonschema_rs
import pytest
import yaml
from openapi_spec_validator import OpenAPIV32SpecValidator
from referencing.exceptions import Unresolvable

from llmount.contract import read

FOLDER = Path(__file__).parents[1] / "openapi"
PATHS = sorted(FOLDER.glob("*/*.yaml"))
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
GONE = object()
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Document = dict[str, Any]
Rule = Callable[[Document], Iterator[str]]


# Reading


class Loader(yaml.SafeLoader):
    """YAML without dates: what looks like one stays text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> Document:
    document: Document = yaml.load(text, Loader)
    return document


def yaml_traps(text: str) -> Iterator[str]:
    """What another YAML loader would read as something else, or drop, by line."""
    root = yaml.compose(text, yaml.SafeLoader)
    assert root is not None, "an empty document"
    pending = [root]
    while pending:
        node = pending.pop()
        line = f"line {node.start_mark.line + 1}"
        if node.tag == "tag:yaml.org,2002:timestamp":
            yield f"{line}: unquoted date {node.value}"
        elif node.tag == "tag:yaml.org,2002:bool" and node.value not in ("true", "false"):
            yield f"{line}: unquoted {node.value} is a boolean"
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                if key.tag != "tag:yaml.org,2002:str":
                    yield f"line {key.start_mark.line + 1}: the key {key.value} is no string"
                if key.value in names:
                    yield f"line {key.start_mark.line + 1}: the key {key.value} is there twice"
                names.add(key.value)
                pending.append(value)


def resolve(document: Document, node: Any) -> Any:
    """The node itself, or what its `$ref` into the same document points to."""
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        node = pointed(document, node["$ref"])
    return node


def pointed(document: Document, pointer: str) -> Any:
    """What stands there, which may be a `$ref` again."""
    node: Any = document
    for step in pointer.removeprefix("#/").split("/"):
        node = node[unquote(step).replace("~1", "/").replace("~0", "~")]
    return node


def operations(document: Document) -> Iterator[tuple[str, Any]]:
    for path, item in document["paths"].items():
        methods = {method: item[method] for method in METHODS if method in item}
        for method, operation in (methods | item.get("additionalOperations", {})).items():
            yield f"{method.upper()} {path}", operation


def messages(document: Document) -> Iterator[tuple[str, str, Any]]:
    """Every request body and response: where, "request" or the status, and the object."""
    for where, operation in operations(document):
        if "requestBody" in operation:
            yield f"{where} request", "request", resolve(document, operation["requestBody"])
        for status, response in operation["responses"].items():
            yield f"{where} {status}", status, resolve(document, response)


def contents(document: Document, where: str, message: Any) -> Iterator[tuple[str, Any]]:
    for name, media in message.get("content", {}).items():
        yield f"{where} {name}", resolve(document, media)


def carriers(document: Document) -> Iterator[tuple[str, Any]]:
    """Everything that has a schema and examples: media types, headers, parameters."""
    for where, _, message in messages(document):
        yield from contents(document, where, message)
        for name, header in message.get("headers", {}).items():
            yield f"{where} header {name}", resolve(document, header)
    for owner in (*document["paths"].values(), *(each for _, each in operations(document))):
        for parameter in owner.get("parameters", ()):
            found = resolve(document, parameter)
            yield f"parameter {found['name']}", found


def examples(document: Document, carrier: Any) -> Iterator[tuple[str, Any]]:
    """The examples of a carrier by name, each an Example Object."""
    if "example" in carrier:
        yield "example", {"value": carrier["example"]}
    for name, example in carrier.get("examples", {}).items():
        yield name, resolve(document, example)


# Judging a value by two engines, with `contentSchema` (an annotation by default) enforced


def rooted(document: Document, schema: Any) -> Any:
    """The schema as one of its own, in which references into the document still hold."""
    return {"$schema": DIALECT, "components": document.get("components", {}), "allOf": [schema]}


def content_errors(
    validator: Any, subschema: Any, instance: Any, _: Any
) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str):
        try:
            value = json.loads(instance)
        except ValueError:
            yield jsonschema.ValidationError(f"{instance!r} is not JSON")
        else:
            yield from validator.descend(value, subschema)


Reference = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"contentSchema": content_errors}
)


def compiled(document: Document, schema: Any) -> jsonschema_rs.Validator:
    class ContentSchema:
        def __init__(self, parent: Any, subschema: Any, path: Any) -> None:
            self.validator = compiled(document, subschema)

        def validate(self, instance: Any) -> None:
            if isinstance(instance, str):
                self.validator.validate(json.loads(instance))

    return jsonschema_rs.validator_for(
        rooted(document, schema), keywords={"contentSchema": ContentSchema}
    )


def verdicts(document: Document, schema: Any, values: Iterable[Any]) -> Iterator[str]:
    """What each engine has against the values."""
    reference = Reference(rooted(document, schema))
    fast = compiled(document, schema)
    for value in values:
        for error in reference.iter_errors(value):
            yield f"jsonschema: {error.message} at {error.json_path}"
        for found in fast.iter_errors(value):
            yield f"jsonschema-rs: {found.message} at {found.instance_path}"


# The rules


def is_openapi(document: Document) -> Iterator[str]:
    if document.get("openapi") != "3.2.0":
        yield f"openapi is {document.get('openapi')}, not 3.2.0"
    try:
        for error in OpenAPIV32SpecValidator(document).iter_errors():
            yield f"{error.message} at {'/'.join(map(str, error.absolute_path))}"
    except Unresolvable as error:
        yield f"{error.ref} points nowhere"


def names_its_servers(document: Document) -> Iterator[str]:
    if not document.get("servers"):
        yield "no servers"


def describes_operations(document: Document) -> Iterator[str]:
    owners: dict[str, str] = {}
    for where, operation in operations(document):
        for field in ("operationId", "summary", "description", "tags"):
            if not operation.get(field):
                yield f"{where}: no {field}"
        name = operation.get("operationId", "")
        if name in owners:
            yield f"{where}: operationId {name} is that of {owners[name]}"
        owners[name] = where


def documents_failures(document: Document) -> Iterator[str]:
    """A dialect may call a body that breaks its schema 422 instead of 400. Any operation
    may be refused by a host that has keys (401), rights (403) and limits (429)."""
    for where, operation in operations(document):
        needed: list[tuple[str, ...]] = [("401",), ("403",), ("405",), ("429",), ("500",)]
        if "requestBody" in operation:
            needed += [("400", "422"), ("413",)]
        for choice in needed:
            if operation["responses"].keys().isdisjoint(choice):
                yield f"{where}: no {' or '.join(choice)}"
    for where, status, response in messages(document):
        if status[0] not in "45":
            continue
        if not response.get("content"):
            yield f"{where}: no body"
        if status == "405" and "Allow" not in response.get("headers", {}):
            yield f"{where}: no Allow header"
        for place, media in contents(document, where, response):
            if "schema" not in media:
                yield f"{place}: no schema"
            if not list(examples(document, media)):
                yield f"{place}: no example"


def shows_examples(document: Document) -> Iterator[str]:
    """One of each request body, of each success with a body, and of each stream."""
    for where, status, message in messages(document):
        if status != "request" and (status[0] != "2" or not message.get("content")):
            continue
        medias = list(contents(document, where, message))
        if not any(list(examples(document, media)) for _, media in medias):
            yield f"{where}: no example"
        for place, media in medias:
            if "itemSchema" in media and not list(examples(document, media)):
                yield f"{place}: no example"


def describes_whole_streams(document: Document) -> Iterator[str]:
    for where, carrier in carriers(document):
        if "itemSchema" in carrier and "schema" not in carrier:
            yield f"{where}: itemSchema without schema"


def examples_are_valid(document: Document) -> Iterator[str]:
    for where, carrier in carriers(document):
        for name, example in examples(document, carrier):
            place = f"{where} example {name}"
            value = example.get("value", example.get("dataValue", GONE))
            if value is GONE:
                yield f"{place}: no value"
                continue
            if "schema" in carrier:
                for complaint in verdicts(document, carrier["schema"], [value]):
                    yield f"{place}: {complaint}"
            if "itemSchema" in carrier and not isinstance(value, list):
                yield f"{place}: not an array of items"
            elif "itemSchema" in carrier:
                for complaint in verdicts(document, carrier["itemSchema"], value):
                    yield f"{place}: an item: {complaint}"


def defaults_are_valid(document: Document) -> Iterator[str]:
    """The server fills them in, so they have to pass where the client's own would."""
    for where, status, message in messages(document):
        for place, media in contents(document, where, message) if status == "request" else ():
            fields = resolve(document, media.get("schema", {})).get("properties", {})
            for name, schema in fields.items():
                filled = [
                    part["default"]
                    for part in (schema, resolve(document, schema))
                    if isinstance(part, dict) and "default" in part
                ]
                for complaint in verdicts(document, schema, filled):
                    yield f"{place}: default of {name}: {complaint}"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, str) and node.startswith("#/components/"):
        yield node
    elif isinstance(node, (dict, list)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from references(child)


def uses_its_components(document: Document) -> Iterator[str]:
    """Security schemes are named, not referred to, and therefore not looked at."""
    used: set[str] = set()
    pending = list(references(document["paths"]))
    while pending:
        pointer = pending.pop()
        if pointer not in used:
            used.add(pointer)
            pending.extend(references(pointed(document, pointer)))
    for kind, members in document.get("components", {}).items():
        for name in members if kind != "securitySchemes" else ():
            if f"#/components/{kind}/{name}" not in used:
                yield f"unused: {kind} {name}"


RULES: tuple[Rule, ...] = (
    is_openapi,
    names_its_servers,
    describes_operations,
    documents_failures,
    shows_examples,
    describes_whole_streams,
    examples_are_valid,
    defaults_are_valid,
    uses_its_components,
)


# The documents


def test_there_are_documents() -> None:
    assert PATHS, f"no */*.yaml in {FOLDER}"


each_document = pytest.mark.parametrize(
    "path", PATHS, ids=[f"{path.parent.name}/{path.stem}" for path in PATHS]
)


@each_document
def test_a_document_reads_the_same_with_every_yaml_loader(path: Path) -> None:
    assert list(yaml_traps(path.read_text("utf-8"))) == []


@each_document
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_document_keeps_the_rule(path: Path, rule: Rule) -> None:
    assert list(rule(read(path))) == []


# The rules themselves

TINY = load("""
openapi: 3.2.0
info: {title: Tiny, version: '1'}
servers: [{url: /tiny}]
paths:
  /count:
    post:
      operationId: count
      summary: Count
      description: Counts.
      tags: [numbers]
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties: {upto: {type: integer, default: 3}}
            examples: {two: {value: {upto: 2}}}
      responses:
        '200':
          description: The numbers.
          content:
            text/event-stream:
              itemSchema: {$ref: '#/components/schemas/Event'}
              schema: {type: array, minItems: 1, items: {$ref: '#/components/schemas/Event'}}
              examples: {two: {dataValue: [{data: '{"n": 1}'}, {data: '[DONE]'}]}}
        '400': {$ref: '#/components/responses/Error'}
        '401': {$ref: '#/components/responses/Error'}
        '403': {$ref: '#/components/responses/Error'}
        '405': {$ref: '#/components/responses/Error'}
        '413': {$ref: '#/components/responses/Error'}
        '429': {$ref: '#/components/responses/Error'}
        '500': {$ref: '#/components/responses/Error'}
components:
  schemas:
    Event:
      type: object
      required: [data]
      properties:
        data:
          anyOf:
            - const: '[DONE]'
            - type: string
              contentMediaType: application/json
              contentSchema: {$ref: '#/components/schemas/Number'}
    Number: {type: object, required: [n], properties: {n: {type: integer}}}
  responses:
    Error:
      description: A failure.
      headers: {Allow: {schema: {type: string}, example: POST}}
      content:
        text/plain: {schema: {type: string}, examples: {any: {value: failed}}}
""")

COUNT = "paths /count post"
REQUEST = f"{COUNT} requestBody content application/json"
STREAM = f"{COUNT} responses 200 content text/event-stream"
EVENTS = f"{STREAM} examples two dataValue"
ERROR = "components responses Error"


def broken(place: str, value: Any) -> Document:
    """The tiny document with another value at one place, or without that place."""
    document = deepcopy(TINY)
    node: Any = document
    *steps, last = place.split(" ")
    for step in steps:
        node = node[step]
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    return document


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tiny_document_keeps_the_rule(rule: Rule) -> None:
    assert list(rule(TINY)) == []


@pytest.mark.parametrize(
    ("rule", "place", "value", "complaint"),
    [
        (is_openapi, "openapi", "3.1.0", "not 3.2.0"),
        (is_openapi, "info title", GONE, "title"),
        (is_openapi, f"{COUNT} responses 400", {"$ref": "#/no"}, "points nowhere"),
        (names_its_servers, "servers", GONE, "no servers"),
        (describes_operations, f"{COUNT} operationId", GONE, "no operationId"),
        (describes_operations, "paths /again", TINY["paths"]["/count"], "that of POST /count"),
        (documents_failures, f"{COUNT} responses 405", GONE, "no 405"),
        (documents_failures, f"{COUNT} responses 400", GONE, "no 400 or 422"),
        (documents_failures, f"{COUNT} responses 413", GONE, "no 413"),
        (documents_failures, f"{ERROR} content", GONE, "no body"),
        (documents_failures, f"{ERROR} content text/plain schema", GONE, "no schema"),
        (documents_failures, f"{ERROR} content text/plain examples", GONE, "no example"),
        (documents_failures, f"{ERROR} headers", GONE, "no Allow"),
        (shows_examples, f"{REQUEST} examples", {}, "request"),
        (shows_examples, f"{STREAM} examples", GONE, "200 text/event-stream: no example"),
        (describes_whole_streams, f"{STREAM} schema", GONE, "itemSchema without schema"),
        (examples_are_valid, f"{REQUEST} examples two value upto", "two", "is not of type"),
        (examples_are_valid, EVENTS, [], "example two: jsonschema: [] should be non-empty"),
        (examples_are_valid, EVENTS, "data", "not an array of items"),
        (examples_are_valid, EVENTS, [{"data": '{"n": "x"}'}], "is not valid under any"),
        (examples_are_valid, EVENTS, [{"data": "{"}], "is not valid under any"),
        (examples_are_valid, EVENTS, [{"event": "x"}], "is a required property"),
        (examples_are_valid, f"{STREAM} examples two", {"summary": "Two"}, "no value"),
        (examples_are_valid, f"{ERROR} headers Allow example", 1, "is not of type"),
        (defaults_are_valid, f"{REQUEST} schema properties upto default", "3", "default of upto"),
        (uses_its_components, "components schemas Unused", {}, "unused: schemas Unused"),
        (uses_its_components, "components responses Unused", {}, "unused: responses Unused"),
    ],
)
def test_a_document_that_breaks_the_rule_is_caught(
    rule: Rule, place: str, value: Any, complaint: str
) -> None:
    complaints = list(rule(broken(place, value)))
    assert any(complaint in each for each in complaints), complaints


@pytest.mark.parametrize("engine", ["jsonschema", "jsonschema-rs"])
def test_each_engine_looks_inside_the_data_of_an_event(engine: str) -> None:
    complaints = list(examples_are_valid(broken(EVENTS, [{"data": '{"n": "x"}'}])))
    assert any(f"an item: {engine}: " in each for each in complaints), complaints


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("since: 2026-08-21", "line 1: unquoted date 2026-08-21"),
        ("a: 1\nwhen: [2026-08-21T01:02:03Z]", "line 2: unquoted date 2026-08-21T01:02:03Z"),
        ("responses:\n  200: ok", "line 2: the key 200 is no string"),
        ("on: push", "line 1: the key on is no string"),
        ("enum: [yes, maybe]", "line 1: unquoted yes is a boolean"),
        ("a: 1\nb: 2\na: 3", "line 3: the key a is there twice"),
    ],
)
def test_a_yaml_trap_is_caught(text: str, complaint: str) -> None:
    assert list(yaml_traps(text)) == [complaint]


def test_what_is_quoted_is_no_yaml_trap() -> None:
    text = "{'200': '2026-08-21', 'on': 'yes', a: true, b: 1.5, c: null, d: 0.32.15}"
    assert list(yaml_traps(text)) == []
