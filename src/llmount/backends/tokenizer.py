"""Text to tokens and back, from the vocabulary in a GGUF file.

Two kinds: byte-level BPE (`tokenizer.ggml.model` is "gpt2"), where the text is cut by
regular expressions and the bytes of each piece are merged by rank, and SentencePiece
("llama"), where the whole text is merged by score.

Special tokens and text that a client wrote. A token such as `<|im_end|>` ends a turn, so a
client who could write it in a message could forge turns. It is therefore matched only with
`parse_special=True`, for a rendered template, and the client's strings inside that template
go through `shield` first: it puts a `BREAK` after each character that a special token
could begin with. Such a token then cannot be matched, and `encode` drops every `BREAK`
once it has cut the text at its special tokens. Templates may trim, join, compare or
quote shielded text as usual. The mark need not be secret: a client who writes it only
prevents matches in their own text (and loses the character, which Unicode reserves as
"not a character").
"""

from __future__ import annotations

import heapq
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from .gguf import GgufError

__all__ = ["BREAK", "Tokenizer", "alternatives", "control_texts"]

BREAK = "\ufdd0"

_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6
_SPACE = "▁"

# What ends an answer besides the tokens that the metadata names.
_END_TEXTS = {
    *("<|endoftext|>", "<|im_end|>", "<|end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>"),
    *("<EOT>", "▁<EOT>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
}
_END_KEYS = [f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom")]

# Pre-tokenisers, by `tokenizer.ggml.pre`. Each pattern in turn cuts every piece into its
# matches and what lies between. {L}, {N}, {P} and {s} stand for sets of characters.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{s}{L}{N}]+|[{s}]+(?![^{s}])"
_LLAMA3 = (
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n{L}{N}]?[{L}]+|[{N}]{%s}"
    r"| ?[^{s}{L}{N}]+[\r\n]*|[{s}]*[\r\n]+|[{s}]+(?![^{s}])|[{s}]+"
)
_THREE, _ONE = _LLAMA3.replace("%s", "1,3"), _LLAMA3.replace("%s", "1")
_PATTERNS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["gpt-2", "phi-2", "mpt", "olmo", "jais"], (_GPT2,)),
    **dict.fromkeys(["smollm", "starcoder", "refact", "codeshell"], ("[{N}]", _GPT2)),
    **dict.fromkeys(["llama3", "llama-v3", "llama-bpe", "falcon3"], (_THREE,)),
    **dict.fromkeys(["smaug-bpe", "dbrx"], (_THREE,)),
    **dict.fromkeys(["qwen2", "stablelm2", "deepseek-r1-qwen"], (_ONE,)),
    "default": (r"[{P}$+<=>^~|]+", _GPT2, "[{N}]+", "[0-9][0-9][0-9]"),
    "falcon": (r"[{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]"),
}
_WHOLE_WORDS_FIRST = {"llama3", "llama-v3", "llama-bpe", "falcon3"}

_WHITESPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@cache
def _character_sets() -> dict[str, str]:
    """The inside of a regular expression's set for each Unicode class that patterns name."""
    spans: dict[str, list[list[int]]] = {"L": [], "N": [], "P": []}
    for point in range(sys.maxunicode + 1):
        ranges = spans.get(unicodedata.category(chr(point))[0])
        if ranges is None:
            continue
        if ranges and ranges[-1][1] == point - 1:
            ranges[-1][1] = point
        else:
            ranges.append([point, point])
    sets = {
        name: "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges)
        for name, ranges in spans.items()
    }
    return {**sets, "s": _WHITESPACE}


@cache
def _cutters(pre: str) -> tuple[re.Pattern[str], ...]:
    if pre not in _PATTERNS:
        raise GgufError(
            f"the pre-tokenizer {pre!r} is not supported; the llamacpp engine may know it"
        )

    def fill(pattern: str) -> str:
        sets = _character_sets()
        return re.sub(r"\{([LNPs])\}", lambda match: sets[match[1]], pattern)

    return tuple(re.compile(fill(pattern)) for pattern in _PATTERNS[pre])


def _cut(pattern: re.Pattern[str], piece: str) -> Iterator[str]:
    """All of a piece: what matches the pattern, and what lies between."""
    end = 0
    for match in pattern.finditer(piece):
        if match.start() > end:
            yield piece[end : match.start()]
        if match[0]:
            yield match[0]
        end = match.end()
    if end < len(piece):
        yield piece[end:]


