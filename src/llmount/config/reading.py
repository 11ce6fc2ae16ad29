"""From the text of a file to a `Config`, with all that is wrong on the way."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import eq
from pathlib import Path as FilePath
from typing import Any, Final

from .. import models
from ..access import Limits
from ..backends.pool import Circuit, Retry
from ..backends.several import name_key
from ..keys import KEY_HEADERS
from ..types import JSON
from . import schema
from .kinds import DRAWERS, LISTENERS, PROVIDERS, SPEAKERS, Kind
from .locating import Path, locate
from .problems import Problems, nearest
from .secrets import SecretError, read_keys, read_secret
from .values import Config, Provider, Server, Shared, Target

__all__ = ["read"]

_SECRET_HEADERS: Final = frozenset({*KEY_HEADERS, "cookie", "proxy-authorization"})
_SECRET: Final = (
    'must be {env = "VARIABLE"} or {file = "PATH"}; no secret is written into this file'
)


def read(file: FilePath, environment: Mapping[str, str]) -> tuple[Config | None, Problems]:
    """What the file says, without those parts of it that are wrong; None if that is all.

    Relative paths become relative to the folder of the file.
    """
    problems = Problems(file)
    value = _parsed(file, problems)
    if value is None:
        return None, problems
    wrong = schema.hold(value, problems)
    if () in wrong:
        return None, problems
    return _Reading(value, wrong, problems, environment).config(), problems


def _parsed(file: FilePath, problems: Problems) -> dict[str, JSON] | None:
    try:
        text = file.read_text(encoding="utf-8")
        value = tomllib.loads(text)
    except OSError as error:
        problems.add((), f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError:
        problems.add((), "is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        told = re.sub(r" \(at .*\)$", "", str(error))
        line = re.search(r"\(at line (\d+)", str(error))
        problems.lines = {(): int(line[1]) if line else text.count("\n") + 1}
        problems.add((), f"this is not TOML: {told[:1].lower()}{told[1:]}")
    else:
        problems.lines = locate(text)
        return value
    return None


@dataclass(slots=True)
class _Reading:
    value: dict[str, Any]
    wrong: set[Path]
    problems: Problems
    environment: Mapping[str, str]
    taken: dict[tuple[str, str], Path] = field(default_factory=dict)
    seen: dict[tuple[str, str], Provider] = field(default_factory=dict)

    def config(self) -> Config:
        providers = tuple(self._backends("providers", PROVIDERS))
        images = tuple(self._backends("images", DRAWERS))
        shared = tuple(self._shared({provider.name: provider for provider in providers}))
        limits = self._section("limits")
        return Config(
            server=Server(**{**schema.defaults("server"), **self._section("server")}),
            keys=self._keys(),
            limits=Limits(**limits) if limits else None,
            providers=providers,
            models=shared,
            images=images,
            speech=tuple(self._backends("speech", SPEAKERS)),
            transcription=tuple(self._backends("transcription", LISTENERS)),
        )

    def _good(self, path: Path) -> bool:
        """Whether nothing is wrong with it, nor with what it is in or has in it."""
        return not any(all(map(eq, wrong, path)) for wrong in self.wrong)

    def _section(self, name: str) -> dict[str, Any]:
        """Without what is wrong in it."""
        if (name,) in self.wrong:
            return {}
        section = self.value.get(name, {})
        return {key: each for key, each in section.items() if self._good((name, key))}

    def _keys(self) -> frozenset[str] | None:
        if "keys" not in self.value or not self._good(("keys",)):
            return None
        table = self.value["keys"]
        variable = table.get("env")
        listed = None if variable is None else self.environment.get(variable)
        if variable is not None and listed is None:
            self.problems.add(("keys", "env"), f"the environment variable {variable} is not set")
            return None
        try:
            file = self._file(table["file"]) if "file" in table else None
            return read_keys(file, listed, variable or "")
        except SecretError as error:
            self.problems.add(("keys",), str(error))
            return None

    # Backends

    def _backends(self, section: str, kinds: Mapping[str, Kind[Any]]) -> Iterator[Provider]:
        """Those with which nothing is wrong; all are looked at, as far as they can be."""
        for name, table in self._tables(section):
            path = (section, name)
            if not self._good((*path, "type")) or "type" not in table:
                continue
            before = len(self.problems.found)
            good = {key: each for key, each in table.items() if self._good((*path, key))}
            if isinstance(headers := table.get("headers"), dict):
                inner = (*path, "headers")
                good["headers"] = {k: v for k, v in headers.items() if self._good((*inner, k))}
            options = {
                key: self._option((*path, key), each)
                for key, each in good.items()
                if key not in ("type", "models", "prefix")
            }
            kind = kinds[table["type"]]
            served = self._served((*path, "models"), good.get("models"), kind.models == "files")
            provider = Provider(
                name=name,
                type=table["type"],
                models=served,
                prefix=good.get("prefix", "" if "models" in table else f"{name}/"),
                options=options,
                place=self.problems.place(path),
            )
            self._claim(section, provider, kind)
            self.seen[section, name] = provider
            if self._good(path) and len(self.problems.found) == before:
                yield provider

    def _tables(self, section: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The members of a section that are tables, right or wrong."""
        if (section,) not in self.wrong:
            for name, table in self.value.get(section, {}).items():
                if isinstance(table, dict):
                    yield name, table

    def _option(self, path: Path, value: Any) -> Any:
        match path[-1]:
            case "key":
                return self._secret(path, value)
            case "headers":
                return {name: self._header((*path, name), each) for name, each in value.items()}
            case "cache":
                return self._file(value)
        return value

    def _header(self, path: Path, value: Any) -> str:
        if isinstance(value, str):
            if str(path[-1]).lower() in _SECRET_HEADERS:
                self.problems.add(path, _SECRET)
            return value
        return self._secret(path, value)

    def _secret(self, path: Path, where: Mapping[str, str]) -> str:
        if "file" in where:
            where = {"file": str(self._file(where["file"]))}
        try:
            return read_secret(where, self.environment)
        except SecretError as error:
            self.problems.add(path, str(error))
            return ""

    def _served(self, path: Path, value: Any, files: bool) -> dict[str, str] | None:
        """What is served, by the names that clients use."""
        if value is None:
            return None
        if isinstance(value, dict):
            listed = [((*path, name), name, source) for name, source in value.items()]
        else:
            listed = [((*path, number), "", source) for number, source in enumerate(value)]
        found = {}
        for place, name, source in listed:
            if files and source not in models.KNOWN:
                file = self._file(source)
                if not file.is_file():
                    hint = nearest(source, models.KNOWN)
                    self.problems.add(place, f"there is no file {file}{hint}")
                    continue
                name, source = name or file.stem, str(file)
            name = name or source
            if name in found:
                self.problems.add(place, f"another file is called {name!r} too; write NAME = …")
            found[name] = source
        return found

    def _file(self, text: str) -> FilePath:
        return self.problems.file.absolute().parent / FilePath(text).expanduser()

    # Models

    def _shared(self, providers: Mapping[str, Provider]) -> Iterator[Shared]:
        tables = () if ("models",) in self.wrong else self.value.get("models", ())
        for number, table in enumerate(tables):
            path = ("models", number)
            before = len(self.problems.found)
            if "name" in table and self._good((*path, "name")):
                self._once("providers", (*path, "name"), table["name"])
            members = table.get("members", ()) if (*path, "members") not in self.wrong else ()
            for place, member in enumerate(members):
                if self._good((*path, "members", place)):
                    self._member((*path, "members", place), member)
            if (
                self._good(path)
                and len(self.problems.found) == before
                and all(member["provider"] in providers for member in members)
            ):
                yield Shared(
                    name=table["name"],
                    members=tuple(Target(**member) for member in members),
                    retry=Retry(**table.get("retry", {})),
                    circuit=Circuit(**table.get("circuit", {})),
                )

    def _member(self, path: Path, member: Mapping[str, Any]) -> None:
        name, model = member["provider"], member["model"]
        known = dict(self._tables("providers"))
        if name not in known:
            text = f"there is no provider {name!r}{nearest(name, known)}"
            self.problems.add((*path, "provider"), text)
            return
        provider = self.seen.get(("providers", name))
        if provider is not None and PROVIDERS[provider.type].models != "upstream":
            there = [*(provider.models or PROVIDERS[provider.type].default)]
            if name_key(model) not in map(name_key, there):
                text = f"provider {name!r} has no model {model!r}{nearest(model, there)}"
                self.problems.add((*path, "model"), text)

    # Names

    def _claim(self, section: str, provider: Provider, kind: Kind[Any]) -> None:
        """The names of a provider's models, or the prefix that is before all of them, where
        models go by names without their provider's."""
        if section not in ("providers", "images"):
            return
        path = (section, provider.name)
        names = provider.models
        if names is None:
            self._once("prefixes", (*path, "prefix"), provider.prefix)
            names = dict.fromkeys(kind.default, "") if section == "images" else {}
        as_table = isinstance(self.value[section][provider.name].get("models"), dict)
        for number, name in enumerate(names):
            place = (*path, "models", name if as_table else number)
            self._once(section, place, name if section == "images" else provider.prefix + name)

    def _once(self, kind: str, path: Path, name: str) -> None:
        """Note a name, which no other of its kind may have."""
        other = self.taken.setdefault((kind, name_key(name)), path)
        if other != path:
            line = self.problems.place(other).line
            what = "the prefix" if kind == "prefixes" else "a model of the name"
            self.problems.add(path, f"there is {what} {name!r} already, in line {line}")
