"""Keys: who comes in, who does not, and what nobody gets to see."""

from __future__ import annotations

import hmac
import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import anyio
import pytest

from llmount import EchoBackend, KeysRequired, ai_app, chat_app, gateway, generate_app
from llmount.access import Access, Limits
from llmount.app import App
from llmount.contract import Contract, Operation
from llmount.dialects.protocol import Answer, Drawing, Handler, Headers, Reply, Request
from llmount.errors import ApiError, Forbidden
from llmount.types import Quota
from tests.limiting import SECONDS, SharedStore, ask, chat

GOOD = "sk-good-0123456789"
BAD = "sk-bad-0123456789"


def knows(key: str) -> str | None:
    return "ada" if key == GOOD else None


async def asks_around(key: str) -> str | None:
    await anyio.lowlevel.checkpoint()
    return knows(key)


KINDS: Sequence[Any] = [
    [GOOD],
    {GOOD, "sk-other"},
    {"ada": GOOD, "bob": "sk-other"},
    knows,
    asks_around,
]
EACH_KIND = pytest.mark.parametrize("keys", KINDS, ids=["list", "set", "mapping", "sync", "async"])


def app(**options: Any) -> App:
    return chat_app(EchoBackend(), **options)


# Keys of each kind


@pytest.mark.anyio
@EACH_KIND
async def test_a_good_key_comes_in_and_another_does_not(keys: Any) -> None:
    guarded = app(keys=keys)
    assert (await ask(guarded, GOOD, json=chat())).status_code == 200
    for key in (BAD, GOOD + "x", GOOD[:-1], GOOD.upper()):
        assert (await ask(guarded, key, json=chat())).status_code == 401


@pytest.mark.anyio
@EACH_KIND
async def test_who_sends_no_key_does_not_come_in(keys: Any) -> None:
    response = await ask(app(keys=keys), json=chat())
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {GOOD}"},
        {"authorization": f"bEaReR   {GOOD}  "},
        {"api-key": GOOD},
        {"x-api-key": f" {GOOD}"},
        [("authorization", "Basic abc"), ("authorization", f"Bearer {GOOD}")],
        [("authorization", "Bearer"), ("api-key", GOOD)],
    ],
)
async def test_a_key_is_where_clients_put_it(headers: Any) -> None:
    assert (await ask(app(keys=[GOOD]), headers=headers, json=chat())).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": GOOD},
        {"authorization": f"Basic {GOOD}"},
        {"authorization": f"Bearer{GOOD}"},
        {"authorization": "Bearer "},
        {"x-key": GOOD},
        {"cookie": f"api-key={GOOD}"},
    ],
)
async def test_a_key_is_not_anywhere_else(headers: Any) -> None:
    response = await ask(app(keys=[GOOD]), headers=headers, json=chat())
    assert response.status_code == 401
    assert response.json()["error"]["message"].startswith("You didn't provide an API key.")


@pytest.mark.anyio
@pytest.mark.parametrize("value", [b"Bearer \xff\xfe", "Bearer sk-\u00fc".encode(), b"Bearer a b"])
async def test_what_can_be_no_key_is_a_wrong_one_and_is_not_looked_up(value: bytes) -> None:
    looked_up: list[str] = []
    guarded = app(keys=lambda key: looked_up.append(key))
    headers: Any = [(b"authorization", value)]
    assert (await ask(guarded, headers=headers, json=chat())).status_code == 401
    assert looked_up == []


