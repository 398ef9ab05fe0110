# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness diff`: print what differs between the accesses of two recorded runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import path_argument
from snp_harness.cli.output import add_form_options, write_file
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands

FORMS = ("text", "json", "html")
EPILOG = "exit status: 0 no difference, 1 a difference, 2 usage, 3 no difference in what was seen, which is not all"


def add_parser(commands: Commands) -> None:
    """Add `diff` to the command line."""
    parser = commands.add_parser("diff", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("before", metavar="RUN", type=path_argument, help="a run directory, or a timeline.jsonl")
    parser.add_argument("after", metavar="RUN", type=path_argument, help="the run that it is compared with")
    add_form_options(parser, FORMS)


def execute(options: argparse.Namespace) -> int:
    """Print the difference and return the exit status. Raises UsageError."""
    from snp_harness.apic.difference import difference
    from snp_harness.recorded import load_timeline
    from snp_harness.report.difference import lines, render_json, summary
    from snp_harness.report.terminal import write

    before, after = load_timeline(options.before), load_timeline(options.after)
    names = str(options.before), str(options.after)
    found = difference(before, after)
    if options.format == "json":
        text = render_json(found, before, after, names)
    elif options.format == "html":
        from snp_harness.report.html import difference as page

        text = page.render(found, before, after, names)
    else:
        text = "".join(f"{line}\n" for line in (summary(found), *lines(found)))
    if options.output is None:
        write(sys.stdout, text)
    else:
        write_file(options.output, text)
        print(summary(found))
    if not found.empty:
        return EXIT_VIOLATED
    return EXIT_INCONCLUSIVE if found.doubts else EXIT_HOLDS
