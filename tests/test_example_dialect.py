"""The dialect of `examples/tgi`, which stands outside of the package: its document, its cases,
Schemathesis, and the client that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from examples.tgi.tgi import TGI

from llmount import EchoBackend, generate_app
from llmount.backends.echo import Fail
from llmount.contract import Contract, read
from llmount.errors import BackendError, Overloaded
from llmount.testing.schema_run import run
from llmount.types import TextDelta
from tests.contract_cases import Case, Scripted, cases_of
from tests.mounting.servers import serving
from tests.test_contracts import faults
from tests.test_documents import RULES, Rule, load, yaml_traps

FOLDER = Path(__file__).parents[1] / "examples" / "tgi"
CASES = list(cases_of("example/tgi"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_its_document_keeps_the_rules(rule: Rule) -> None:
    text = (FOLDER / "tgi.yaml").read_text("utf-8")

    assert list(yaml_traps(text)) == []
    assert list(rule(load(text))) == []


def test_its_module_is_as_small_as_is_said() -> None:
    lines = (FOLDER / "tgi.py").read_text("utf-8").splitlines()

    assert len([line for line in lines if line.strip()]) < 100


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("operation_id", "case"),
    [pytest.param(*each, id=f"{each[0]}: {each[1]['case']}") for each in CASES],
)
async def test_the_answer_is_as_the_case_has_it(operation_id: str, case: Case) -> None:
    contract = Contract.load(TGI.contract)
    backend = Scripted(case)
    options = {key: case[key] for key in ("max_body",) if key in case}
    app = generate_app(backend, dialect=TGI(backend, "echo"), check_answers=True, **options)

    found, answered = await faults(contract, contract.operations[operation_id], case, backend, app)
    assert found == [], answered


def test_every_documented_status_has_a_case() -> None:
    contract = Contract.load(TGI.contract)
    statuses = {case.get("status", 200) for _, case in CASES}

    for operation in contract.operations.values():
        assert {int(status) for status in operation.responses} <= statuses
    assert {operation for operation, _ in CASES} == set(contract.operations)


@pytest.mark.parametrize("stream", [None, True], ids=["as it comes", "streamed"])
def test_schemathesis_finds_nothing(stream: bool | None) -> None:
    backend = EchoBackend()
    app = generate_app(backend, dialect=TGI(backend, "echo"), check_answers=True)

    result = run(app, read(TGI.contract), stream=stream, max_examples=20)

    assert 200 in result.statuses
    assert result.failures == ()
    assert max(result.statuses) < 500


# Its client


@pytest.fixture
def client_of() -> Iterator[Any]:
    """A function from a backend to Hugging Face's client of it."""
    hub = pytest.importorskip("huggingface_hub")
    with ExitStack() as stack:

        def client(backend: EchoBackend) -> Any:
            app = generate_app(backend, dialect=TGI(backend, "echo"), check_answers=True)
            host, port = stack.enter_context(serving(app))
            return hub.InferenceClient(f"http://{host}:{port}", token="none", timeout=10)

        yield client


def test_its_client_reads_text_and_details(client_of: Any) -> None:
    client = client_of(EchoBackend())

    assert client.text_generation("one two three") == "one two three"
    told = client.text_generation("one two three", details=True, max_new_tokens=2, seed=7)
    assert told.generated_text == "one two"
    assert [token.text for token in told.details.tokens] == ["one", " two"]
    assert (told.details.finish_reason, told.details.seed) == ("length", 7)


def test_its_client_reads_streams(client_of: Any) -> None:
    client = client_of(EchoBackend())

    assert "".join(client.text_generation("one two", stream=True)) == "one two"
    *steps, end = client.text_generation("one two", stream=True, details=True)
    assert [step.token.text for step in steps] == ["one", " two"]
    assert (end.token.special, end.generated_text) == (True, "one two")
    assert (end.details.finish_reason, end.details.input_length) == ("eos_token", 2)


def test_its_client_gets_json_that_fits_a_schema(client_of: Any) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    answer = client_of(EchoBackend()).text_generation(
        "one two", grammar={"type": "json", "value": schema}
    )

    assert answer == '{"name":"text"}'


@pytest.mark.parametrize("stream", [False, True])
def test_its_client_tells_errors_apart(client_of: Any, stream: bool) -> None:
    from huggingface_hub import errors

    def ask(client: Any, **options: Any) -> None:
        list(client.text_generation("one two", stream=stream, **options))

    with pytest.raises(errors.ValidationError, match="best_of"):
        ask(client_of(EchoBackend()), best_of=2)
    with pytest.raises(errors.OverloadedError):
        ask(client_of(EchoBackend([Fail(Overloaded())])))
    with pytest.raises(errors.GenerationError, match="the backend failed"):
        ask(client_of(EchoBackend([TextDelta("one"), Fail(BackendError())])))
