"""A report that has some of everything, and texts that try to be more than texts."""

from __future__ import annotations

from llmount.check.recording import Item, Recording
from llmount.check.verdict import (
    About,
    Finding,
    Profile,
    Report,
    Result,
    Severity,
    Verdict,
)

__all__ = ["EVIL", "REPORT", "STREAM", "plain"]

EVIL = "</pre><script>alert(1)</script> \x1b[31m\x00 `$(id)` 'a\" | @you #1 ]]> \ufffe {{body}}"
"""What a server might say."""

STREAM = Recording(
    method="POST",
    url="http://127.0.0.1:9/v1/chat/completions",
    headers=[("authorization", "Bearer …"), ("content-type", "application/json")],
    body=b'{"model": "m", "stream": true}',
    status=200,
    response_headers=[("content-type", "text/event-stream"), ("x-evil", EVIL)],
    content=b"data: {}\n\n",
    items=[
        Item({"data": '{"n": 0}'}, 0.1),
        Item({"data": EVIL}, 0.25),
        Item({"data": "[DONE]"}, 0.5),
    ],
    began=0.05,
    ended=0.5,
    reads=[(0.1, 10), (0.25, 20), (0.5, 14)],
)

_CUT = Recording(
    method="GET",
    url="http://127.0.0.1:9/v1/models",
    body=b"\xff\x00",
    fault="the connection was cut",
    ended=1.5,
    left_out={"content": 7},
)

_ABOUTS = {
    "answers.plain": About(title="A question is answered", source="https://example.org/a b"),
    "stream.role": About(
        title="The role comes first",
        source="https://example.org/role",
        breaks={"good-client": "raises `TypeError`", "other-client": "waits for ever"},
    ),
    "stream.usage": About(
        title="Usage is null", severity=Severity.STRICT, breaks={"third-client": "counts wrong"}
    ),
    "models.list": About(title="Models are listed", breaks={"fine-client": "shows none"}),
    "models.known": About(title="This one is known already"),
    "semantics.seed": About(title="A seed repeats", breaks={"unsure-client": "varies"}),
    "semantics.tools": About(title="Tools are called"),
}

REPORT = Report(
    target="http://127.0.0.1:9",
    url="http://127.0.0.1:9",
    contract="chat/openai",
    mount="/v1",
    profile=Profile.COMPAT,
    model="m",
    also=["generate/ollama"],
    server=EVIL,
    seed=7,
    version="1.2.3",
    started=1_700_000_000.0,
    seconds=12.5,
    abouts=_ABOUTS,
    results=[
        Result(check="answers.plain", verdict=Verdict.PASS, operation="ask", seconds=0.5),
        Result(
            check="stream.role",
            verdict=Verdict.FAIL,
            operation="ask",
            findings=[
                Finding(f"no role: {EVIL}", STREAM, 1),
                Finding("no role in another item either", STREAM, 2),
                Finding("and this one has no exchange"),
            ],
            measured={"first item": 0.1},
            findings_left_out=4,
        ),
        Result(
            check="stream.usage",
            verdict=Verdict.WARN,
            operation="ask",
            findings=[Finding("usage is missing", _CUT)],
        ),
        Result(check="models.list", verdict=Verdict.PASS),
        Result(
            check="models.known",
            verdict=Verdict.FAIL,
            findings=[Finding("still there", _CUT)],
            accepted=True,
        ),
        Result(check="semantics.seed", verdict=Verdict.SKIP, reason="no time was left"),
        Result(check="semantics.tools", verdict=Verdict.UNSUPPORTED, reason="m has no tools"),
    ],
    streams={"ask": STREAM},
    stale=["answers.gone@ask"],
)


def plain(*results: Result, contract: str = "chat/openai", stale: tuple[str, ...] = ()) -> Report:
    """A report of these results alone."""
    return Report(
        target="http://127.0.0.1:9",
        contract=contract,
        profile=Profile.COMPAT,
        model="m",
        results=results,
        stale=stale,
    )
