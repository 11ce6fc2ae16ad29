"""Reading GGUF headers, and adapting files for the engine of 2023."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_gguf import CHATML, pack_value, write_bigram, write_gguf

from llmount.backends import gguf, gguf_legacy
from llmount.backends.gguf import GgufError


def test_a_model_is_described_by_what_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "tiny-model.gguf"
    write_bigram(
        path,
        chat_template=CHATML,
        special_tokens=["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
        metadata={"general.license": "mit"},
    )
    os.utime(path, (1_700_000_000, 1_700_000_000))
    model = gguf.describe(path)
    assert (model.name, model.format, model.family) == ("tiny-model", "gguf", "llama")
    assert model.created == 1_700_000_000
    assert model.size == path.stat().st_size
    assert model.digest == ""
    assert model.quantization == "F32"
    assert (model.context_length, model.embedding_length) == (2048, 288)
    assert model.capabilities == {"completion", "insert"}
    assert model.template == CHATML
    assert model.license == "mit"
    # 263 tokens of 288 numbers twice, 2 matrices 288 x 288, 5 of 288 x 32, 3 norms.
    assert 2 * 263 * 288 + 2 * 288 * 288 + 5 * 288 * 32 + 3 * 288 == 364_320
    assert model.parameter_size == "364.3K"
    assert gguf.describe(path, name="other").name == "other"


def test_described_metadata_is_json_without_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_bigram(path, metadata={"odd.number": float("nan"), "some.list": [1, 2]})
    metadata = gguf.describe(path).metadata
    assert metadata["tokenizer.ggml.tokens"] is None
    assert metadata["odd.number"] is None
    assert metadata["some.list"] == [1, 2]
    json.dumps(dict(metadata), allow_nan=False)


@pytest.mark.parametrize(
    ("number", "name"), [(0, "F32"), (3, "Q4_1"), (15, "Q4_K_M"), (32, "BF16"), (4, ""), (999, "")]
)
def test_the_quantization_is_named_after_the_file_type(
    tmp_path: Path, number: int, name: str
) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, {"general.file_type": number})
    assert gguf.describe(path).quantization == name


def test_without_a_file_type_the_commonest_tensor_type_counts(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, {}, [("a", (32,), bytes(20))], ggml_type=3)
    assert gguf.describe(path).quantization == "Q4_1"


@pytest.mark.parametrize(
    ("template", "capability"), [("{{ tools }}", "tools"), ("<think>", "thinking")]
)
def test_capabilities_are_read_off_the_template(
    tmp_path: Path, template: str, capability: str
) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, {"tokenizer.chat_template": template})
    assert gguf.describe(path).capabilities == {"completion", capability}


def _header(tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, keys)


def _key(value: bytes) -> bytes:
    return _header(keys=1) + struct.pack("<Q", 1) + b"k" + value


_DEEP = struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 9, 1) * 100
_TENSOR = struct.pack("<Q", 1) + b"t"

BROKEN = {
    "an empty file": (b"", "not a GGUF file"),
    "another format": (b"ggjt" + bytes(40), "not a GGUF file"),
    "a big-endian file": (struct.pack(">4sIQQ", b"GGUF", 3, 0, 0), "version"),
    "the first version": (_header(version=1), "version 1"),
    "more tensors than sensible": (_header(tensors=1 << 60), "number of tensors"),
    "more keys than sensible": (_header(keys=1 << 60), "number of keys"),
    "no keys where one is promised": (_header(keys=1), "ends within its header"),
    "a string longer than the file": (_key(struct.pack("<IQ", 8, 1 << 20)), "ends within"),
    "a string longer than sensible": (_key(struct.pack("<IQ", 8, 1 << 62)), "length of a string"),
    "an array longer than sensible": (_key(struct.pack("<IIQ", 9, 0, 1 << 62)), "of an array"),
    "an array longer than the file": (_key(struct.pack("<IIQ", 9, 10, 1 << 20)), "ends within"),
    "arrays in arrays in arrays": (_key(_DEEP), "nested"),
    "an unknown type": (_key(struct.pack("<I", 77)), "unknown value type 77"),
    "too many dimensions": (_header(1) + _TENSOR + struct.pack("<I", 1 << 30), "dimensions"),
    "a tensor behind the end": (
        _header(1) + _TENSOR + struct.pack("<IQIQ", 1, 1000, 0, 0),
        "cut off",
    ),
    "a tensor of half a block": (
        _header(1) + _TENSOR + struct.pack("<IQIQ", 1, 33, 2, 0),
        "blocks of 32",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_refused_with_its_fault(tmp_path: Path, name: str) -> None:
    data, fault = BROKEN[name]
    path = tmp_path / "broken.gguf"
    path.write_bytes(data)
    with pytest.raises(GgufError, match=fault) as caught:
        gguf.read(path)
    assert "broken.gguf" in str(caught.value)


def test_a_file_cut_off_anywhere_in_its_header_is_refused(tmp_path: Path) -> None:
    path, cut = tmp_path / "m.gguf", tmp_path / "cut.gguf"
    write_bigram(path)
    whole = path.read_bytes()
    end = gguf.read(path).data
    for length in [*range(0, end, 97), end, len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(GgufError):
            gguf.read(cut)


def test_an_adapted_file_has_what_the_old_loader_wants(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_bigram(path, tied=True)
    original = gguf.read(path)
    adapted = gguf.read(gguf_legacy.adapt(original, cache=tmp_path / "cache"))
    assert len(adapted.metadata["tokenizer.ggml.scores"]) == 258
    tokens = adapted.metadata["tokenizer.ggml.tokens"]
    assert tokens[10] == "\n"
    assert [token.encode("utf-8", "surrogateescape") for token in tokens[:256]] == [
        bytes([byte]) for byte in range(256)
    ]
    assert adapted.metadata["tokenizer.ggml.merges"] == ["Ġ a"]
    places = {tensor.name: tensor.offset for tensor in adapted.tensors}
    assert places["output.weight"] == places["token_embd.weight"]
    weights = path.read_bytes()[original.data :]
    assert adapted.path.read_bytes()[adapted.data :] == weights


def test_a_file_is_adapted_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "m.gguf", tmp_path / "cache"
    write_bigram(path)
    first = gguf_legacy.adapt(gguf.read(path), cache=cache)
    written = first.stat().st_mtime_ns, first.stat().st_ino
    assert gguf_legacy.adapt(gguf.read(path), cache=cache) == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == written
    os.utime(path, (1, 1))
    second = gguf_legacy.adapt(gguf.read(path), cache=cache)
    assert second != first
    assert sorted(first.parent.iterdir()) == sorted([first, second])


def test_a_file_that_needs_no_change_is_used_as_it_is(tmp_path: Path) -> None:
    path, cache = tmp_path / "m.gguf", tmp_path / "cache"
    write_bigram(path, tokenizer="llama")
    assert gguf_legacy.adapt(gguf.read(path), cache=cache) == path
    assert not cache.exists()


def test_a_failed_adaptation_leaves_no_file(tmp_path: Path) -> None:
    path, cache = tmp_path / "m.gguf", tmp_path / "cache"
    write_bigram(path)
    file = gguf.read(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        gguf_legacy.adapt(file, cache=cache)
    assert list(cache.rglob("*.gguf")) == []
    assert [each for each in cache.rglob("*") if each.is_file()] == []


def _foreign(path: Path, changes: dict[str, Any], name: str, type_: int) -> gguf.Gguf:
    metadata = {
        "general.architecture": "llama",
        "llama.embedding_length": 32,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a"],
    }
    write_gguf(path, {**metadata, **changes}, [(name, (32, 1), bytes(128))], ggml_type=type_)
    return gguf.read(path)


@pytest.mark.parametrize(
    ("changes", "tensor", "type_", "named"),
    [
        ({"general.architecture": "qwen2"}, "token_embd.weight", 0, "'qwen2'"),
        ({"tokenizer.ggml.model": "t5"}, "token_embd.weight", 0, "'t5'"),
        ({"llama.rope.scaling.type": "yarn"}, "token_embd.weight", 0, "yarn"),
        ({"llama.embedding_length": 64}, "token_embd.weight", 0, "shape"),
        ({}, "token_embd.weight", 30, "BF16"),
        ({}, "output_norm.weight", 0, "without token_embd.weight"),
        ({}, "rope_freqs.weight", 0, "rope_freqs.weight"),
        ({}, "blk.0.ffn_gate_exps.weight", 0, "ffn_gate_exps"),
    ],
)
def test_what_the_engine_cannot_load_is_named_with_a_way_out(
    tmp_path: Path, changes: dict[str, Any], tensor: str, type_: int, named: str
) -> None:
    file = _foreign(tmp_path / "m.gguf", changes, tensor, type_)
    with pytest.raises(GgufError, match=named) as caught:
        gguf_legacy.adapt(file, cache=tmp_path)
    assert "llamacpp" in str(caught.value)


def test_packed_values_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    values = {"a": 7, "b": -7, "c": 0.5, "d": True, "e": "é", "f": ["x", "y"], "g": [0.5]}
    write_gguf(path, values)
    assert dict(gguf.read(path).metadata) == values
    assert pack_value(7) == struct.pack("<II", 4, 7)
