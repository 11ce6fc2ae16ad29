"""What a report keeps of the exchanges that it shows: a bounded part, and no secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

from ..jsontext import dumps, loads
from ..types import JSON
from .recording import Item, Recording
from .verdict import Report, Result

__all__ = ["Rewrite", "excerpt", "rewriting", "secrets_of"]

Rewrite: TypeAlias = Callable[[str], str]

MAX_BODY: Final = 64 * 2**10
"""Bytes of a request, so that nearly all can be sent again as they were."""

MAX_CONTENT: Final = 16 * 2**10
MAX_ITEMS: Final = 1000
MAX_ITEM_TEXT: Final = 64 * 2**10
"""Characters of all the items of a stream."""

MAX_FINDINGS: Final = 25
_MAX_DEPTH: Final = 64
_SHORTEST: Final = 4
"""Characters of a secret: no word that is shorter can be one."""

_PUBLIC: Final = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_PRIVATE: Final = frozenset({"set-cookie"})
_HIDDEN: Final = "…"


def secrets_of(url: str, headers: Mapping[str, str]) -> set[str]:
    """What a server must be told that no report may tell: the values of the headers, and the
    password of the address."""
    found = set()
    for name, value in headers.items():
        if name.lower() not in _PUBLIC:
            found |= {value, value.rpartition(" ")[2]}
    if password := urlsplit(url).password:
        found |= {password, unquote(password)}
    return {secret for secret in found if len(secret) >= _SHORTEST}


def rewriting(secrets: set[str], places: Mapping[str, str]) -> Rewrite:
    """Hides the secrets, and tells each place, an address, as another."""
    words = {**dict.fromkeys(secrets, _HIDDEN), **places}
    if not words:
        return lambda text: text
    # A secret that is also a part of a longer word is not that word.
    patterns = [rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(words, key=len, reverse=True)]
    pattern = re.compile("|".join(patterns))
    return lambda text: pattern.sub(lambda match: words[match[0]], text)


def excerpt(report: Report, rewrite: Rewrite) -> Report:
    """The report as it may be shown, kept and sent around."""
    seen: dict[int, Recording] = {}

    def kept(recording: Recording) -> Recording:
        # What several findings share stays shared.
        if id(recording) not in seen:
            seen[id(recording)] = _kept(recording, rewrite)
        return seen[id(recording)]

    return replace(
        report,
        target=rewrite(report.target),
        url=rewrite(report.url),
        server=rewrite(report.server),
        results=[_result(result, rewrite, kept) for result in report.results],
        streams={name: kept(recording) for name, recording in report.streams.items()},
    )


def _result(result: Result, rewrite: Rewrite, kept: Callable[[Recording], Recording]) -> Result:
    return replace(
        result,
        reason=rewrite(result.reason),
        findings=[
            replace(
                finding,
                message=rewrite(finding.message),
                recording=finding.recording and kept(finding.recording),
            )
            for finding in result.findings[:MAX_FINDINGS]
        ],
        findings_left_out=max(0, len(result.findings) - MAX_FINDINGS),
    )


def _kept(recording: Recording, rewrite: Rewrite) -> Recording:
    def of_bytes(content: bytes, most: int) -> bytes:
        text = rewrite(content.decode("utf-8", "surrogateescape"))
        return text.encode("utf-8", "surrogateescape")[:most]

    items = _items(recording.items, rewrite)
    body = recording.body
    left_out = {
        "body": len(body or b"") - MAX_BODY,
        "content": len(recording.content) - MAX_CONTENT,
        "items": len(recording.items) - len(items),
        "reads": len(recording.reads) - MAX_ITEMS,
    }
    return replace(
        recording,
        url=rewrite(recording.url),
        headers=[(name, rewrite(value)) for name, value in recording.headers],
        body=None if body is None else of_bytes(body, MAX_BODY),
        response_headers=[
            (name, _HIDDEN if name in _PRIVATE else rewrite(value))
            for name, value in recording.response_headers
        ],
        content=of_bytes(recording.content, MAX_CONTENT),
        items=items,
        fault=rewrite(recording.fault),
        reads=recording.reads[:MAX_ITEMS],
        left_out={name: count for name, count in left_out.items() if count > 0},
    )


def _items(items: list[Item], rewrite: Rewrite) -> list[Item]:
    kept: list[Item] = []
    room = MAX_ITEM_TEXT
    for item in items[:MAX_ITEMS]:
        if _deep(item.value):
            kept.append(Item(_HIDDEN, item.at))
            continue
        text = dumps(item.value)
        room -= len(text)
        if room < 0:
            break
        kept.append(Item(loads(rewrite(text)), item.at))
    return kept


def _deep(value: JSON) -> bool:
    """Whether it is nested deeper than every reader of a report can follow."""
    level: list[JSON] = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            each
            for outer in level
            if isinstance(outer, dict | list)
            for each in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
