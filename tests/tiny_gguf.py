"""Tiny GGUF models, written with the standard library, for tests with exact answers.

The bigram model is a real one-layer llama whose layer adds nothing: embeddings are one-hot,
so the logits after a token are that token's column of the output matrix, the logarithm of
what followed it in a text. The greedy continuation of a prompt can be read off that text.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "ALPHABET",
    "CHATML",
    "byte_alphabet",
    "pack_value",
    "write_bigram",
    "write_gguf",
]

ALPHABET = "abcdefghijklmnopqrstuvwxyz \n"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
F32 = 0
ALIGNMENT = 32
_HEAD = 32


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in a GPT-2 vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    for number, byte in enumerate(byte for byte in range(256) if byte not in table):
        table[byte] = chr(256 + number)
    return [table[byte] for byte in range(256)]


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _kind(value: Any) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT32 if value < 0 else UINT32
    if isinstance(value, float):
        return FLOAT32
    return STRING if isinstance(value, str) else ARRAY


def _scalar(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _string(value)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], value)


def pack_value(value: Any) -> bytes:
    """A metadata value with its type in front; a list takes its type from its first item."""
    kind = _kind(value)
    if kind != ARRAY:
        return struct.pack("<I", kind) + _scalar(kind, value)
    item = INT32 if value and isinstance(value[0], int) else _kind(value[0] if value else "")
    body = b"".join(_scalar(item, each) for each in value)
    return struct.pack("<IIQ", ARRAY, item, len(value)) + body


def write_gguf(
    path: str | PathLike[str],
    metadata: Mapping[str, Any],
    tensors: Sequence[tuple[str, tuple[int, ...], bytes]] = (),
    *,
    version: int = 3,
    ggml_type: int = F32,
) -> None:
    """Write a GGUF file; a tensor is (name, shape with the row length first, data)."""
    head = [struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(metadata))]
    head += [_string(key) + pack_value(value) for key, value in metadata.items()]
    offset = 0
    for name, shape, data in tensors:
        head.append(_string(name) + struct.pack("<I", len(shape)))
        head.append(struct.pack(f"<{len(shape)}QIQ", *shape, ggml_type, offset))
        offset += len(data) + -len(data) % ALIGNMENT
    start = b"".join(head)
    with Path(path).open("wb") as file:
        file.write(start + bytes(-len(start) % ALIGNMENT))
        for _, _, data in tensors:
            file.write(data + bytes(-len(data) % ALIGNMENT))


def _log_bigrams(sequence: Iterable[int], vocabulary: int, start: int) -> list[dict[int, float]]:
    """For each token the log of what follows it; what was never seen is followed by `start`."""
    ids = list(sequence)
    counts: list[Counter[int]] = [Counter() for _ in range(vocabulary)]
    for before, after in pairwise(ids):
        counts[before][after] += 1
    for counter in counts:
        if not counter:
            counter[start] = 1
    return [
        {token: math.log(count / counter.total()) for token, count in counter.items()}
        for counter in counts
    ]


def write_bigram(
    path: str | PathLike[str],
    text: str = ALPHABET,
    *,
    repeat: bool = True,
    chat_template: str | None = None,
    special_tokens: Sequence[str] = (),
    tokenizer: Literal["gpt2", "llama"] = "gpt2",
    context_length: int = 2048,
    metadata: Mapping[str, Any] | None = None,
    tied: bool = False,
) -> None:
    """Write a model that continues with what followed the last byte in `text`.

    repeat: the text starts again after its end; otherwise the end token follows it.
    chat_template: stored as the model's own; `<|im_start|>` and `<|im_end|>` are then
    special tokens, and `<|im_end|>` ends an answer as `<|end|>` does without a template.
    special_tokens: further control tokens. A token that never occurs in `text`, such as
    these, is followed by the text's first byte.
    tokenizer: "gpt2" has tokens 0 to 255 for the bytes, then `<|end|>`, in today's form (the
    2023 engine needs it adapted); "llama" has `<unk>`, `<s>`, `</s>`, the bytes from 3 on and
    a token for the space, and loads everywhere as it is.
    metadata: added to the file's, or replacing it.
    tied: leave out the output matrix, as many files do: the model then repeats its last token.
    """
    chat = ("<|im_start|>", "<|im_end|>") if chat_template else ()
    specials = [*chat, *special_tokens]
    if tokenizer == "gpt2":
        tokens = [*byte_alphabet(), "<|end|>", *specials]
        types = [NORMAL] * 256 + [CONTROL] * (1 + len(specials))
        first, end, start_id, space = 0, 256, 256, None
        vocabulary: dict[str, Any] = {"tokenizer.ggml.merges": ["Ġ a"]}
        tokens.append("Ġa")
        types.append(NORMAL)
        vocabulary["tokenizer.ggml.pre"] = "gpt-2"
        vocabulary["tokenizer.ggml.add_bos_token"] = False
    else:
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
        types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL]
        first, end, start_id, space = 3, 2, 1, 259
        tokens += specials
        types += [CONTROL] * len(specials)
        vocabulary = {
            "tokenizer.ggml.scores": [0.0] * len(tokens),
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_space_prefix": False,
        }
    if chat:
        end = tokens.index("<|im_end|>")
    size = len(tokens)
    width = size + -size % _HEAD

    ids = [space if space is not None and byte == 32 else first + byte for byte in text.encode()]
    follows = _log_bigrams([*ids, ids[0] if repeat else end], size, ids[0])
    if tokenizer == "gpt2":
        follows[tokens.index("Ġa")] = follows[ord("a")]
    embedding = array("f", bytes(4 * size * width))
    output = array("f", [-30.0]) * (size * width)
    for token in range(size):
        embedding[token * width + token] = 1.0
        for after, logarithm in follows[token].items():
            output[after * width + token] = logarithm
    epsilon = 1e-5
    ones = array("f", [1.0] * width).tobytes()
    undo_norm = array("f", [math.sqrt(1 / width + epsilon)] * width).tobytes()

    def zeros(rows: int, columns: int) -> tuple[tuple[int, int], bytes]:
        return (columns, rows), bytes(4 * rows * columns)

    layer = "blk.0."
    tensors = [
        ("token_embd.weight", (width, size), embedding.tobytes()),
        (layer + "attn_norm.weight", (width,), ones),
        (layer + "attn_q.weight", *zeros(width, width)),
        (layer + "attn_k.weight", *zeros(_HEAD, width)),
        (layer + "attn_v.weight", *zeros(_HEAD, width)),
        (layer + "attn_output.weight", *zeros(width, width)),
        (layer + "ffn_norm.weight", (width,), ones),
        (layer + "ffn_gate.weight", *zeros(_HEAD, width)),
        (layer + "ffn_up.weight", *zeros(_HEAD, width)),
        (layer + "ffn_down.weight", *zeros(width, _HEAD)),
        ("output_norm.weight", (width,), undo_norm),
        ("output.weight", (width, size), output.tobytes()),
    ]
    write_gguf(
        path,
        {
            "general.architecture": "llama",
            "general.name": "bigram",
            "general.file_type": 0,
            "llama.context_length": context_length,
            "llama.embedding_length": width,
            "llama.block_count": 1,
            "llama.feed_forward_length": _HEAD,
            "llama.attention.head_count": width // _HEAD,
            "llama.attention.head_count_kv": 1,
            "llama.attention.layer_norm_rms_epsilon": epsilon,
            "llama.rope.dimension_count": _HEAD,
            "llama.vocab_size": size,
            "tokenizer.ggml.model": tokenizer,
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": types,
            "tokenizer.ggml.bos_token_id": start_id,
            "tokenizer.ggml.eos_token_id": end,
            **vocabulary,
            **({"tokenizer.chat_template": chat_template} if chat_template else {}),
            **(metadata or {}),
        },
        tensors[:-1] if tied else tensors,
    )
