"""Small changes of JSON values and of lists of items, for the tables of mutants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from llmount.types import JSON

__all__ = [
    "Edit",
    "Test",
    "after",
    "before",
    "change",
    "drop",
    "first",
    "has",
    "last",
    "only_field",
    "put",
    "put_if",
    "rename",
    "twice",
    "without",
]

Edit: TypeAlias = Callable[[JSON], JSON]
ListEdit: TypeAlias = Callable[[list[JSON]], list[JSON]]
Test: TypeAlias = Callable[[JSON], bool]


# One value. A path is names with dots, `*` for each of a list; what it does not lead to stays.


def drop(path: str) -> Edit:
    return _at(path, lambda holder, name: holder.pop(name, None))


def put(path: str, value: JSON) -> Edit:
    return _at(path, lambda holder, name: holder.__setitem__(name, value))


def put_if(path: str, value: JSON) -> Edit:
    """As `put`, where there is something already."""
    return change(path, lambda _: value)


def change(path: str, edit: Edit) -> Edit:
    def one(holder: dict[str, JSON], name: str) -> None:
        if holder.get(name) is not None:
            holder[name] = edit(holder[name])

    return _at(path, one)


def rename(path: str, name: str) -> Edit:
    def one(holder: dict[str, JSON], old: str) -> None:
        if old in holder:
            holder[name] = holder.pop(old)

    return _at(path, one)


def only_field(name: str) -> Edit:
    """Wrap the value in an object."""
    return lambda value: {name: value}


def has(path: str) -> Test:
    """Whether the path leads to something that is not null, empty or false."""

    def test(value: JSON) -> bool:
        *names, end = path.split(".")
        return any(holder.get(end) for holder in _holders(value, names))

    return test


def _at(path: str, edit: Callable[[dict[str, JSON], str], object]) -> Edit:
    *names, end = path.split(".")

    def changed(value: JSON) -> JSON:
        for holder in _holders(value, names):
            edit(holder, end)
        return value

    return changed


def _holders(value: JSON, names: list[str]) -> Iterator[dict[str, JSON]]:
    if not names:
        if isinstance(value, dict):
            yield value
        return
    name, *rest = names
    if name == "*" and isinstance(value, list):
        for each in value:
            yield from _holders(each, rest)
    elif isinstance(value, dict) and name in value:
        yield from _holders(value[name], rest)


# Lists of items


def without(test: Test) -> ListEdit:
    return lambda said: [item for item in said if not test(item)]


def twice(test: Test) -> ListEdit:
    """Send those again, right after themselves."""
    return lambda said: [copy for item in said for copy in ([item] * 2 if test(item) else [item])]


def after(test: Test, item: JSON) -> ListEdit:
    return lambda said: [new for old in said for new in ([old, item] if test(old) else [old])]


def before(test: Test, item: JSON) -> ListEdit:
    return lambda said: [new for old in said for new in ([item, old] if test(old) else [old])]


def first(edit: Edit, test: Test = lambda item: True) -> ListEdit:
    """Change the first that passes."""

    def changed(said: list[JSON]) -> list[JSON]:
        number = next((n for n, item in enumerate(said) if test(item)), None)
        return said if number is None else [*said[:number], edit(said[number]), *said[number + 1 :]]

    return changed


def last(edit: Edit, test: Test = lambda item: True) -> ListEdit:
    """Change the last that passes."""
    return lambda said: first(edit, test)(said[::-1])[::-1]
