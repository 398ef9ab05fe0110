# SPDX-License-Identifier: GPL-2.0-or-later
"""The options --format, --output and --json of the commands that print a report, and what they do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import name_argument, path_argument
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.report.formats import FORMATS, render

if TYPE_CHECKING:
    from snp_harness.report.model import Report

DEFAULT = "text"


def add_report_options(parser: argparse.ArgumentParser, forms: Collection[str] = FORMATS) -> None:
    """Add the options that choose the form of what is printed, and where it goes, and the rules that judge it."""
    add_form_options(parser, forms)
    parser.add_argument(
        "--rule",
        metavar="R,..",
        type=name_argument,
        action="append",
        default=[],
        help="judge by these rules alone: see snp-harness rules list",
    )


def add_form_options(parser: argparse.ArgumentParser, forms: Collection[str]) -> None:
    """Add the options that choose the form of what is printed, and where it goes."""
    parser.add_argument("--format", choices=forms, default=DEFAULT, metavar="FORM", help=f"form: {', '.join(forms)}")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=_output,
        help="write to this file; the first line, the verdict, is printed",
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")


def chosen_rules(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the rules of --rule; empty: all. Raises UsageError."""
    if not options.rule:
        return ()
    from snp_harness.platforms.platform import check_rules

    return check_rules([name.strip() for text in options.rule for name in text.split(",")])


def load(options: argparse.Namespace) -> None:
    """Import what `write_report` needs, before the end of a run."""
    if options.format == DEFAULT:
        from snp_harness.report import terminal

        terminal.load(sys.stdout)


def write_report(report: Report, options: argparse.Namespace) -> None:
    """Write the report as the options say. Raises BrokenEnvironmentError if the file cannot be written."""
    from snp_harness.report import terminal

    path: Path | None = options.output
    if path is not None:
        write_file(path, render(report, options.format))
        terminal.print_headline(report, sys.stdout)
    elif options.format == DEFAULT:
        terminal.print_report(report, sys.stdout)
    else:
        terminal.write(sys.stdout, render(report, options.format))
    sys.stdout.flush()


def write_file(path: Path, text: str) -> None:
    """Write the file of --output. Raises BrokenEnvironmentError."""
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise BrokenEnvironmentError(message, "name another file with --output") from None


def _output(text: str) -> Path:
    """Parse --output. A directory that is not there is an error before a run, not after it."""
    path = path_argument(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!a} cannot be a file: it is a directory, or there is none for it")
    return path
