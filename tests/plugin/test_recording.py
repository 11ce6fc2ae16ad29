"""A server that is recorded, and the cassette that answers in its place."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmount.testing.cassette import Cassette, CassetteError, Exchange, Miss, Piece
from llmount.testing.cassettes import Cassettes
from llmount.testing.recorder import Recorder
from llmount.testing.reference.connections import Port
from llmount.testing.reference.server import ReferenceServer
from llmount.testing.replay import Player
from tests.plugin.asking import STREAMS, body_of

SECRET = "sk-a-secret-that-nobody-may-see"
GAP = 0.15
PATH = "/v1/chat/completions"


@contextmanager
def client_of(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        yield client


def recorded(server: ReferenceServer, file: Path, *requests: dict[str, Any]) -> list[bytes]:
    """What the server answers while a cassette is made of it."""
    with Cassettes("all") as cassettes, client_of(cassettes.open(server.url, file)) as client:
        return [client.request(**request).content for request in requests]


def pieces_of(url: str, path: str, body: object) -> list[tuple[float, bytes]]:
    """The pieces of a stream, and the seconds at which each came."""
    with client_of(url) as client, client.stream("POST", path, json=body) as answer:
        begun = time.perf_counter()
        return [(time.perf_counter() - begun, piece) for piece in answer.iter_raw()]


@pytest.mark.parametrize("path", STREAMS.values(), ids=STREAMS)
def test_what_is_replayed_is_what_came_byte_for_byte(
    server: ReferenceServer, path: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    request = {"method": "POST", "url": path, "json": body_of(path)}
    (real,) = recorded(server, file, request)

    with Cassettes("none") as cassettes, client_of(cassettes.open("http://gone", file)) as client:
        answer = client.request(**request)

    assert answer.content == real
    assert len(server.requests) == 1
    assert answer.headers["content-type"] == Cassette.read(file).exchanges[0].headers[0][1]


def test_the_pieces_come_when_they_came(server: ReferenceServer, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    server.fault.stall(after_items=2, seconds=GAP)
    recorded(server, file, {"method": "POST", "url": PATH, "json": body_of(PATH)})
    (exchange,) = Cassette.read(file).exchanges
    gaps = [after.at - before.at for before, after in pairwise(exchange.pieces)]

    with Cassettes("none") as cassettes:
        pieces = pieces_of(cassettes.open("", file, 1.0), PATH, body_of(PATH))
        at_once = pieces_of(cassettes.open("", file, 0.0), PATH, body_of(PATH))

    assert max(gaps) >= GAP * 0.9
    assert b"".join(data for _, data in pieces) == exchange.content
    # Busy machines are late, never early.
    ends = {len(_up_to(exchange.pieces, n)): each.at for n, each in enumerate(exchange.pieces)}
    come = 0
    for at, data in pieces:
        come += len(data)
        assert at + exchange.began >= ends.get(come, 0.0) - 0.05
    assert pieces[-1][0] >= GAP * 0.9
    assert at_once[-1][0] < pieces[-1][0]


def _up_to(pieces: Any, number: int) -> bytes:
    return b"".join(each.data for each in pieces[: number + 1])


def test_a_connection_that_was_cut_is_cut_again(server: ReferenceServer, tmp_path: Path) -> None:
    server.fault.truncate(after_items=2, cut=True)
    kept: list[Exchange] = []
    recorder = Recorder(server.url, kept.append)
    with Port(recorder) as port, client_of(port.url) as client:
        recorder.hang_up = port.hang_up
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(PATH, json=body_of(PATH))
    assert [each.end for each in kept] == ["cut"]
    Cassette(kept).write(tmp_path / "a.jsonl")

    with (
        Cassettes("none") as cassettes,
        client_of(cassettes.open("", tmp_path / "a.jsonl")) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.post(PATH, json=body_of(PATH))


def test_no_secret_is_on_a_cassette(server: ReferenceServer, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    request = {
        "method": "POST",
        "url": f"{PATH}?api_key={SECRET}&b=1",
        "json": body_of(PATH, f"My key is {SECRET}, keep it."),
        "headers": {"authorization": f"Bearer {SECRET}", "cookie": f"session={SECRET}"},
    }
    (real,) = recorded(server, file, request)

    text = file.read_text(encoding="utf-8")
    # The client still has it all; the server says it back, in one word of its stream.
    assert SECRET in real.decode()
    assert SECRET not in text
    with Cassettes("none") as cassettes, client_of(cassettes.open("", file)) as client:
        assert client.request(**request).status_code == 200


def test_a_request_matches_whatever_the_order_of_its_keys(
    server: ReferenceServer, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    body = body_of(PATH, stream=False)
    recorded(server, file, {"method": "POST", "url": PATH, "json": body})
    other = json.dumps(dict(reversed(body.items())), indent=4)

    with Cassettes("none") as cassettes, client_of(cassettes.open("", file)) as client:
        assert client.post(PATH, content=other).status_code == 200


def test_answers_to_the_same_question_come_in_their_order() -> None:
    cassette = Cassette([Exchange(method="GET", path="/", status=200 + n) for n in range(2)])
    question = Exchange(method="GET", path="/")

    assert [cassette.play(question).status for _ in range(4)] == [200, 201, 201, 201]


def test_a_miss_says_what_is_on_the_cassette(server: ReferenceServer, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    recorded(server, file, {"method": "POST", "url": PATH, "json": body_of(PATH, "one")})

    with Cassettes("none") as cassettes, client_of(cassettes.open("", file)) as client:
        body, path = client.post(PATH, json=body_of(PATH, "two")), client.get("/v1/models")
        misses = cassettes.misses

    assert [body.status_code, path.status_code] == [404, 404]
    assert '"two"' in misses[0]
    assert '"one"' in misses[0]
    assert misses[1] == f"GET /v1/models is not on the cassette, which has POST {PATH}"


def test_a_server_that_cannot_be_reached_is_told_and_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    url = "http://127.0.0.1:9"
    with Cassettes("all") as cassettes, client_of(cassettes.open(url, file)) as client:
        assert client.get("/").status_code == 502

    assert Cassette.read(file).exchanges == []


def test_a_cassette_is_only_recorded_once(server: ReferenceServer, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    for _ in range(2):
        with Cassettes("once") as cassettes, client_of(cassettes.open(server.url, file)) as client:
            assert client.get("/v1/models").status_code == 200

    assert len(server.requests) == 1


@pytest.mark.parametrize("text", ["", "{}\n", '{"llmount-cassette":1}\n{"request":1}\n', "nothing"])
def test_a_file_that_is_no_cassette_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(CassetteError, match=r"a\.jsonl is no cassette"):
        Cassette.read(file)


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    data = bytes(range(256))
    exchange = Exchange(
        method="POST", path="/", body=data, headers=[("a", "b")], pieces=[Piece(0.5, data)]
    )
    Cassette([exchange]).write(tmp_path / "a.jsonl")

    assert Cassette.read(tmp_path / "a.jsonl").exchanges == [exchange]


def test_characters_that_end_lines_elsewhere_end_none_on_a_cassette(tmp_path: Path) -> None:
    text = "\u2028 \x85 \x0b \x1c \r".encode()
    Cassette([Exchange(method="GET", path="/", body=text)]).write(tmp_path / "a.jsonl")

    assert Cassette.read(tmp_path / "a.jsonl").exchanges[0].body == text


def test_a_speed_that_goes_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Player(Cassette(), speed=-1)


def test_an_empty_cassette_misses_everything() -> None:
    with pytest.raises(Miss, match="which has nothing"):
        Cassette().play(Exchange(method="GET", path="/"))
