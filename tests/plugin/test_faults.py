"""What each fault does to the answers of the reference server, on every framing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from llmount.errors import Forbidden
from llmount.testing.reference.failing import Failure
from llmount.testing.reference.faults import Fault
from llmount.testing.reference.server import ReferenceServer
from tests.plugin.asking import STREAMS, asking, body_of, lines_of

pytestmark = pytest.mark.anyio

SECONDS = 20
LONG = 60.0


@pytest.fixture(params=STREAMS.values(), ids=STREAMS)
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def ask(server: ReferenceServer, path: str, *, stream: bool = True) -> httpx.Response:
    with anyio.fail_after(SECONDS):
        async with asking(server) as client:
            return await client.post(path, json=body_of(path, stream=stream))


async def test_an_answer_without_a_fault_is_whole(path: str) -> None:
    server = ReferenceServer()

    answer = await ask(server, path)

    (asked,) = server.requests
    assert asked.good
    assert asked.items == len(lines_of(answer))
    assert "four" in answer.text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_limit_tells_how_long_to_wait(path: str, stream: bool) -> None:
    server = ReferenceServer()
    server.fault.rate_limit(retry_after=7)

    refused, answered = [await ask(server, path, stream=stream) for _ in range(2)]

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert "error" in refused.json()
    assert answered.status_code == 200
    assert [asked.retry_after for asked in server.requests] == [7, None]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_an_outage_has_its_status_and_no_internals(path: str, status: int) -> None:
    server = ReferenceServer()
    server.fault.outage(status=status)

    answer = await ask(server, path)

    assert answer.status_code == status
    assert "planned" not in answer.text
    assert "Traceback" not in answer.text


def test_an_outage_of_another_status_is_refused() -> None:
    with pytest.raises(ValueError, match="418"):
        ReferenceServer().fault.outage(status=418)


async def test_a_refused_prompt_leaves_the_queue_as_it_is(path: str) -> None:
    server = ReferenceServer()
    server.say("kept")
    server.fault.outage()

    await ask(server, path)

    assert "kept" in (await ask(server, path)).text


async def test_a_truncated_stream_ends_as_if_it_were_whole(path: str) -> None:
    server = ReferenceServer()
    whole = lines_of(await ask(server, path))
    server.fault.truncate(after_items=2)

    part = await ask(server, path)

    assert len(lines_of(part)) == 2 < len(whole)
    assert server.requests[-1].end == "truncated"
    assert server.requests[-1].spoiled


async def test_half_of_a_whole_answer_has_no_length_that_gives_it_away(path: str) -> None:
    server = ReferenceServer()
    server.fault.truncate()

    answer = await ask(server, path, stream=False)

    assert "content-length" not in answer.headers
    with pytest.raises(ValueError, match=r"char"):
        json.loads(answer.content)


async def test_a_cut_connection_is_an_error_of_the_transport(path: str) -> None:
    server = ReferenceServer()
    server.fault.truncate(after_items=1, cut=True)

    async with asking(server) as client:
        with anyio.fail_after(SECONDS), pytest.raises(ConnectionResetError, match="planned"):
            await client.post(path, json=body_of(path))

    (asked,) = server.requests
    assert (asked.end, asked.items) == ("cut", 1)


async def test_a_reset_comes_before_any_answer_and_after_the_request(path: str) -> None:
    server = ReferenceServer()
    server.fault.reset()

    async with asking(server) as client:
        with anyio.fail_after(SECONDS), pytest.raises(ConnectionResetError, match="planned"):
            await client.post(path, json=body_of(path))

    (asked,) = server.requests
    assert (asked.end, asked.status) == ("cut", None)
    assert asked.json == body_of(path)


async def test_a_malformed_item_is_one_item_that_is_no_json(path: str) -> None:
    server = ReferenceServer()
    whole = lines_of(await ask(server, path))
    server.fault.malformed(after_items=1)

    lines = lines_of(await ask(server, path))

    assert len(lines) == len(whole)
    assert [number for number, line in enumerate(lines) if not _is_item(line)] == [1]


def _is_item(line: str) -> bool:
    try:
        return line == "[DONE]" or json.loads(line) is not None
    except ValueError:
        return False


async def test_a_duplicate_is_the_same_item_twice(path: str) -> None:
    server = ReferenceServer()
    whole = lines_of(await ask(server, path))
    server.fault.duplicate(after_items=1)

    lines = lines_of(await ask(server, path))

    assert len(lines) == len(whole) + 1
    assert lines[1] == lines[2]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_arguments_of_a_broken_call_are_no_json(path: str, stream: bool) -> None:
    server = ReferenceServer()
    server.say(tool_call=("weather", {"city": "Oslo", "days": {"from": 1}}))
    server.fault.broken_tool_call()

    answer = await ask(server, path, stream=stream)

    items = lines_of(answer) if stream else [answer.text]
    assert all(map(_is_item, items))
    arguments = _arguments([json.loads(item) for item in items if item != "[DONE]"])
    assert "Oslo" in arguments
    with pytest.raises(ValueError, match="char"):
        json.loads(arguments)
    assert server.requests[-1].spoiled


def _arguments(value: Any) -> str:
    """All arguments in a value, one after the other; those of responses come in deltas."""
    if isinstance(value, list):
        if any("function_call_arguments.delta" in str(each.get("type")) for each in value):
            return "".join(
                str(each["delta"]) for each in value if "arguments.delta" in each["type"]
            )
        return "".join(map(_arguments, value))
    if not isinstance(value, dict):
        return ""
    return "".join(
        str(each) if name == "arguments" else "" if isinstance(each, str) else _inner(each)
        for name, each in value.items()
    )


def _inner(value: Any) -> str:
    if isinstance(value, list):
        return "".join(map(_inner, value))
    return _arguments(value)


async def test_a_broken_call_without_a_call_breaks_nothing(path: str) -> None:
    server = ReferenceServer()
    server.fault.broken_tool_call()

    await ask(server, path)

    assert server.requests[-1].good


@pytest.mark.parametrize("stream", [True, False])
async def test_a_wrong_content_type_is_all_that_is_wrong(path: str, stream: bool) -> None:
    server = ReferenceServer()
    server.fault.wrong_content_type("text/plain")

    answer = await ask(server, path, stream=stream)

    assert answer.headers.get_list("content-type") == ["text/plain"]
    assert "four" in answer.text
    assert server.requests[-1].spoiled


async def test_an_error_in_a_stream_comes_after_what_was_said(path: str) -> None:
    server = ReferenceServer()
    server.fault.error_in_band(after_items=2)

    answer = await ask(server, path)

    assert answer.status_code == 200
    assert "two" in answer.text
    assert "three" not in answer.text
    assert '"error"' in answer.text


async def test_a_whole_answer_cannot_have_an_error_in_it(path: str) -> None:
    server = ReferenceServer()
    server.fault.error_in_band()

    assert (await ask(server, path, stream=False)).status_code == 502


@pytest.mark.parametrize("plan", ["slow_first_token", "stall"])
async def test_a_silence_lasts_until_the_client_leaves(path: str, plan: str) -> None:
    server = ReferenceServer()
    silences: dict[str, Callable[[], object]] = {
        "slow_first_token": lambda: server.fault.slow_first_token(LONG),
        "stall": lambda: server.fault.stall(after_items=1, seconds=LONG),
    }
    silences[plan]()

    with anyio.fail_after(SECONDS), anyio.move_on_after(0.3) as patience:
        async with asking(server) as client, client.stream("POST", path, json=body_of(path)) as got:
            async for _ in got.aiter_bytes():
                pass

    assert patience.cancelled_caught
    (asked,) = server.requests
    assert asked.end == "left"
    assert 0 < asked.waited < LONG


async def test_a_silence_ends_and_all_is_said(path: str) -> None:
    server = ReferenceServer()
    server.fault.stall(after_items=1, seconds=0.05)

    answer = await ask(server, path)

    assert "four" in answer.text
    assert server.requests[-1].good
    assert server.requests[-1].waited >= 0.05


async def test_faults_come_one_after_the_other_and_skip_what_they_are_told_to(path: str) -> None:
    server = ReferenceServer()
    server.fault.outage(skip=1).rate_limit(times=2)

    statuses = [(await ask(server, path)).status_code for _ in range(5)]

    assert statuses == [200, 503, 429, 429, 200]
    assert server.fault.left == []


async def test_a_fault_hits_only_the_path_that_it_is_for() -> None:
    server = ReferenceServer()
    server.fault.outage(path="/api/tags", times=None)

    async with asking(server) as client:
        assert (await client.get("/api/tags")).status_code == 503
        assert (await client.get("/v1/models")).status_code == 200
    assert (await ask(server, "/api/chat")).status_code == 200


async def test_a_request_that_is_no_post_meets_no_fault_unless_it_is_named() -> None:
    server = ReferenceServer()
    server.fault.outage()

    async with asking(server) as client:
        assert (await client.get("/v1/models")).status_code == 200
    assert server.fault.left == ["outage"]

    server.fault.clear()
    assert (await ask(server, "/api/chat")).status_code == 200


async def test_a_fault_of_ones_own_is_drawn_by_the_dialect(path: str) -> None:
    server = ReferenceServer()
    server.fault.add(Fault(name="closed", failure=Failure(Forbidden("not on Sundays"))))

    answer = await ask(server, path)

    assert answer.status_code == 403
    assert "Sundays" in answer.text
    assert server.requests[-1].fault == "closed"


@pytest.mark.parametrize("which", [{"times": 0}, {"skip": -1}])
def test_a_fault_that_could_never_hit_is_refused(which: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot hit"):
        ReferenceServer().fault.outage(**which)
