"""What a GGUF file says of itself: its metadata and its table of tensors."""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..types import JSON, Capability, Model

__all__ = ["Gguf", "GgufError", "Tensor", "describe", "fim_ids", "model_of", "read", "type_name"]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS: dict[int, struct.Struct] = {
    number: struct.Struct("<" + code)
    for number, code in [
        *enumerate(["B", "b", "H", "h", "I", "i", "f", "?"]),
        *enumerate(["Q", "q", "d"], 10),
    ]
}

_MOST_KEYS = 1 << 16
_MOST_TENSORS = 1 << 20
_MOST_DIMENSIONS = 4
_MOST_ITEMS = 1 << 24
_LONGEST_STRING = 1 << 26
_DEEPEST_ARRAY = 4
_LONGEST_SHOWN = 64

# ggml type: name, weights in a block, bytes of a block.
_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}

# `general.file_type`, how most of the file is quantised, by number; "-" is not in use.
_FILE_TYPE_NAMES = (
    "F32 F16 Q4_0 Q4_1 - - - Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S "
    "Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M "
    "IQ4_XS IQ1_M BF16 - - - TQ1_0 TQ2_0 MXFP4_MOE"
)
_FILE_TYPES = _FILE_TYPE_NAMES.split()

# For each place around the gap: the names in the metadata's keys, and the tokens' texts.
_FIM = tuple(
    (names.split(), texts.split())
    for names, texts in [
        (
            "fim_pre prefix",
            "<|fim_prefix|> <fim_prefix> <fim-prefix> <PRE> ▁<PRE> <|code_prefix|> <｜fim▁begin｜>",
        ),
        (
            "fim_suf suffix",
            "<|fim_suffix|> <fim_suffix> <fim-suffix> <SUF> ▁<SUF> <|code_suffix|> <｜fim▁hole｜>",
        ),
        (
            "fim_mid middle",
            "<|fim_middle|> <fim_middle> <fim-middle> <MID> ▁<MID> <|code_middle|> <｜fim▁end｜>",
        ),
    ]
)


