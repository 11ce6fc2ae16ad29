"""A real stream of Ollama 0.33 on a cassette, recorded by hand with `--llmount-record=once`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ollama

from llmount.testing.cassette import Cassette

FOLDER = Path(__file__).parent / "cassettes" / Path(__file__).stem


def test_a_story_is_told_as_it_was_recorded(llmount_record: Callable[..., str]) -> None:
    client = ollama.Client(llmount_record("http://127.0.0.1:11434"), trust_env=False)
    options = {"num_predict": 8, "seed": 1, "temperature": 0}
    parts = list(client.generate("plain", "Once upon a time", stream=True, options=options))
    client._client.close()

    (recorded,) = Cassette.read(FOLDER / "test_a_story_is_told_as_it_was_recorded.jsonl").exchanges
    assert b"".join(f"{part.response}".encode() for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(recorded.content.splitlines()) == len(parts)
    assert parts[-1].eval_count == 8
