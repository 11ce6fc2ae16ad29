"""`llmount check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from .baseline import Baseline, BaselineError
from .inspection import CannotRun, Options, inspect
from .run import UnknownCheck
from .served import AppNotFound, load, served
from .verdict import Profile, Report

__all__ = ["add_to", "main"]

CONFORMS, FINDINGS, COULD_NOT_RUN = 0, 1, 2
"""Exit statuses."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("target", metavar="TARGET", help="a URL, or module:app to serve and check")
    parser.add_argument("--contract", action="append", default=[], metavar="NAME")
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--key", metavar="KEY")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--profile", choices=[each.value for each in Profile], default="compat")
    parser.add_argument("--only", action="append", default=[], metavar="CHECK")
    parser.add_argument("--skip", action="append", default=[], metavar="CHECK")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-time", type=float, metavar="SECONDS")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--baseline", type=Path, metavar="FILE")
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    try:
        asked = _options(options)
        with _url(options.target) as url:
            reports = anyio.run(_inspect, url, asked, options.target)
    except (CannotRun, UnknownCheck, BaselineError, AppNotFound) as error:
        print(f"llmount check: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    return status(reports)


def status(reports: Sequence[Report]) -> int:
    if any(report.crashed for report in reports):
        return COULD_NOT_RUN
    return CONFORMS if all(report.conforms for report in reports) else FINDINGS


@contextmanager
def _url(target: str) -> Iterator[str]:
    if target.startswith(("http://", "https://")):
        yield target
    else:
        with served(load(target)) as url:
            yield url


async def _inspect(url: str, options: Options, name: str) -> list[Report]:
    return await inspect(url, options, name=name)


def _options(options: argparse.Namespace) -> Options:
    headers = {}
    if options.key:
        headers["authorization"] = f"Bearer {options.key}"
    for header in options.header:
        name, colon, value = header.partition(":")
        if not colon:
            raise CannotRun(f"--header wants NAME:VALUE, not {header!r}")
        headers[name.strip().lower()] = value.strip()
    return Options(
        contracts=options.contract,
        model=options.model,
        headers=headers,
        profile=Profile(options.profile),
        only=options.only,
        skip=options.skip,
        seed=options.seed,
        max_time=options.max_time,
        workers=options.workers,
        baseline=Baseline.read(options.baseline) if options.baseline else Baseline(),
    )