def test_one_text_is_not_taken_for_a_collection_of_letters() -> None:
    with pytest.raises(TypeError, match="put it into a list"):
        app(keys=GOOD)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([], "nobody could come in"),
        ({}, "nobody could come in"),
        ([""], "key 1 is not a text of visible ASCII"),
        ({"ada": "sk-secret", "bob": ""}, "key 2 is not"),
        ({"sk-secret": "Ada Lovelace"}, "key 1 is not"),
        ([None], "key 1 is not"),
        (["sk secret"], "key 1 is not"),
        (["sk-secret\n"], "key 1 is not"),
        (["sk-s\u00e9cret"], "key 1 is not"),
        (["sk-secret\udc80"], "key 1 is not"),
        ({"": "sk-secret"}, "empty name"),
        ({"ada": "sk-secret", "bob": "sk-secret"}, "the same key"),
    ],
)
def test_keys_that_cannot_work_are_refused_and_not_shown(keys: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        app(keys=keys)
    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.anyio
async def test_every_key_is_compared_by_digests_of_one_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that neither the place of a good key nor its length makes a difference in time."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    guarded = app(keys=[f"sk-{number}" * (number + 1) for number in range(50)])
    monkeypatch.setattr(hmac, "compare_digest", counting)
    for key in ("sk-0", "sk-25" * 26, "sk-49" * 50, "nope", "x" * 5000):
        compared.clear()
        await ask(guarded, key, json=chat())
        assert len(compared) == 50
        assert {len(each) for pair in compared for each in pair} == {32}


@pytest.mark.anyio
async def test_a_key_without_a_name_goes_by_one_that_is_not_the_key() -> None:
    seen = []
    for _ in range(2):
        guarded = app(keys={GOOD}, limits=lambda identity: seen.append(identity))
        await ask(guarded, GOOD, json=chat())
    assert seen[0] == seen[1]
    assert len(seen[0]) == 12
    assert GOOD not in seen[0]


@pytest.mark.anyio
async def test_a_key_with_a_name_goes_by_it() -> None:
    seen: list[str] = []
    guarded = app(keys={"ada": GOOD, "bob": BAD}, limits=lambda who: seen.append(who))
    await ask(guarded, GOOD, json=chat())
    await ask(guarded, BAD, json=chat())
    assert seen == ["ada", "bob"]


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [None, "", False, 0])
async def test_a_check_that_says_nothing_lets_nobody_in(answer: Any) -> None:
    assert (await ask(app(keys=lambda key: answer), GOOD, json=chat())).status_code == 401


@pytest.mark.anyio
async def test_a_check_may_refuse_in_its_own_words() -> None:
    def check(key: str) -> str:
        raise Forbidden("this key may not ask today")

    for guarded, path, body in (
        (chat_app(EchoBackend(), keys=check), "/chat/completions", chat()),
        (generate_app(EchoBackend(), keys=check), "/generate", {"model": "echo", "prompt": "Hi"}),
        (ai_app({"e": EchoBackend()}, keys=check), "/completion", {"prompt": "Hi"}),
    ):
        response = await ask(guarded, GOOD, path=path, json=body)
        assert response.status_code == 403
        assert "this key may not ask today" in response.text


