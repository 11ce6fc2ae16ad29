"""GGUF files for the llama.cpp of September 2023 that ctransformers 0.2.27 carries.

That loader wants three things that files of today do not have: scores for every token, an
output matrix of its own, and, in a byte-level vocabulary, raw bytes instead of the
printable characters that stand for them. `adapt` writes a copy with a new header; the output
matrix is a second name for the embeddings where a file ties the two. What that loader
would misread or crash on is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cache import cache_dir
from .gguf import Gguf, GgufError, Tensor, type_name
from .tokenizer import raw_bytes

__all__ = ["adapt", "require_loadable"]

_ENGINE = "the ctransformers engine cannot load"
_ADVICE = "use the llamacpp engine for it"

# The tensors that the engine knows, by architecture. It stops at any other.
_LAYER = "attn_norm|attn_q|attn_k|attn_v|attn_output|ffn_norm|ffn_gate|ffn_down|ffn_up"
_TENSORS = {
    "llama": re.compile(rf"(token_embd|output_norm|output|blk\.\d+\.({_LAYER}))\.weight"),
    "falcon": re.compile(
        r"(token_embd|output|blk\.\d+\.(attn_qkv|attn_output|ffn_down|ffn_up))\.weight"
        r"|(output_norm|blk\.\d+\.(attn_norm|attn_norm_2))\.(weight|bias)"
    ),
}
_QUANTIZATIONS = frozenset(
    ["F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
)
_VOCABULARIES = ("llama", "gpt2")
_FLOAT32, _STRING, _ARRAY = 6, 8, 9
_NEWLINE = "\n"


def require_loadable(file: Gguf) -> None:
    """Raise `GgufError`, naming what is in the way, if `adapt` cannot make the engine load it."""
    for obstacle in (_foreign(file), _rescaled(file), _incomplete(file)):
        if obstacle:
            raise GgufError(f"{file.path}: {_ENGINE} {obstacle}; {_ADVICE}")


def _foreign(file: Gguf) -> str:
    known = _TENSORS.get(file.architecture)
    if known is None:
        return f"the architecture {file.architecture!r}, only {' and '.join(_TENSORS)}"
    vocabulary = file.text("tokenizer.ggml.model")
    if vocabulary not in _VOCABULARIES:
        return f"the tokenizer {vocabulary!r}"
    for tensor in file.tensors:
        if not known.fullmatch(tensor.name):
            return f"the tensor {tensor.name!r} of this {file.architecture} variant"
        if type_name(tensor.type) not in _QUANTIZATIONS:
            return f"the quantization {type_name(tensor.type)}"
    return ""


def _rescaled(file: Gguf) -> str:
    kind = file.metadata.get(f"{file.architecture}.rope.scaling.type", "none")
    return "" if kind == "none" else f"rope scaling ({kind})"


def _incomplete(file: Gguf) -> str:
    names = {tensor.name for tensor in file.tensors}
    if "token_embd.weight" not in names:
        return "a file without token_embd.weight"
    width = file.number(f"{file.architecture}.embedding_length")
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    shape = (width, len(tokens) if isinstance(tokens, list) else 0)
    embeddings = next(tensor for tensor in file.tensors if tensor.name == "token_embd.weight")
    if embeddings.shape != shape:
        return f"embeddings of shape {embeddings.shape}, where the metadata says {shape}"
    return ""


def adapt(file: Gguf, *, cache: Path | None = None) -> Path:
    """The path of a file with the same weights that the engine loads.

    That is the file itself if nothing has to change. Otherwise it is a copy in `cache`
    (default `cache_dir()`), written once for a path, size and modification time;
    it appears there whole or not at all. Raises as `require_loadable`, and `OSError`.
    """
    require_loadable(file)
    tokens: list[str] = file.metadata["tokenizer.ggml.tokens"]
    changed: dict[str, bytes] = {}
    if "tokenizer.ggml.scores" not in file.metadata:
        scores = struct.pack("<IIQ", _ARRAY, _FLOAT32, len(tokens)) + bytes(4 * len(tokens))
        changed["tokenizer.ggml.scores"] = scores
    if file.text("tokenizer.ggml.model") == "gpt2" and _NEWLINE not in tokens:
        changed["tokenizer.ggml.tokens"] = _strings([raw_bytes(token) for token in tokens])
    tensors = list(file.tensors)
    if not any(tensor.name == "output.weight" for tensor in tensors):
        tied = next(tensor for tensor in tensors if tensor.name == "token_embd.weight")
        tensors.append(Tensor("output.weight", tied.shape, tied.type, tied.offset))
    nested = any(_nested(value) for value in file.metadata.values())
    if not changed and not nested and len(tensors) == len(file.tensors):
        return file.path
    place = (cache or cache_dir()) / "gguf-2023"
    path = place / f"{file.path.stem}-{_key(file)}.gguf"
    if not path.is_file():
        place.mkdir(parents=True, exist_ok=True)
        _write(file, changed, tensors, path)
    return path


def _nested(value: Any) -> bool:
    """An array of arrays: the engine's reader aborts the process when it meets one."""
    return isinstance(value, list) and any(isinstance(item, list) for item in value[:1])


def _key(file: Gguf) -> str:
    told = f"{file.path.resolve()}\0{file.size}\0{file.modified_ns}"
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:20]


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data


def _strings(items: Sequence[bytes]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, _STRING, len(items)) + b"".join(map(_string, items))


def _write(file: Gguf, changed: dict[str, bytes], tensors: Sequence[Tensor], path: Path) -> None:
    with (
        file.path.open("rb") as source,
        tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as target,
    ):
        try:
            head = _head(file, changed, tensors, source.read(file.data))
            target.write(head + bytes(-len(head) % file.alignment))
            source.seek(file.data)
            shutil.copyfileobj(source, target, 1 << 20)
            target.close()
            os.replace(target.name, path)
        except BaseException:
            target.close()
            os.unlink(target.name)
            raise


def _head(
    file: Gguf,
    changed: dict[str, bytes],
    tensors: Sequence[Tensor],
    old: bytes,
) -> bytes:
    spans = {key: span for key, span in file.spans.items() if not _nested(file.metadata[key])}
    values = {key: old[start:end] for key, (start, end) in spans.items()} | changed
    parts = [struct.pack("<4sIQQ", b"GGUF", file.version, len(tensors), len(values))]
    for key, value in values.items():
        parts += [_string(key.encode("utf-8", "surrogateescape")), value]
    for tensor in tensors:
        parts.append(_string(tensor.name.encode("utf-8", "surrogateescape")))
        form = f"<I{len(tensor.shape)}QIQ"
        parts.append(
            struct.pack(form, len(tensor.shape), *tensor.shape, tensor.type, tensor.offset)
        )
    return b"".join(parts)