def _merge(symbols: list[str], rank: Callable[[str, str], float | None]) -> list[str]:
    """Join neighbours, lowest rank first and leftmost among equals, while any has a rank.

    It takes n log n steps for n symbols, whatever the text.
    """
    following = [*range(1, len(symbols)), -1]
    before = list(range(-1, len(symbols) - 1))
    queue: list[tuple[float, int, str, str]] = []

    def consider(left: int) -> None:
        if left >= 0 and (right := following[left]) >= 0:
            found = rank(symbols[left], symbols[right])
            if found is not None:
                heapq.heappush(queue, (found, left, symbols[left], symbols[right]))

    for index in range(len(symbols)):
        consider(index)
    while queue:
        _, left, first, second = heapq.heappop(queue)
        right = following[left]
        if right < 0 or symbols[left] != first or symbols[right] != second:
            continue
        symbols[left] = first + second
        symbols[right] = ""
        following[left] = following[right]
        if following[right] >= 0:
            before[following[right]] = left
        consider(before[left])
        consider(left)
    return [symbol for symbol in symbols if symbol]


def _byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary."""
    kept = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in kept else next(others)) for byte in range(256)]


ALPHABET = _byte_alphabet()
_BYTES = {character: byte for byte, character in enumerate(ALPHABET)}


def raw_bytes(text: str) -> bytes:
    """The bytes that a token of a byte-level vocabulary stands for."""
    return b"".join(
        bytes([_BYTES[c]]) if c in _BYTES else c.encode("utf-8", "surrogateescape") for c in text
    )


def _byte_pairs(metadata: Mapping[str, Any], ids: Mapping[str, int]) -> Callable[[str], list[int]]:
    """The encoder of a byte-level vocabulary, for text without special tokens."""
    pre = metadata.get("tokenizer.ggml.pre", "default")
    cutters = _cutters(pre)
    ranks: dict[tuple[str, str], int] = {}
    for number, line in enumerate(metadata.get("tokenizer.ggml.merges", [])):
        # The first symbol may itself be a space in old files, so the search starts behind it.
        at = line.find(" ", 1)
        ranks[line[:at], line[at + 1 :]] = number

    def rank(left: str, right: str) -> int | None:
        return ranks.get((left, right))

    def spell(word: str) -> tuple[int, ...]:
        symbols = [ALPHABET[byte] for byte in word.encode()]
        whole = "".join(symbols)
        if pre in _WHOLE_WORDS_FIRST and whole in ids:
            return (ids[whole],)
        found: list[int] = []
        for symbol in _merge(symbols, rank):
            # A vocabulary without some byte cannot spell it; llama.cpp leaves it out too.
            parts = [symbol] if symbol in ids else [part for part in symbol if part in ids]
            found += [ids[part] for part in parts]
        return tuple(found)

    remembered = lru_cache(maxsize=1 << 15)(spell)

    def encode(text: str) -> list[int]:
        pieces: Iterable[str] = [text]
        for cutter in cutters:
            pieces = [part for piece in pieces for part in _cut(cutter, piece)]
        return [
            number
            for piece in pieces
            for number in (remembered(piece) if len(piece) <= 64 else spell(piece))
        ]

    return encode


def _sentence_pieces(
    metadata: Mapping[str, Any], ids: Mapping[str, int]
) -> Callable[[str], list[int]]:
    """The encoder of a SentencePiece vocabulary, for text without special tokens."""
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) < len(ids):
        raise GgufError("the vocabulary has no scores")
    unknown = metadata.get("tokenizer.ggml.unknown_token_id", 0)

    def rank(left: str, right: str) -> float | None:
        number = ids.get(left + right)
        return None if number is None else -float(scores[number])

    def encode(text: str) -> list[int]:
        found: list[int] = []
        for symbol in _merge(list(text.replace(" ", _SPACE)), rank):
            if symbol in ids:
                found.append(ids[symbol])
            else:
                found += [ids.get(f"<0x{byte:02X}>", unknown) for byte in symbol.encode()]
        return found

    return encode


_KINDS = {"gpt2": _byte_pairs, "llama": _sentence_pieces}


class Tokenizer:
    """The vocabulary of a GGUF file.

    size: how many tokens there are; their ids are 0 to `size - 1`. bos: the token that
    begins a text, None if there is none, put in front of a text if `adds_bos`. ends: the
    tokens that end an answer. Raises `GgufError` for a vocabulary that it cannot use.
    Objects are immutable and may be shared by threads.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        kind = metadata.get("tokenizer.ggml.model", "none")
        if kind not in _KINDS:
            raise GgufError(f"the tokenizer {kind!r} is not supported, only {' and '.join(_KINDS)}")
        tokens = metadata.get("tokenizer.ggml.tokens")
        if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], str):
            raise GgufError("the file has no vocabulary")
        types = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
        if len(types) != len(tokens):
            raise GgufError(f"{len(tokens)} tokens, but {len(types)} token types")
        self._spaced = kind == "llama"
        self._space_first = self._spaced and bool(
            metadata.get("tokenizer.ggml.add_space_prefix", True)
        )
        self.size = len(tokens)
        self._pieces = [
            self._piece(token, type_) for token, type_ in zip(tokens, types, strict=True)
        ]
        self._hidden = frozenset(
            number for number, type_ in enumerate(types) if type_ in (_CONTROL, _UNKNOWN)
        )
        ids = {token: number for number, token in reversed(list(enumerate(tokens)))}
        self.bos = self._id(metadata, "tokenizer.ggml.bos_token_id")
        eos = {self._id(metadata, key) for key in _END_KEYS} - {None}
        self.ends = frozenset(number for number in eos if number is not None) | frozenset(
            ids[text]
            for text in _END_TEXTS
            if text in ids and types[ids[text]] in (_CONTROL, _USER_DEFINED)
        )
        self.adds_bos = self.bos is not None and bool(
            metadata.get(
                "tokenizer.ggml.add_bos_token",
                self._spaced or metadata.get("tokenizer.ggml.pre") in _WHOLE_WORDS_FIRST,
            )
        )
        # A token of one character could not be shielded, so it is never taken for special.
        special = [
            number
            for number, type_ in enumerate(types)
            if type_ in (_CONTROL, _USER_DEFINED) and len(tokens[number]) > 1
        ]
        self._specials = {tokens[number]: number for number in reversed(special)}
        template = metadata.get("tokenizer.chat_template", "")
        structural = {*self.ends, self.bos}
        self._harmless = {
            text: number
            for text, number in self._specials.items()
            if types[number] == _USER_DEFINED and number not in structural and text not in template
        }
        self._special_cutter = alternatives(self._specials)
        self._harmless_cutter = alternatives(self._harmless)
        starts = {text[0] for text in self._specials}
        self._shields = {ord(character): character + BREAK for character in starts}
        self._encode = _KINDS[kind](metadata, ids)
        self.longest = max(map(len, self._pieces))

    def _id(self, metadata: Mapping[str, Any], key: str) -> int | None:
        number = metadata.get(key)
        return number if isinstance(number, int) and 0 <= number < self.size else None

    def _piece(self, token: str, type_: int) -> bytes:
        if type_ == _BYTE and (match := re.fullmatch("<0x([0-9A-Fa-f]{2})>", token)):
            return bytes.fromhex(match[1])
        if type_ in (_CONTROL, _USER_DEFINED, _UNKNOWN) or self._spaced:
            shown = token.replace(_SPACE, " ") if self._spaced and type_ != _CONTROL else token
            return shown.encode("utf-8", "surrogateescape")
        return raw_bytes(token)

    def shield(self, text: str) -> str:
        """The text with marks that keep `encode` from finding a special token in it."""
        return text.replace(BREAK, "").translate(self._shields)

    def encode(self, text: str, *, parse_special: bool = False) -> list[int]:
        """The text's tokens, without a `bos` in front.

        parse_special: match special tokens, except where `shield` has marked the text.
        Otherwise only tokens that the vocabulary's author added as plain text, and that
        its chat template does not mention, are matched as a whole. Lone surrogates are
        replaced.
        """
        text = text.encode("utf-8", "replace").decode()
        specials, cutter = (
            (self._specials, self._special_cutter)
            if parse_special
            else (self._harmless, self._harmless_cutter)
        )
        found: list[int] = []
        first = True
        for piece in [text] if cutter is None else _cut(cutter, text):
            if (number := specials.get(piece)) is not None:
                found.append(number)
                first = True
            elif plain := piece.replace(BREAK, ""):
                found += self._encode(" " + plain if first and self._space_first else plain)
                first = False
        return found

    def ids_of(self, specials: Iterable[str]) -> frozenset[int]:
        """The special tokens with these texts, of those that there are."""
        return frozenset(self._specials[text] for text in specials if text in self._specials)

    def decode(self, ids: Iterable[int], *, special: bool = False) -> bytes:
        """The bytes of tokens; those of control tokens only if `special`."""
        return b"".join(
            self._pieces[number] for number in ids if special or number not in self._hidden
        )

    def check(self, ids: Sequence[int]) -> None:
        """Raise `ValueError` if an id is not one of this vocabulary."""
        for number in ids:
            if type(number) is not int or not 0 <= number < self.size:
                raise ValueError(f"{number!r} is not a token id below {self.size}")


def control_texts(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The texts of the tokens that steer a model, rather than to be read: those that begin
    and end a text or a turn among them."""
    tokens = metadata.get("tokenizer.ggml.tokens", ())
    types = metadata.get("tokenizer.ggml.token_type", ())
    named = {metadata.get(key) for key in ("tokenizer.ggml.bos_token_id", *_END_KEYS)}
    return frozenset(
        text
        for number, (text, type_) in enumerate(zip(tokens, types, strict=False))
        if type_ in (_CONTROL, _UNKNOWN) or number in named or text in _END_TEXTS
    )


def alternatives(texts: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that matches the longest of the texts that begins at a place."""
    ordered = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
