# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness timeline`: print the timeline of a recorded run."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import add_symbols_option, path_argument
from snp_harness.errors import EXIT_HOLDS, UsageError

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Add `timeline` to the command line."""
    parser = commands.add_parser("timeline", allow_abbrev=False)
    parser.add_argument("directory", metavar="DIR", type=path_argument, help="a run directory, or its timeline.jsonl")
    parser.add_argument(
        "--vmpl",
        metavar="N",
        type=int,
        choices=range(4),
        help="print what this VMPL did, the SVSM's 0 for one, from the raw log of a run on emulated",
    )
    add_symbols_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON Lines, as recorded")


def execute(options: argparse.Namespace) -> int:
    """Print the timeline and return the exit status. Raises UsageError."""
    if options.vmpl is not None:
        return _print_steps(options)
    if options.svsm_symbols:
        raise UsageError("--svsm-symbols names what --vmpl prints", "add --vmpl 0")
    from snp_harness.recorded import load_timeline

    timeline = load_timeline(options.directory)
    if options.json:
        sys.stdout.writelines(timeline.lines())
        return EXIT_HOLDS
    from snp_harness.report.terminal import render_timeline

    for line in render_timeline(timeline):
        print(line)
    return EXIT_HOLDS


def _print_steps(options: argparse.Namespace) -> int:
    from snp_harness.platforms.kept_run import steps_of
    from snp_harness.svsm.symbols import SvsmSymbols

    symbols = SvsmSymbols.open(*options.svsm_symbols)
    steps, base = steps_of(options.directory, options.vmpl)

    def name(pc: int) -> str | None:
        return symbols.name(pc - base)

    for step in steps:
        print(json.dumps(step.to_json(name)) if options.json else step.line(name))
    return EXIT_HOLDS
