# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness matrix`: run firmwares under configurations, and compare what they show with the last time."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import (
    SSH_GOAL,
    add_timeout_option,
    goal_argument,
    name_argument,
    path_argument,
    positive_int,
)
from snp_harness.cli.output import add_report_options, chosen_rules, write_file
from snp_harness.cli.resources import notify
from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_UNTIL, GOALS, PROGRAM
from snp_harness.errors import EXIT_HOLDS, UsageError

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands
    from snp_harness.matrix.plan import Planned
    from snp_harness.matrix.result import Recorded
    from snp_harness.vm.rundir import RunDirectory

FORMS = ("text", "json", "junit", "markdown", "github", "html")
DEFAULT_OUT = Path("runs/matrix")
EPILOG = (
    "exit status: 0 all as expected, 1 a cell is not, or became worse, 2 usage, 3 inconclusive, 128 and up: a run has"
    " no answer"
)


def add_parser(commands: Commands) -> None:
    """Add `matrix` to the command line."""
    parser = commands.add_parser(
        "matrix", usage=f"{PROGRAM} matrix [options] [NAME=]FIRMWARE ...", epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "firmwares",
        metavar="[NAME=]FIRMWARE",
        type=name_argument,
        nargs="+",
        help="a path or a name such as debian:trixie, and what it is called in the table",
    )
    _add_cells(parser)
    parser.add_argument(
        "--until",
        metavar="GOAL",
        type=goal_argument,
        default=DEFAULT_UNTIL,
        help=f"as for run: {', '.join(GOALS)}; default: %(default)s",
    )
    add_timeout_option(parser, "seconds of wall time of a run")
    parser.add_argument("--memory", metavar="MIB", type=positive_int, help="as for run")
    parser.add_argument("--qemu", metavar="Q", type=name_argument, help="as for run")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=positive_int, help="runs at a time; default: one for each processor"
    )
    _add_judgement(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=path_argument,
        default=DEFAULT_OUT,
        help="where each matrix gets a directory, with its run directories; default: %(default)s",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the cells and what is expected of them, run none")
    parser.add_argument("--quiet", action="store_true", help="print no progress on stderr")
    add_report_options(parser, FORMS)


def _add_cells(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--svsm-config",
        metavar="C",
        type=name_argument,
        action="append",
        default=[],
        help="a name, a pattern such as 'fault-*', or a TOML file; may be repeated; default: all of the harness",
    )
    parser.add_argument(
        "--platform",
        metavar="P",
        type=name_argument,
        action="append",
        default=[],
        help=f"as for run; may be repeated; default: {DEFAULT_PLATFORM}",
    )
    parser.add_argument(
        "--vcpus",
        metavar="N",
        type=positive_int,
        action="append",
        default=[],
        help="vCPUs of the guests; may be repeated; default: 1",
    )


def _add_judgement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expect",
        metavar="CELLS=WHAT",
        type=name_argument,
        action="append",
        default=[],
        help="what is expected of cells such as 'stock/fault-*': ok (default), any, holds, violated, inconclusive,"
        " does-not-apply, error, RULE:STATUS, with commas between; the last that fits a cell counts",
    )
    parser.add_argument(
        "--same-as",
        metavar="NAME",
        type=name_argument,
        help="without Alternate Injection each firmware makes the same accesses as this one",
    )
    parser.add_argument(
        "--compare", metavar="DIR", type=path_argument, help="a matrix to compare with; default: the last one in --out"
    )
    parser.add_argument(
        "--only-worse", action="store_true", help="what is as it was at the last time does not change the exit status"
    )