class GgufError(ValueError):
    """The file is not a GGUF file, is damaged, or is of a kind that is not supported."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: its shape (row length first), ggml type, and offset in the data section."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def count(self) -> int:
        """How many weights it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Gguf:
    """A file's header.

    metadata: the values by key; bytes that are not UTF-8 are kept as surrogate escapes.
    spans: where each value stands in the file, its type included. `data` is where the
    data section begins, `size` the length of the file, both in bytes.
    """

    path: Path
    size: int
    modified_ns: int
    version: int
    metadata: Mapping[str, Any]
    spans: Mapping[str, tuple[int, int]]
    tensors: tuple[Tensor, ...]
    data: int
    alignment: int

    @property
    def architecture(self) -> str:
        return self.text("general.architecture")

    def text(self, key: str) -> str:
        """A text of the metadata that can be shown and sent; "" where there is none."""
        value = self.metadata.get(key)
        return _shown_text(value) if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """A whole number of the metadata, 0 where there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


class _Reader:
    """A position in the file; whatever is read is known to lie within it."""

    def __init__(self, buffer: mmap.mmap) -> None:
        self.buffer = buffer
        self.at = 0

    def take(self, count: int) -> int:
        start = self.at
        if count > len(self.buffer) - start:
            raise GgufError(f"the file ends within its header, at byte {len(self.buffer)}")
        self.at = start + count
        return start

    def scalar(self, type_: int) -> Any:
        form = _SCALARS.get(type_)
        if form is None:
            raise GgufError(f"unknown value type {type_} at byte {self.at}")
        return form.unpack_from(self.buffer, self.take(form.size))[0]

    def integer(self, form: Literal[4, 10], what: str, most: int) -> int:
        value: int = self.scalar(form)
        if value > most:
            raise GgufError(f"{what} is {value}, more than {most}")
        return value

    def string(self) -> str:
        length = self.integer(10, "the length of a string", _LONGEST_STRING)
        start = self.take(length)
        return self.buffer[start : start + length].decode("utf-8", "surrogateescape")

    def value(self, type_: int, depth: int = 0) -> Any:
        if type_ == _STRING:
            return self.string()
        if type_ != _ARRAY:
            return self.scalar(type_)
        if depth == _DEEPEST_ARRAY:
            raise GgufError(f"arrays are nested more than {_DEEPEST_ARRAY} deep")
        item: int = self.scalar(4)
        count = self.integer(10, "the length of an array", _MOST_ITEMS)
        if (form := _SCALARS.get(item)) is not None:
            start = self.take(count * form.size)
            return list(struct.unpack_from(f"<{count}{form.format[-1]}", self.buffer, start))
        return [self.value(item, depth + 1) for _ in range(count)]


def read(path: str | PathLike[str]) -> Gguf:
    """Read a file's header; its weights are not touched.

    Raises `OSError` if it cannot be read, and `GgufError` if it is not a GGUF file of
    version 2 or 3, its counts are nonsense, or it is shorter than its tensors need.
    """
    path = Path(path)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size < 24 or file.read(4) != _MAGIC:
            raise GgufError(f"{path} is not a GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            try:
                return _header(path, status, _Reader(buffer))
            except GgufError as error:
                raise GgufError(f"{path}: {error}") from error


def _header(path: Path, status: os.stat_result, reader: _Reader) -> Gguf:
    reader.take(4)
    version: int = reader.scalar(4)
    if version not in _VERSIONS:
        raise GgufError(f"version {version} of the format is not supported (big-endian files too)")
    tensor_count = reader.integer(10, "the number of tensors", _MOST_TENSORS)
    key_count = reader.integer(10, "the number of keys", _MOST_KEYS)
    metadata: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    for _ in range(key_count):
        key = reader.string()
        if key in metadata:
            raise GgufError(f"the key {key!r} occurs twice")
        start = reader.at
        metadata[key] = reader.value(reader.scalar(4))
        spans[key] = (start, reader.at)
    tensors = tuple(_tensor(reader) for _ in range(tensor_count))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment % 8:
        raise GgufError(f"general.alignment is {alignment!r}")
    data = reader.at + -reader.at % alignment
    for tensor in tensors:
        _check(tensor, status.st_size - data)
    return Gguf(
        path=path,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        version=version,
        metadata=metadata,
        spans=spans,
        tensors=tensors,
        data=data,
        alignment=alignment,
    )


def _tensor(reader: _Reader) -> Tensor:
    name = reader.string()
    dimensions = reader.integer(4, f"the number of dimensions of {name}", _MOST_DIMENSIONS)
    shape = tuple(reader.scalar(10) for _ in range(dimensions))
    return Tensor(name=name, shape=shape, type=reader.scalar(4), offset=reader.scalar(10))


def _check(tensor: Tensor, available: int) -> None:
    if tensor.type not in _TYPES:
        return
    _, block, size = _TYPES[tensor.type]
    if tensor.count % block:
        raise GgufError(f"the tensor {tensor.name} does not fill its blocks of {block}")
    end = tensor.offset + tensor.count // block * size
    if end > available:
        raise GgufError(
            f"the tensor {tensor.name} ends {end - available} bytes behind the file's end: "
            "the file is cut off"
        )


def type_name(number: int) -> str:
    """The name of a ggml tensor type, such as Q4_1."""
    return _TYPES[number][0] if number in _TYPES else f"type {number}"


def fim_ids(metadata: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """The tokens before the prefix, the suffix and the middle, if the vocabulary has them."""
    tokens = metadata.get("tokenizer.ggml.tokens", [])
    texts = {text for _, texts in _FIM for text in texts}
    known = {text: number for number, text in enumerate(tokens) if text in texts}
    found = []
    for names, texts_here in _FIM:
        keys = [f"tokenizer.ggml.{name}_token_id" for name in names]
        numbers = [metadata[key] for key in keys if key in metadata]
        numbers += [known[text] for text in texts_here if text in known]
        valid = [n for n in numbers if isinstance(n, int) and 0 <= n < len(tokens)]
        if not valid:
            return None
        found.append(valid[0])
    prefix, suffix, middle = found
    return prefix, suffix, middle


def describe(path: str | PathLike[str], *, name: str | None = None) -> Model:
    """The model in a GGUF file, as `model_of` tells it. Raises as `read` does."""
    return model_of(read(path), name=name)


def model_of(file: Gguf, *, name: str | None = None, template: str | None = None) -> Model:
    """The model in a GGUF file; its name is the file's without the suffix, unless given.

    template: a chat template in place of the file's own.
    `digest` is left empty, as reading all weights takes long. In `metadata` an array of
    more than 64 items, and a number that JSON cannot carry, is None.
    """
    architecture = file.architecture
    template = file.text("tokenizer.chat_template") if template is None else template
    return Model(
        name=name or file.path.stem,
        created=file.modified_ns // 1_000_000_000,
        description=file.text("general.description") or file.text("general.name"),
        size=file.size,
        format="gguf",
        family=architecture,
        parameter_size=_parameters(sum(tensor.count for tensor in file.tensors)),
        quantization=_quantization(file),
        context_length=file.number(f"{architecture}.context_length"),
        embedding_length=file.number(f"{architecture}.embedding_length"),
        capabilities=_capabilities(file, template),
        template=template,
        license=file.text("general.license"),
        metadata={_shown_text(key): _shown(value) for key, value in file.metadata.items()},
    )


def _parameters(count: int) -> str:
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.1f}{letter}"
    return str(count) if count else ""


def _quantization(file: Gguf) -> str:
    number = file.metadata.get("general.file_type")
    if isinstance(number, int) and 0 <= number < len(_FILE_TYPES) and _FILE_TYPES[number] != "-":
        return _FILE_TYPES[number]
    if not file.tensors:
        return ""
    weights: dict[int, int] = {}
    for tensor in file.tensors:
        weights[tensor.type] = weights.get(tensor.type, 0) + tensor.count
    return type_name(max(weights, key=lambda number: weights[number]))


def _capabilities(file: Gguf, template: str) -> frozenset[Capability]:
    if f"{file.architecture}.pooling_type" in file.metadata:
        return frozenset({"embedding"})
    found: dict[Capability, bool] = {
        "completion": True,
        "tools": "tools" in template,
        "thinking": "<think" in template or "</think" in template,
        "insert": fim_ids(file.metadata) is not None,
    }
    return frozenset(name for name, has in found.items() if has)


def _shown_text(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _shown(value: Any) -> JSON:
    if isinstance(value, str):
        return _shown_text(value)
    if isinstance(value, list):
        return [_shown(item) for item in value] if len(value) <= _LONGEST_SHOWN else None
    return None if isinstance(value, float) and not math.isfinite(value) else value