# What nobody sees


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [True, 7, b"ada"])
async def test_a_check_that_gives_no_name_is_a_bug(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = await ask(app(keys=lambda key: answer), GOOD, json=chat())
    assert response.status_code == 500
    assert "the check of a key raised TypeError" in caplog.text
    assert GOOD not in everything_in(caplog.records)


async def fails_later(key: str) -> str:
    await anyio.lowlevel.checkpoint()
    raise RuntimeError(f"cannot find {key} in the database")


@pytest.mark.anyio
@pytest.mark.parametrize("check", [{}.__getitem__, fails_later], ids=["KeyError", "RuntimeError"])
async def test_a_check_that_fails_is_logged_without_the_key(
    check: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    response = await ask(app(keys=check), GOOD, json=chat())
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "internal server error"
    assert any(name in caplog.text for name in ("KeyError", "RuntimeError"))
    assert GOOD not in everything_in(caplog.records)


@pytest.mark.anyio
@EACH_KIND
async def test_no_outcome_puts_a_key_into_a_log_or_an_answer(
    keys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guarded = app(keys=keys, limits=Limits(requests=3))
    answers = [await ask(guarded, GOOD, json=chat()) for _ in range(4)]
    answers += [
        await ask(guarded, GOOD, json=chat("nope")),
        await ask(guarded, GOOD, path="/nowhere"),
        await ask(guarded, BAD, json=chat()),
        await ask(guarded, json=chat()),
    ]
    seen = everything_in(caplog.records) + repr(guarded) + repr(guarded.mounts)
    seen += "".join(f"{answer.text} {dict(answer.headers)}" for answer in answers)
    assert [answer.status_code for answer in answers][-2:] == [401, 401]
    for key in (GOOD, BAD, GOOD[:8], BAD[:8]):
        assert key not in seen


def everything_in(records: Sequence[logging.LogRecord]) -> str:
    """All that a handler could make of the records: errors and what caused them included."""
    texts = []
    for record in records:
        texts.append(repr(vars(record)) + record.getMessage())
        error = record.exc_info and record.exc_info[1]
        while error:
            texts.append("".join(traceback.format_exception(error)) + repr(error))
            error = error.__context__ or error.__cause__
    return "".join(texts)


def test_the_keys_are_not_kept() -> None:
    key = "sk-" + "kept" * 8
    held = list(held_by(Access([key])))
    assert any(isinstance(each, bytes) and len(each) == 32 for each in held)
    assert not any(isinstance(each, str) and "kept" in each for each in held)


def held_by(owner: Any) -> Iterator[Any]:
    """All that is reached through attributes, containers and closures."""
    yield owner
    if isinstance(owner, FunctionType):
        for cell in owner.__closure__ or ():
            yield from held_by(cell.cell_contents)
    elif isinstance(owner, Mapping):
        for pair in owner.items():
            yield from held_by(pair)
    elif isinstance(owner, list | tuple | set | frozenset):
        for each in owner:
            yield from held_by(each)
    elif hasattr(owner, "__dict__") and not isinstance(owner, type):
        yield from held_by(vars(owner))


# Before all else


@pytest.mark.anyio
@pytest.mark.parametrize("key", [None, BAD])
async def test_the_key_is_checked_before_the_body_is_read(key: str | None) -> None:
    async def receive() -> Any:
        raise AssertionError("the body was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"text/plain"), (b"content-length", b"999999999")]
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    scope = {"type": "http", "method": "POST", "path": "/chat/completions", "headers": headers}
    with anyio.fail_after(SECONDS):
        await app(keys=[GOOD])(scope, receive, send)
    assert sent[0]["status"] == 401


@pytest.mark.anyio
async def test_what_is_no_operation_needs_no_key() -> None:
    guarded = app(keys=[GOOD])
    assert (await ask(guarded, path="/nowhere")).status_code == 404
    assert (await ask(guarded, path="/chat/completions")).status_code == 405
    assert (await ask(guarded, path="/openapi.json")).status_code == 200
    assert (await ask(guarded, path="/docs")).status_code == 200


# What each API says


ASKED: Sequence[tuple[str, str, Any]] = [
    ("generate", "/generate", {"model": "echo", "prompt": "Hi"}),
    ("chat", "/chat/completions", chat()),
    ("chat", "/responses", {"model": "echo", "input": "Hi"}),
    ("ai", "/completion", {"model": "e:echo", "prompt": "Hi"}),
]


def family(name: str, path: str, **options: Any) -> App:
    if name == "generate":
        return generate_app(EchoBackend(), **options)
    if name == "ai":
        return ai_app({"e": EchoBackend()}, **options)
    dialect = "responses" if path == "/responses" else "openai"
    return chat_app(EchoBackend(), dialect=dialect, **options)


HINT = (
    "You didn't provide an API key. You need to provide your API key in an Authorization "
    "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
)


def openai_error(message: str, code: str | None) -> Any:
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


WRONG = "Incorrect API key provided."
REFUSED: Mapping[str, tuple[Any, Any]] = {
    "/generate": ({"error": "unauthorized"}, {"error": "unauthorized"}),
    "/chat/completions": (openai_error(HINT, None), openai_error(WRONG, "invalid_api_key")),
    "/responses": (openai_error(HINT, None), openai_error(WRONG, "invalid_api_key")),
    "/completion": ({"detail": "No API key was provided."}, {"detail": WRONG}),
}


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "path", "body"), ASKED)
async def test_a_refusal_is_in_the_words_of_the_api(name: str, path: str, body: Any) -> None:
    guarded = family(name, path, keys=[GOOD], check_answers=True)
    for key, wanted in zip((None, BAD), REFUSED[path], strict=True):
        response = await ask(guarded, key, path=path, json=body)
        assert response.status_code == 401
        assert response.json() == wanted
        assert response.headers["www-authenticate"] == "Bearer"
    assert (await ask(guarded, GOOD, path=path, json=body)).status_code == 200


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "path", "body"), ASKED)
async def test_a_limit_is_in_the_words_of_the_api(name: str, path: str, body: Any) -> None:
    limited = family(name, path, limits=Limits(requests=1, window=1e9), check_answers=True)
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    if name == "chat":
        names = tuple(f"{each}-requests" for each in names)  # type: ignore[assignment]
    first = await ask(limited, path=path, json=body)
    second = await ask(limited, path=path, json=body)
    assert (first.status_code, second.status_code) == (200, 429)
    for response in (first, second):
        assert [response.headers[each] for each in names[:2]] == ["1", "0"]
    assert first.headers[names[2]] == "2000000000" or first.headers[names[2]].endswith("s")
    assert int(second.headers["retry-after"]) > 1000
    assert "Rate limit exceeded. Please wait before retrying." in second.text


