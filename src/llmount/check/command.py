"""`llmount check` and `llmount compare`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from .compare import Kind, compare
from .reproduce import KEY_VARIABLE
from .verdict import Profile, Report

if TYPE_CHECKING:
    from .inspection import Options

__all__ = ["add_compare", "add_to", "main", "status"]

CONFORMS, FINDINGS, COULD_NOT_RUN = 0, 1, 2
"""Exit statuses. Those of `compare` are of the same kind: 1 says that something got worse."""

FORMATS: Final = ("html", "json", "junit", "md", "sarif")
"""What reports can be, told without loading what makes them."""


_REPORT: Final = "Please report it to llmount, with the traceback."


class _BadUsage(Exception):
    """The text says what cannot be done."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of `llmount check`."""
    several: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help="a URL, or module:app to serve and check"
    )
    parser.add_argument(
        "--contract",
        metavar="NAME",
        help="check this contract, such as ollama or chat/openai, instead of the first that the "
        "server shows; may be given several times",
        **several,
    )
    parser.add_argument("--model", metavar="NAME", help="ask this one; default: the first listed")
    parser.add_argument(
        "--key",
        metavar="KEY",
        help=f"send this key; other users of the machine see it here, but not in {KEY_VARIABLE}",
    )
    parser.add_argument(
        "--header",
        metavar="NAME:VALUE",
        help="send this with every request; may be given several times",
        **several,
    )
    parser.add_argument(
        "--profile",
        choices=[each.value for each in Profile],
        default=Profile.COMPAT.value,
        help="compat (the default) fails what breaks a client, strict all that the document says",
    )
    parser.add_argument(
        "--only",
        metavar="CHECK",
        help="make only these checks: an id, an area, or a pattern such as 'stream.*'; several "
        "with commas, or given several times",
        **several,
    )
    parser.add_argument("--skip", metavar="CHECK", help="do not make these, likewise", **several)
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of all that is random; default: 1"
    )
    parser.add_argument(
        "--max-time",
        type=_positive,
        metavar="SECONDS",
        help="for each contract; what is not done by then is skipped",
    )
    parser.add_argument(
        "--timeout",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="in which a piece of an answer has to come; default: 60",
    )
    parser.add_argument(
        "--workers", type=_count, default=2, metavar="N", help="checks at once; default: 2"
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE", help="accept the failures in this file"
    )
    parser.add_argument(
        "--write-baseline", type=Path, metavar="FILE", help="accept what fails now, in this file"
    )
    parser.add_argument(
        "--report",
        metavar="FORMAT=FILE",
        help=f"write a report: {', '.join(FORMATS)}; - is the standard output; several with "
        "commas, or given several times",
        **several,
    )
    parser.add_argument("--list", action="store_true", help="list the checks instead")
    parser.set_defaults(run=main)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of `llmount compare`."""
    parser.add_argument("before", type=Path, metavar="A.json", help="a report of `llmount check`")
    parser.add_argument("after", type=Path, metavar="B.json", help="a later one")
    parser.set_defaults(run=_compare)


def main(options: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    try:
        from . import inspection, run, served
        from .baseline import BaselineError
    except ImportError as error:
        return _could_not_run(f'{error}; checking needs: pip install "llmount[check]"')
    if options.list:
        return _list()
    try:
        outputs = _outputs(options)
        if options.target is None:
            raise _BadUsage("say what to check: a URL or module:app")
        asked = _options(options, os.environ)
        reports = _inspect(options.target, asked)
        if options.write_baseline:
            reports = _accepted(reports, asked, options.write_baseline)
        _tell(reports, outputs, options)
    except (
        _BadUsage,
        BaselineError,
        inspection.CannotRun,
        run.UnknownCheck,
        served.AppNotFound,
    ) as error:
        return _could_not_run(str(error))
    except ImportError as error:
        return _could_not_run(f'{error}; serving an app needs: pip install "llmount[check]"')
    except (OSError, RuntimeError) as error:
        return _could_not_run(str(error))
    except Exception:
        # Python's own status for this is 1, which would say that the server is at fault.
        traceback.print_exc()
        return _could_not_run(f"it went wrong itself, which says nothing of the server. {_REPORT}")
    return status(reports)


def status(reports: Sequence[Report]) -> int:
    """The exit status that the reports of a run mean."""
    if any(report.crashed for report in reports):
        return COULD_NOT_RUN
    return CONFORMS if all(report.conforms for report in reports) else FINDINGS


def _could_not_run(why: str) -> int:
    print(f"llmount check: {why}", file=sys.stderr)
    return COULD_NOT_RUN


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _positive(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _options(options: argparse.Namespace, environment: Mapping[str, str]) -> Options:
    from .baseline import Baseline
    from .inspection import Options

    headers = {}
    if key := options.key or environment.get(KEY_VARIABLE):
        headers["authorization"] = f"Bearer {key}"
    for header in options.header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            # Not shown, since it may be a key.
            raise _BadUsage("--header wants NAME:VALUE")
        headers[name.strip().lower()] = value.strip()
    return Options(
        contracts=options.contract,
        model=options.model,
        headers=headers,
        profile=Profile(options.profile),
        only=_separated(options.only),
        skip=_separated(options.skip),
        seed=options.seed,
        max_time=options.max_time,
        workers=options.workers,
        timeout=options.timeout,
        baseline=Baseline.read(options.baseline) if options.baseline else Baseline(),
    )


def _separated(words: Sequence[str]) -> list[str]:
    return [each for word in words for each in word.split(",") if each]


# Checking


def _inspect(target: str, options: Options) -> list[Report]:
    from .inspection import Progress, inspect
    from .watch import Watch

    watch = Watch(sys.stderr)
    progress = Progress(contract=watch.contract, begun=watch.begun, done=watch.done)
    try:
        with _url(target) as (url, name):
            return anyio.run(partial(inspect, url, options, name=name, progress=progress))
    finally:
        watch.close()


@contextmanager
def _url(target: str) -> Iterator[tuple[str, str]]:
    """Where the target is, and what the reports call it, "" for the same."""
    if target.startswith(("http://", "https://")):
        yield target, ""
    elif ":" not in target or "://" in target:
        raise _BadUsage(f"{target!r} is neither a URL (http://…) nor module:app")
    else:
        from .served import load, served

        with served(load(target)) as url:
            yield url, target


def _accepted(reports: Sequence[Report], options: Options, file: Path) -> list[Report]:
    """The reports with all failures accepted, as the file does from now on."""
    from .baseline import Baseline

    known = Baseline.read(file) if file.exists() else options.baseline
    baseline = known.updated(reports)
    baseline.write(file)
    return [baseline.applied(report) for report in reports]


def _list() -> int:
    from .registry import CHECKS

    widest = max(map(len, CHECKS))
    for check in CHECKS.values():
        print(f"{check.id:{widest}}  {check.severity:8}  {check.title}")
    return CONFORMS


# Telling


@dataclass(frozen=True, slots=True)
class _Output:
    """A report to be written; without a file, to the standard output."""

    format: str
    file: Path | None

    @classmethod
    def parse(cls, text: str) -> Iterator[_Output]:
        """Of `html=report.html,json=-`. Raises `_BadUsage`."""
        for part in text.split(","):
            name, equals, file = part.partition("=")
            if name not in FORMATS or not equals or not file:
                raise _BadUsage(
                    f"--report wants FORMAT=FILE with one of {', '.join(FORMATS)}, not {part!r}"
                )
            yield cls(name, None if file == "-" else Path(file))

    def write(self, text: str) -> None:
        """Raises OSError."""
        if self.file is None:
            sys.stdout.write(text)
        else:
            self.file.write_text(text, encoding="utf-8", errors="backslashreplace")


def _outputs(options: argparse.Namespace) -> list[_Output]:
    """The reports to be written. Raises `_BadUsage`, before the run rather than after it, also
    for a file that cannot be."""
    outputs = [output for text in options.report for output in _Output.parse(text)]
    if sum(output.file is None for output in outputs) > 1:
        raise _BadUsage("only one report can go to the standard output")
    for file in (*(output.file for output in outputs), options.write_baseline):
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise _BadUsage(f"cannot write {file}")
    return outputs


def _tell(
    reports: Sequence[Report], outputs: Sequence[_Output], options: argparse.Namespace
) -> None:
    from .reports import FORMATS as RENDERERS
    from .reports.terminal import painting, summary

    for output in outputs:
        output.write(RENDERERS[output.format](reports))
    # What a report is piped into must not read the summary.
    piped = any(output.file is None for output in outputs)
    stream = sys.stderr if piped else sys.stdout
    stream.write(summary(reports, painting(stream, os.environ)))
    for output in outputs:
        if output.file is not None:
            print(f"The {output.format} report is in {output.file}.", file=stream)
    if options.write_baseline:
        print(f"What failed is accepted in {options.write_baseline}.", file=stream)
    if step := _next_step(reports, outputs):
        print(step, file=stream)


def _next_step(reports: Sequence[Report], outputs: Sequence[_Output]) -> str:
    if any(report.crashed for report in reports):
        return f"A check of llmount itself went wrong, which says nothing of the server. {_REPORT}"
    if not outputs and any(result.findings for each in reports for result in each.results):
        return "Next: --report html=report.html shows the requests, and how to repeat them."
    if any(report.stale for report in reports):
        return "Next: --write-baseline FILE drops the stale entries."
    return ""


# Comparing


def _compare(options: argparse.Namespace) -> int:
    from .reports.json import NoReport, read
    from .reports.wording import printable

    found = []
    for file in (options.before, options.after):
        try:
            found.append(read(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, NoReport) as error:
            print(f"llmount compare: cannot read {file}: {error}", file=sys.stderr)
            return COULD_NOT_RUN
    changes = compare(*found)
    for change in changes:
        what = f"{change.contract} {change.key}".strip()
        print(printable(f"{change.kind:8} {what}: {change.text}"))
    counts = [f"{sum(c.kind is kind for c in changes)} {kind}" for kind in Kind]
    print(", ".join(counts) if changes else "Nothing changed.")
    return FINDINGS if any(change.kind is Kind.WORSE for change in changes) else CONFORMS
