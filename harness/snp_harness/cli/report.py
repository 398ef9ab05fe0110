# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness report`: judge a recorded run again and print its report."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import EPILOG, path_argument
from snp_harness.cli.output import add_report_options, chosen_rules, write_report

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Add `report` to the command line."""
    parser = commands.add_parser("report", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("directory", metavar="DIR", type=path_argument, help="a run directory, or its timeline.jsonl")
    add_report_options(parser)


def execute(options: argparse.Namespace) -> int:
    """Print the report and return the exit status of its verdict. Raises HarnessError."""
    from snp_harness.apic.verdict import EXIT_STATUS
    from snp_harness.recorded import load_report

    report = load_report(options.directory, chosen_rules(options))
    write_report(report, options)
    return EXIT_STATUS[report.verdict.status]
