"""A document becomes operations: found, read, and understood alike however it is written."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import llmount
from llmount.contract import Contract, essence, names, path, read
from llmount.errors import InvalidRequest

ROOT = Path(__file__).parents[1]

TINY: dict[str, Any] = yaml.safe_load("""
openapi: 3.2.0
info: {title: Tiny, version: '2.0'}
paths:
  /count:
    post:
      operationId: count
      summary: Count
      requestBody: {$ref: '#/components/requestBodies/Count'}
      responses:
        '200':
          content:
            application/json: {schema: {type: object}}
            application/x-ndjson: {itemSchema: {type: integer}, schema: {type: array}}
        4XX: {$ref: '#/components/responses/Fault'}
        default:
          content: {text/plain: {schema: {type: string}}}
    get: {operationId: counts, responses: {'200': {content: {text/html: {schema: {}}}}}}
  /of/{a}/by/{b}: {get: {operationId: both, responses: {}}}
  /names/{name}: {get: {operationId: name, responses: {}}}
  /: {servers: [{url: /}], get: {operationId: root, responses: {}}}
components:
  requestBodies:
    Count:
      required: true
      content:
        application/json; charset=utf-8: {schema: {$ref: '#/components/schemas/Count'}}
        '*/*': {schema: {$ref: '#/components/schemas/Count'}}
  responses:
    Fault:
      content:
        application/problem+json: {schema: {$ref: '#/components/schemas/Fault~1~0'}}
  schemas:
    Fault/~: {type: object, required: [error]}
    Small: {type: integer, maximum: 9, default: 5}
    Count:
      type: object
      required: [name]
      properties:
        name: {type: string}
        upto: {$ref: '#/components/schemas/Small'}
        from: {$ref: '#/components/schemas/Small', default: 1}
        step: {type: [integer, 'null'], default: 2}
        quiet: {type: [boolean, 'null'], default: false}
        said: {type: [string, 'null'], default: null}
      allOf:
        - {properties: {late: {type: string, default: never}}}
