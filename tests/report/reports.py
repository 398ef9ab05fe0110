# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports for the tests of their forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snp_harness.apic.access import Access
from snp_harness.apic.contract import evaluate
from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.apic.timeline import Event
from snp_harness.report.model import Report, RunInfo
from tests.apic import samples

RUN = RunInfo(
    firmware="/usr/share/ovmf/OVMF.fd",
    configuration="alternate-injection",
    qemu="QEMU 7.2.19 (/usr/bin/qemu-system-x86_64)",
    directory=Path("runs/1"),
    rerun=("snp-harness", "run", "--firmware", "/usr/share/ovmf/OVMF.fd"),
    elapsed_s=0.84,
)
HOSTILE = "Evil\x1b]0;owned\x07\x1b[31m\n\r\u202e[bold]\ud800\u009b"
EVENT = Event("rmp-violation", 5, 0, "C=1", {"gpa": 0xFEE00000})


def report(accesses: list[Access], run: RunInfo = RUN, **fields: Any) -> Report:
    timeline = samples.timeline(accesses, **fields)
    return Report(evaluate(timeline, observed_on="emulated SNP host, not hardware"), timeline, run)


def sample() -> Report:
    timeline = samples.timeline(
        samples.stock_sec(), events=(EVENT,), not_observed=frozenset({"value"}), apic_protocol=True, faults=("busy",)
    )
    run = RunInfo(
        "F.fd", "alternate-injection", "QEMU", Path("runs/1"), ("snp-harness", "run"), 1.5, "broke", ("a note",)
    )
    place = SourcePlace("SecMain", 0x4CD9, (Frame("MmioRead32", "IoLib.c", 278), Frame("Read", "Lib.c", 288)))
    return Report(evaluate(timeline), timeline, run, sources=(place,))
