"""One file from a package index, got the way the user's pip is configured to get it."""

from __future__ import annotations

import ast
import base64
import configparser
import ensurepip
import http.client
import importlib.util
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, urldefrag, urljoin, urlsplit

__all__ = ["Told", "Unavailable", "download"]

Told: TypeAlias = Callable[[int, int], None]
"""Told how many bytes have arrived, and of how many (0 where that is unknown)."""

_ACCEPT = ", ".join(
    [
        "application/vnd.pypi.simple.v1+json",
        "application/vnd.pypi.simple.v1+html;q=0.2",
        "text/html;q=0.1",
    ]
)
_TIMEOUT = 30.0
_PIP_TIMEOUT = 900.0
_BLOCK = 1 << 18
_LARGEST_PAGE = 1 << 24
_TRUE = ("y", "yes", "t", "true", "on", "1")
_UNREACHABLE = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


class Unavailable(Exception):
    """The file cannot be had from any index; the text says why not from each."""


def download(
    package: str, version: str, filename: str, path: Path, told: Told, *, index: str | None = None
) -> str:
    """Write a file of a package's release to `path`; give the host it came from, or "pip".

    index: the address of an index's "simple" pages, which may hold a user and a password.
    By default all that pip is configured for are asked in turn, or what uv is, and
    failing that pip itself. The content is not checked. Raises `Unavailable`, or `OSError`
    if `path` cannot be written.
    """
    settings = _pip_settings()
    failures: list[str] = []
    for address in [index] if index else _indexes(settings):
        shown = _without_password(address)
        try:
            _fetch(_Site(address, settings.get("cert")), package, filename, path, told)
        except _UNREACHABLE as error:
            failures.append(f"{shown}: {_reason(error)}")
        else:
            return shown
    failure = _ask_pip(package, version, path, index)
    if failure is not None:
        raise Unavailable("; ".join([*failures, f"pip: {failure}"]))
    told(path.stat().st_size, path.stat().st_size)
    return "pip"


def _without_password(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2] or "the configured index"


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__


# Straight from an index


class _Site:
    """A package index: where it is, and how it is spoken to."""

    def __init__(self, address: str, certificates: str | None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise urllib.error.URLError("its address does not begin with https://")
        host = parts.netloc.rpartition("@")[2]
        self.address = parts._replace(netloc=host).geturl().rstrip("/")
        self._origin = _origin(parts)
        self._authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        try:
            context = ssl.create_default_context(cafile=certificates)
        except OSError as error:
            raise urllib.error.URLError("pip's certificates cannot be read") from error
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def open(self, url: str, accept: str = "*/*") -> http.client.HTTPResponse:
        """GET an address; the password goes to the index's own host only."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise urllib.error.URLError("it points to an address that is not HTTP")
        request = urllib.request.Request(url, headers={"Accept": accept})
        if self._authorization and _origin(parts) == self._origin:
            request.add_unredirected_header("Authorization", self._authorization)
        response: http.client.HTTPResponse = self._opener.open(request, timeout=_TIMEOUT)
        return response


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port


def _fetch(site: _Site, package: str, filename: str, path: Path, told: Told) -> None:
    with site.open(f"{site.address}/{package}/", _ACCEPT) as page:
        text = page.read(_LARGEST_PAGE).decode("utf-8", "replace")
        is_json = page.headers.get_content_type().endswith("json")
        base = page.url
    for link in _json_links(text) if is_json else _html_links(text):
        url = urldefrag(urljoin(base, link)).url
        if unquote(urlsplit(url).path).rpartition("/")[2] == filename:
            break
    else:
        raise urllib.error.URLError(f"it does not offer {filename}")
    with site.open(url) as source, path.open("wb") as file:
        total = int(source.headers.get("Content-Length") or 0)
        done = 0
        told(done, total)
        while block := source.read(_BLOCK):
            file.write(block)
            done += len(block)
            told(done, total)
    if done < total:
        raise urllib.error.URLError("the connection broke off")


def _json_links(text: str) -> list[str]:
    try:
        return [file["url"] for file in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise urllib.error.URLError("its answer is not a list of files") from error


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for key, value in attrs if key == "href" and value]


def _html_links(text: str) -> list[str]:
    links = _Links()
    links.feed(text)
    return links.found


# As pip is configured


def _indexes(settings: Mapping[str, str]) -> Iterator[str]:
    if settings.get("no-index", "").lower() in _TRUE:
        return
    for variable in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if address := os.environ.get(variable):
            # uv lets an index have a name in front.
            name, _, named = address.partition("=")
            yield address if "://" in name else named
            break
    else:
        if address := settings.get("index-url") or _pip_default():
            yield address
    yield from settings.get("extra-index-url", "").split()


def _pip_settings() -> dict[str, str]:
    """What pip's environment variables and files set, as pip itself reads them."""
    done = _pip("config", "list")
    if done.returncode:
        return _config_file() | _config_environment()
    found: dict[str, dict[str, str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        try:
            found.setdefault(section, {})[key] = str(ast.literal_eval(value))
        except (ValueError, SyntaxError):
            # A line that is no setting.
            continue
    sections = ("global", "install", "download", ":env:")
    return {key: value for name in sections for key, value in found.get(name, {}).items()}


def _pip_default() -> str | None:
    """The index that pip asks when it is told of none; its help says so."""
    stated = re.search(
        r"--index-url.*?\(default\s+(\S+?)\)", _pip("download", "--help").stdout, re.S
    )
    return stated[1] if stated else None


def _config_file() -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(os.environ.get("PIP_CONFIG_FILE", ""), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise Unavailable("the file that PIP_CONFIG_FILE names cannot be read") from error
    sections = [name for name in ("global", "install", "download") if parser.has_section(name)]
    return {key: value for name in sections for key, value in parser.items(name)}


def _config_environment() -> dict[str, str]:
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }


def _ask_pip(package: str, version: str, path: Path, index: str | None) -> str | None:
    """Let pip download the file, which knows more ways than this module. Why it failed."""
    done = _pip(
        *("download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--quiet"),
        *("--retries", "1", "--dest", str(path.parent), f"{package}=={version}"),
        # As an argument an address with a password would be seen by others.
        settings={"PIP_INDEX_URL": index} if index else {},
    )
    if done.returncode == 0 and path.is_file():
        return None
    return "it is not installed" if "No module named pip" in done.stderr else "it failed too"


def _where_pip_is() -> Sequence[str]:
    """pip as it is installed, or as Python carries it for new environments."""
    if importlib.util.find_spec("pip") is None:
        carried = Path(ensurepip.__file__).parent / "_bundled"
        for wheel in sorted(carried.glob("pip-*.whl")):
            return [str(wheel / "pip")]
    return ["-m", "pip"]


def _pip(
    *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *_where_pip_is(), "--disable-pip-version-check", "--no-input"]
    command += arguments
    try:
        return subprocess.run(
            command,
            env={**os.environ, **(settings or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PIP_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