# Documents that demand keys, and documents that do not


DEMANDS = """
openapi: 3.2.0
info: {title: Tiny, version: '1'}
security: [{token: []}]
paths:
  /global: {get: {operationId: global}}
  /open: {get: {operationId: open, security: []}}
  /optional: {get: {operationId: optional, security: [{}, {token: []}]}}
  /header: {get: {operationId: header, security: [{key: []}]}}
  /either: {get: {operationId: either, security: [{key: []}, {token: []}]}}
components:
  securitySchemes:
    token: {type: http, scheme: Bearer}
    key: {type: apiKey, in: header, name: X-Tiny-Key}
    cookie: {type: apiKey, in: cookie, name: key}
    basic: {type: http, scheme: basic}
"""


class Tiny:
    """A dialect of a document whose operations answer with nothing but 200."""

    def __init__(self, file: Path) -> None:
        self.contract = str(file)
        self.backends: Sequence[object] = ()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return dict.fromkeys(Contract.load(self.contract).operations, self.answer)

    async def answer(self, request: Request) -> Reply:
        return Answer({})

    def draw(self, error: ApiError, operation: Operation | None) -> Drawing:
        return Drawing.of(error, {})

    def draw_item(self, error: ApiError, codec: Any) -> Sequence[Any]:
        return ()

    def headers(self, started: int, quota: Quota | None) -> Headers:
        return ()


def tiny(folder: Path, text: str = DEMANDS) -> Tiny:
    file = folder / "tiny.yaml"
    file.write_text(text)
    return Tiny(file)


async def let_in(guarded: App, path: str) -> list[str]:
    """The ways in which a key comes in there."""
    ways: Mapping[str, Mapping[str, str]] = {
        "none": {},
        "bearer": {"authorization": f"Bearer {GOOD}"},
        "x-tiny-key": {"X-Tiny-Key": GOOD},
        "x-api-key": {"x-api-key": GOOD},
    }
    return [
        way
        for way, headers in ways.items()
        if (await ask(guarded, headers=headers, path=path)).status_code == 200
    ]


ALL = ["none", "bearer", "x-tiny-key", "x-api-key"]


