"""Who may use a server on one's own machine: what the real server answered to each, measured."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import anyio
import httpx
import pytest

from llmount import EchoBackend, generate_app
from llmount.origins import Origins, is_loopback
from llmount.testing.transport import ASGITransport
from tests.serving import serve

pytestmark = pytest.mark.anyio

HOST = "127.0.0.1:11434"
ALLOWED_HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,"
    "X-Stainless-Arch,X-Stainless-Async,X-Stainless-Custom-Poll-Interval,"
    "X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,X-Stainless-Package-Version,"
    "X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
    "X-Stainless-Runtime-Version,X-Stainless-Timeout"
)


async def ask(
    *origins: str,
    method: str = "GET",
    path: str = "/version",
    loopback: bool = True,
    **headers: str,
) -> httpx.Response:
    app = Origins(generate_app(EchoBackend()), origins, loopback=loopback)
    with anyio.fail_after(10):
        async with httpx.AsyncClient(transport=ASGITransport(app)) as client:
            url = f"http://{HOST}{path}"
            request = client.build_request(method, url, headers=headers)
            return await client.send(request)


def sharing(response: httpx.Response) -> Mapping[str, list[str]]:
    names = [name for name in response.headers if name.startswith("access-") or name == "vary"]
    return {name: response.headers.get_list(name) for name in names}


OWN = [
    "http://localhost",
    "https://localhost:3000",
    "http://127.0.0.1:5",
    "http://0.0.0.0",
    "app://x",
    "file://",
    "tauri://localhost",
    "vscode-webview://abc",
    "vscode-file://x",
]
FOREIGN = [
    "http://evil.example",
    "null",
    "http://LOCALHOST",
    "http://localhost.evil.example",
    "chrome-extension://x",
    "http://[::1]:3000",
    "APP://x",
]


@pytest.mark.parametrize("origin", OWN)
async def test_pages_of_this_machine_may_read_answers(origin: str) -> None:
    for path, status in (("/version", 200), ("/nope", 404), ("/generate", 405)):
        response = await ask(path=path, origin=origin)
        assert response.status_code == status
        assert sharing(response) == {
            "access-control-allow-origin": [origin],
            "vary": ["Origin"],
        }


@pytest.mark.parametrize("origin", OWN)
async def test_pages_of_this_machine_are_told_what_they_may_send(origin: str) -> None:
    response = await ask(method="OPTIONS", path="/generate", origin=origin)

    assert (response.status_code, response.content) == (204, b"")
    assert sharing(response) == {
        "access-control-allow-headers": [ALLOWED_HEADERS],
        "access-control-allow-methods": ["GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"],
        "access-control-allow-origin": [origin],
        "access-control-max-age": ["43200"],
        "vary": ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"],
    }


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_other_pages_are_refused_and_reach_nothing(origin: str, method: str) -> None:
    response = await ask(method=method, origin=origin)

    assert (response.status_code, response.content) == (403, b"")
    assert sharing(response) == {}
    assert response.headers["content-length"] == "0"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_page_of_the_server_itself_is_no_other_origin(scheme: str) -> None:
    response = await ask(origin=f"{scheme}://{HOST}")
    assert (response.status_code, sharing(response)) == (200, {})


@pytest.mark.parametrize(
    ("given", "origin", "allowed"),
    [
        ("https://chat.example", "https://chat.example", True),
        ("https://Chat.Example ", "https://chat.example", True),
        ("https://chat.example", "https://chat.example:8443", False),
        ("https://*.example", "https://a.example", True),
        ("https://*.example", "https://example", False),
        ("chrome-extension://*", "chrome-extension://abc", True),
        ("*.example", "http://a.example", True),
    ],
)
async def test_further_origins_can_be_let_in(given: str, origin: str, allowed: bool) -> None:
    response = await ask(given, origin=origin)
    assert response.status_code == (200 if allowed else 403)


async def test_a_star_lets_every_page_in() -> None:
    response = await ask("*", origin="http://evil.example")
    preflight = await ask("*", method="OPTIONS", origin="http://evil.example")

    assert sharing(response) == {"access-control-allow-origin": ["*"]}
    assert preflight.status_code == 204
    assert sharing(preflight)["access-control-allow-origin"] == ["*"]
    assert "vary" not in sharing(preflight)


@pytest.mark.parametrize("origin", ["chat.example", "https://*.*.example", ""])
def test_what_is_no_origin_is_refused_at_once(origin: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        Origins(generate_app(EchoBackend()), [origin])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("localhost:", 200),
        (":80", 200),
        ("a.localhost", 200),
        ("a.local:80", 200),
        ("a.internal", 200),
        (socket.gethostname(), 200),
        ("127.0.0.1", 200),
        ("127.9.9.9:5", 200),
        ("10.0.0.1", 200),
        ("172.16.0.1", 200),
        ("192.168.1.1:8", 200),
        ("[::1]:8", 200),
        ("::1", 200),
        ("[::]:1", 200),
        ("[::ffff:127.0.0.1]:9", 200),
        ("0.0.0.0", 200),
        ("evil.example", 403),
        ("evil.example:11434", 403),
        ("local", 403),
        ("localhost.", 403),
        ("8.8.8.8", 403),
        ("[::ffff:8.8.8.8]:9", 403),
        ("169.254.1.1", 403),
        ("100.64.0.1", 403),
        ("[fe80::1]", 403),
        ("[::1", 403),
        ("1.2.3.4.5", 403),
        ("0x7f.1", 403),
        ("127.1", 403),
        ("a:b:c", 403),
    ],
)
async def test_a_name_that_leads_here_from_elsewhere_is_refused(host: str, status: int) -> None:
    response = await ask(host=host)
    assert response.status_code == status
    assert (await ask(host=host, loopback=False)).status_code == 200


async def test_the_host_of_an_origin_that_was_let_in_is_known() -> None:
    assert (await ask("https://llm.example", host="llm.example:443")).status_code == 200
    assert (await ask("https://*.example", host="llm.example")).status_code == 403


async def test_options_without_an_origin() -> None:
    assert (await ask(method="OPTIONS", host="localhost")).status_code == 204
    assert (await ask(method="OPTIONS", host="127.0.0.1")).status_code == 405
    assert (await ask(method="OPTIONS", host="evil.example")).status_code == 403


async def test_the_lifespan_reaches_the_app() -> None:
    seen: list[str] = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope["type"])  # type: ignore[index]

    await Origins(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("example.com", False),
    ],
)
def test_loopback_is_told_from_other_hosts(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_command_guards_every_path_and_takes_further_origins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLMOUNT_ORIGINS", "https://a.example, https://b.example")
    with serve("--model", "echo", "--origin", "https://c.example") as served:
        for path in ("/api/version", "/v1/models", "/openapi.json", "/ai/v1/models"):
            for origin, refused in (
                ("https://a.example", False),
                ("https://b.example", False),
                ("https://c.example", False),
                ("https://d.example", True),
            ):
                answer = httpx.get(served.url + path, headers={"origin": origin}, timeout=10)
                assert (answer.status_code == 403) is refused, (path, origin)
        rebound = httpx.get(served.url + "/v1/models", headers={"host": "evil.example"})
        assert rebound.status_code == 403
