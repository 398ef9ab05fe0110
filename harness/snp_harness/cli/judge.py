# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness judge`: judge a KVM trace that was recorded elsewhere."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import path_argument
from snp_harness.cli.output import add_report_options, chosen_rules, write_report
from snp_harness.errors import EXIT_INCONCLUSIVE, EXIT_VIOLATED, UsageError

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands

EPILOG = "exit status: 1 violated, 2 usage, 3 inconclusive; a recorded trace never shows that the contract holds"
OBSERVED_ON = "a recorded KVM trace"


def add_parser(commands: Commands) -> None:
    """Add `judge` to the command line."""
    parser = commands.add_parser("judge", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument(
        "file", metavar="FILE", type=path_argument, help="text of trace_pipe or of `trace-cmd report`; - for stdin"
    )
    parser.add_argument(
        "--firmware",
        metavar="F",
        help="the guest's firmware, as for run: names modules and phases; leave it out for a guest with SEV-ES or SNP",
    )
    add_report_options(parser)


def execute(options: argparse.Namespace) -> int:
    """Print the report and return the exit status. Raises UsageError."""
    from snp_harness.apic.contract import evaluate
    from snp_harness.apic.verdict import Status
    from snp_harness.capture.kvm_recorded import read_recorded
    from snp_harness.firmware.find import open_firmware
    from snp_harness.report.model import Report, RunInfo

    chosen = chosen_rules(options)
    firmware = open_firmware(options.firmware) if options.firmware is not None else None
    path: Path = options.file
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as stream:
            timeline = read_recorded(stream, firmware, "kvm")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "name a file with the text of a trace") from None
    if timeline is None:
        raise UsageError(
            f"{path} has no trace event of KVM",
            "use the text of trace_pipe or of `trace-cmd report`, with kvm_exit, kvm_apic, kvm_msr and kvm_mmio",
        )
    verdict = evaluate(timeline, observed_on=OBSERVED_ON, as_if_active=True, chosen=chosen)
    report = Report(verdict, timeline, RunInfo(firmware=options.firmware))
    write_report(report, options)
    return EXIT_VIOLATED if verdict.status is Status.VIOLATED else EXIT_INCONCLUSIVE