def execute(options: argparse.Namespace) -> int:
    """Run the cells, print the matrix and return the exit status. Raises HarnessError."""
    from snp_harness.cli.progress import CellsProgress
    from snp_harness.matrix import expect, forms
    from snp_harness.matrix.make import Request, make
    from snp_harness.matrix.page import write_pages
    from snp_harness.matrix.plan import plan
    from snp_harness.platforms.platform import RunSpec
    from snp_harness.report.terminal import write
    from snp_harness.vm.rundir import JUNIT, RunDirectory

    if options.until == SSH_GOAL:
        raise UsageError("a matrix has no Linux guest to log in to", "use snp-harness run --guest linux --until ssh")
    rules = chosen_rules(options)
    expectations = [expect.parse(text) for text in options.expect]
    platforms = options.platform or [DEFAULT_PLATFORM]
    planned = plan(options.firmwares, options.svsm_config, platforms, options.vcpus or [1], notify)
    for one in planned:
        # Raises UsageError for values that no run can have.
        RunSpec(
            one.firmware,
            one.place.vcpus,
            options.memory,
            until=options.until,
            timeout_s=options.timeout,
        )
    places = [one.place for one in planned]
    expect.check_used(expectations, places)
    _check_same_as(options, planned)
    if options.dry_run:
        for place in places:
            print(f"{place.name}: {expect.expected(place, expectations).text}")
        return EXIT_HOLDS
    given = None if options.compare is None else _given(options, rules)
    directory = RunDirectory.create(None, "matrix", options.out)
    options.run_directory = options.cleanup.enter_context(directory)
    last, notes = (given, ()) if given is not None else _last(options, rules, directory)
    request = Request(
        planned=planned,
        until=options.until,
        arguments=_arguments(options),
        rules=rules,
        jobs=min(options.jobs or len(os.sched_getaffinity(0)), len(planned)),
        expectations=expectations,
        same_as=options.same_as,
        by_change=options.only_worse,
        notes=(*notes, *options.settings),
    )
    with CellsProgress(len(planned), quiet=options.quiet) as progress:
        matrix = make(request, directory, last, progress)
    directory.write_text(JUNIT, forms.render(matrix, "junit"))
    index = write_pages(matrix, directory.path)
    text = forms.render(matrix, options.format)
    if options.output is not None:
        write_file(options.output, text)
        text = f"{matrix.summary}\n"
    elif options.format == "text":
        text += f"\npage: {index}\n"
    write(sys.stdout, text)
    return matrix.exit_status


def _arguments(options: argparse.Namespace) -> list[str]:
    """Return what is the same for each run."""
    arguments = [f"--timeout={options.timeout}"]
    arguments += [f"--memory={options.memory}"] if options.memory is not None else []
    arguments += [f"--qemu={options.qemu}"] if options.qemu is not None else []
    return arguments


def _check_same_as(options: argparse.Namespace, planned: list[Planned]) -> None:
    from snp_harness.nearest import known_names

    names = list(dict.fromkeys(one.place.firmware for one in planned))
    if options.same_as is not None and options.same_as not in names:
        raise UsageError(f"--same-as: no firmware is named {options.same_as!a}", known_names(options.same_as, names))


def _given(options: argparse.Namespace, rules: tuple[str, ...]) -> Recorded:
    """Return the matrix of --compare. Raises UsageError."""
    from snp_harness.matrix.result import load

    found = load(options.compare)
    if why := _other(found, options, rules):
        raise UsageError(f"{options.compare} cannot be compared with: {why}", "make it again with the same options")
    return found


def _last(
    options: argparse.Namespace, rules: tuple[str, ...], directory: RunDirectory
) -> tuple[Recorded | None, tuple[str, ...]]:
    """Return the last matrix of --out, and a note why it is not compared with."""
    from snp_harness.matrix.result import find_last

    found = find_last(options.out, directory.path)
    if found is not None and (why := _other(found, options, rules)):
        return None, (f"not compared with {found.directory}: {why}",)
    return found, ()


def _other(found: Recorded, options: argparse.Namespace, rules: tuple[str, ...]) -> str:
    """Return why a matrix answers another question, "" if it does not."""
    if found.until != options.until:
        return f"its runs are until {found.until}"
    if found.rules != rules:
        return f"it is judged by {', '.join(found.rules) or 'all rules'}"
    return ""