@pytest.mark.anyio
async def test_a_key_is_taken_where_the_document_says(tmp_path: Path) -> None:
    guarded = App([("", tiny(tmp_path))], keys=[GOOD])
    assert await let_in(guarded, "/global") == ["bearer"]
    assert await let_in(guarded, "/open") == ALL
    assert await let_in(guarded, "/optional") == ALL
    assert await let_in(guarded, "/header") == ["x-tiny-key"]
    assert await let_in(guarded, "/either") == ["bearer", "x-tiny-key"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "security", ["", "security: []", "security: [{}]", "security: [{}, {token: []}]"]
)
async def test_where_the_document_demands_none_the_host_may(tmp_path: Path, security: str) -> None:
    dialect = tiny(tmp_path, DEMANDS.replace("security: [{token: []}]", security, 1))
    # One operation still demands a key of its own.
    guarded = App([("", dialect)], keys=[GOOD])
    ways = await let_in(guarded, "/global")
    assert ways == (["bearer"] if "token" in security else ["bearer", "x-api-key"])
    assert await let_in(guarded, "/open") == ALL


def test_a_document_that_demands_keys_is_not_served_without() -> None:
    for options in ({}, {"limits": Limits(requests=1)}):
        with pytest.raises(KeysRequired) as caught:
            generate_app(EchoBackend(), dialect="ajstudioz", **options)
        assert "'generate/ajstudioz'" in str(caught.value)
        assert "generate, chat" in str(caught.value)
        assert "keys=" in str(caught.value)
    generate_app(EchoBackend(), dialect="ajstudioz", keys=[GOOD])


@pytest.mark.parametrize("scheme", ["cookie", "basic"])
def test_what_nobody_here_can_check_is_not_served(tmp_path: Path, scheme: str) -> None:
    text = DEMANDS.replace("security: [{key: []}]}}", f"security: [{{{scheme}: []}}]}}}}", 1)
    with pytest.raises(ValueError, match="header demands neither a bearer token nor"):
        App([("", tiny(tmp_path, text))], keys=[GOOD])


def test_several_schemes_at_once_are_not_served(tmp_path: Path) -> None:
    text = DEMANDS.replace("[{key: []}]", "[{key: [], token: []}]")
    with pytest.raises(ValueError, match="header demands"):
        App([("", tiny(tmp_path, text))], keys=[GOOD])


# Several apps under one root


@pytest.mark.anyio
async def test_a_gateway_leaves_keys_to_those_that_have_them() -> None:
    root = gateway(
        {
            "/own": chat_app(EchoBackend(), keys=["sk-own"]),
            "/common": chat_app(EchoBackend()),
        },
        keys=["sk-common"],
    )

    async def status(prefix: str, key: str | None) -> int:
        path = f"{prefix}/chat/completions"
        return (await ask(root, key, path=path, json=chat())).status_code

    assert await status("/own", "sk-own") == 200
    assert await status("/own", "sk-common") == 401
    assert await status("/common", "sk-common") == 200
    assert await status("/common", "sk-own") == 401
    assert await status("/own", None) == await status("/common", None) == 401


@pytest.mark.anyio
async def test_a_gateway_without_keys_does_not_open_an_app_that_has_them() -> None:
    root = gateway({"/v1": chat_app(EchoBackend(), keys=[GOOD])})
    assert (await ask(root, path="/v1/models")).status_code == 401
    assert (await ask(root, GOOD, path="/v1/models")).status_code == 200


@pytest.mark.anyio
async def test_apps_may_share_where_use_is_counted() -> None:
    store = SharedStore()
    limits = Limits(requests=2, window=1e9)
    options: Mapping[str, Any] = {"keys": {"ada": GOOD}, "limits": limits, "limit_store": store}
    first, second = app(**options), app(**options)
    statuses = [(await ask(each, GOOD, json=chat())).status_code for each in (first, second, first)]
    assert statuses == [200, 200, 429]
    assert store.told == [("acquire", "ada"), ("release", "ada")] * 2


@pytest.mark.anyio
async def test_apps_that_do_not_share_count_apart() -> None:
    for each in (app(limits=Limits(requests=1)), app(limits=Limits(requests=1))):
        assert (await ask(each, json=chat())).status_code == 200