""")


def tiny(**changes: Any) -> Contract:
    return Contract.compile({**copy.deepcopy(TINY), **changes}, name="tiny")


# Operations


def test_a_document_has_a_title_a_version_and_its_operations() -> None:
    contract = tiny()
    assert (contract.name, contract.title, contract.version) == ("tiny", "Tiny", "2.0")
    assert set(contract.operations) == {"count", "counts", "both", "name", "root"}
    count = contract.operations["count"]
    assert (count.method, count.path, count.summary) == ("POST", "/count", "Count")
    assert count.accepts == ("application/json", "*/*")
    assert count.body_required
    assert not count.absolute
    assert contract.operations["root"].absolute
    assert contract.operations["counts"].body is None


def test_defaults_fill_in_what_is_absent_or_null_also_beside_a_reference() -> None:
    count = tiny().operations["count"]
    filled = {"upto": 5, "from": 1, "step": 2, "quiet": False, "late": "never"}
    assert count.validate({"name": "a"}) == {"name": "a", **filled}
    assert count.validate({"name": "a", "step": None, "quiet": None}) == {"name": "a", **filled}
    given = {"name": "", "upto": 0, "from": 0, "step": 0, "quiet": True, "late": ""}
    assert count.validate(dict(given)) == given


def test_a_body_that_breaks_the_schema_is_refused_with_every_fault() -> None:
    with pytest.raises(InvalidRequest) as caught:
        tiny().operations["count"].validate({"upto": 10, "from": "x"})
    assert [each.path for each in caught.value.violations] == [("name",), ("upto",), ("from",)]
    assert caught.value.violation is caught.value.violations[0]


def test_the_media_type_of_an_answer_goes_by_its_status_and_kind() -> None:
    contract = tiny()
    count = contract.operations["count"]
    assert count.whole is not None
    assert count.stream is not None
    assert (count.whole.name, count.stream.name) == ("application/json", "application/x-ndjson")

    def name(status: int, *, text: bool = False) -> str | None:
        media = count.media(status, text=text)
        return None if media is None else media.name

    assert name(200) == "application/json"
    assert name(418) == "application/problem+json"
    assert name(500) is None
    assert name(500, text=True) == "text/plain"
    assert name(418, text=True) == "text/plain"
    counts = contract.operations["counts"]
    assert (counts.whole and counts.whole.name, counts.stream) == ("text/html", None)
    found = contract.media(400)
    assert found is not None
    assert found.schema is not None
    assert not found.schema.is_valid({})
    assert found.schema.is_valid({"error": 1})


def test_what_events_carry_is_in_the_place_of_their_text() -> None:
    for name, operation in (("chat/openai", "createChatCompletion"), ("generate/ollama", "chat")):
        stream = Contract.load(name).operations[operation].stream
        assert stream is not None
        assert stream.carried is not None
        stream.carried.compile()
    chunk = Contract.load("chat/openai").operations["createChatCompletion"].stream
    assert chunk is not None
    assert chunk.item is not None
    assert chunk.carried is not None
    assert chunk.item.is_valid({"data": "{}"})
    assert not chunk.carried.is_valid({"data": {}})
    assert chunk.carried.is_valid({"data": "[DONE]"})


@pytest.mark.parametrize(
    ("operation", "path", "params"),
    [
        ("both", "/of/x/by/y", {"a": "x", "b": "y"}),
        ("both", "/of/x/by/y/z", {"a": "x", "b": "y/z"}),
        ("both", "/of/x/z/by/y", None),
        ("both", "/of//by/y", None),
        ("name", "/names/owner/name:tag", {"name": "owner/name:tag"}),
        ("name", "/names/", None),
        ("inner", "/of/owner/name/all", {"one": "owner/name"}),
        ("inner", "/of//all", None),
        ("name", "/Names/x", None),
    ],
)
def test_a_lone_or_last_parameter_takes_all_there_is(
    operation: str, path: str, params: dict[str, str] | None
) -> None:
    inner = {"/of/{one}/all": {"get": {"operationId": "inner", "responses": {}}}}
    contract = tiny(paths=inner) if operation == "inner" else tiny()
    pattern = contract.operations[operation].pattern
    assert pattern is not None
    match = pattern.fullmatch(path)
    assert (match and match.groupdict()) == params


def test_characters_of_a_path_stand_for_themselves() -> None:
    paths = {"/v1.0/{x}": {"get": {"operationId": "dot", "responses": {}}}}
    pattern = tiny(paths=paths).operations["dot"].pattern
    assert pattern is not None
    assert pattern.fullmatch("/v1.0/y")
    assert not pattern.fullmatch("/v1x0/y")


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" text/event-stream ;a=b", "text/event-stream"),
        ("", ""),
    ],
)
def test_a_media_type_is_compared_without_case_and_parameters(
    media_type: str, expected: str
) -> None:
    assert essence(media_type) == expected


# Finding and reading


def test_our_documents_are_found_by_name() -> None:
    assert {"ai/geenii", "chat/openai", "generate/ollama"} <= set(names())
    assert list(names()) == sorted(names())
    for name in names():
        contract = Contract.load(name)
        assert contract.name == name
        assert contract.operations
        assert path(name).is_file()
        assert Contract.load(name) is contract


def test_either_engine_compiles_every_schema_of_our_documents() -> None:
    for name in names():
        for engine in ("jsonschema-rs", "jsonschema"):
            for operation in Contract.load(name, engine=engine).operations.values():
                if operation.body is not None:
                    operation.body.compile()
                for media in (each for some in operation.responses.values() for each in some):
                    for schema in (media.schema, media.item, media.carried):
                        if schema is not None:
                            schema.compile()


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
@pytest.mark.parametrize("kind", [str, Path])
def test_any_document_is_read_by_the_path_of_its_file(
    tmp_path: Path, suffix: str, kind: type[str] | type[Path]
) -> None:
    file = tmp_path / f"tiny{suffix}"
    file.write_text(json.dumps(TINY) if suffix == ".json" else yaml.safe_dump(TINY), "utf-8")
    assert read(kind(file)) == TINY
    assert set(Contract.load(kind(file)).operations) == set(tiny().operations)


def test_yaml_is_read_as_json_would_have_it(tmp_path: Path) -> None:
    file = tmp_path / "dates.yaml"
    file.write_text("{since: 2026-08-21, 200: ok, at: 2026-08-21T01:02:03Z, n: 1.5, é: ü}", "utf-8")
    expected = {"since": "2026-08-21", "200": "ok", "at": "2026-08-21T01:02:03Z", "n": 1.5}
    assert read(file) == {**expected, "é": "ü"}


@pytest.mark.parametrize("name", ["nope", "chat/nope", "chat", "", "chat/openai.txt"])
def test_a_name_that_is_none_is_told_with_those_that_are(name: str) -> None:
    with pytest.raises(LookupError, match="chat/openai"):
        Contract.load(name)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Contract.load(tmp_path / "nope.yaml")


POST = {"post": {"operationId": "same", "responses": {}}}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "not an OpenAPI 3 document"),
        ("text", "not an OpenAPI 3 document"),
        ({}, "not an OpenAPI 3 document"),
        ({"swagger": "2.0"}, "not an OpenAPI 3 document"),
        ({"openapi": "2.0"}, "not an OpenAPI 3 document"),
        ({"openapi": 3.2}, None),
        ({**TINY, "paths": {"/a": {"post": {"responses": {}}}}}, "POST /a has no operationId"),
        ({**TINY, "paths": {"/a": POST, "/b": POST}}, "'same' is used twice"),
    ],
)
def test_a_bad_document_is_refused_with_its_name(
    tmp_path: Path, document: Any, complaint: str | None
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(document), "utf-8")
    if complaint is None:
        assert Contract.load(file).operations == {}
        return
    with pytest.raises(ValueError, match=complaint) as caught:
        Contract.load(file)
    assert str(file) in str(caught.value)


def test_a_schema_that_is_none_is_a_value_error() -> None:
    document = copy.deepcopy(TINY)
    document["components"]["schemas"]["Count"]["type"] = "thing"
    body = Contract.compile(document, name="bad").operations["count"].body
    assert body is not None
    with pytest.raises(ValueError, match="Unexpected type"):
        body.compile()


# Where the documents are


def test_the_checkout_has_its_documents_beside_the_sources() -> None:
    source = Path(llmount.__file__).parent
    if (source / "openapi").is_dir():
        pytest.skip("this is an installed wheel")
    assert path("chat/openai") == source.parents[1] / "openapi" / "chat" / "openai.yaml"


def test_the_wheel_has_its_documents_within(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.builders.wheel")
    if not (ROOT / "pyproject.toml").is_file() or not (ROOT / "LICENSE").is_file():
        pytest.skip("there is no checkout to build from")
    (wheel,) = hatchling.WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    assert {file.name for file in (installed / "llmount").iterdir()} >= {"openapi", "py.typed"}
    code = "from llmount.contract import *; print(*names()); print(Contract.load(names()[0]).title)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == list(names())
