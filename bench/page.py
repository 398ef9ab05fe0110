# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as a page at its largest: 200,000 accesses. Its size, the time to write it, and until a browser shows it.

The browser is headless Chromium without a GPU; its own clock says when the chart and the table are drawn.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.aims import AIMS
from bench.measure import write_report
from snp_harness.apic.access import Access, Operation, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.registers import APIC_BASE, by_msr, by_offset
from snp_harness.apic.timeline import Known, PhaseMark, Timeline
from snp_harness.report.html import render
from snp_harness.report.model import Report

ACCESSES = 200_000
VCPUS = 4
_TIMEOUT_S = 120
_MIXED = (
    (by_offset(0x0B0), AccessPath.MMIO, ApicMode.XAPIC, Server.HYPERVISOR),
    (by_msr(0x838), AccessPath.MSR, ApicMode.X2APIC, Server.HYPERVISOR),
    (by_msr(0x80B), AccessPath.SVSM, ApicMode.X2APIC, Server.SVSM),
    (APIC_BASE, AccessPath.MSR, ApicMode.X2APIC, Server.HYPERVISOR),
)


def accesses(count: int) -> Iterator[Access]:
    """Accesses of four kinds by four vCPUs, at 300 places, with 30,000 values and uneven times."""
    now = 0
    for index in range(count):
        register, path, mode, server = _MIXED[index % len(_MIXED)]
        now += 1000 + (index * 7919) % 200_000
        yield Access(
            index=index,
            operation=Operation.WRITE if index % 3 else Operation.READ,
            register=register,
            path=path,
            value=(index * 104_729) % 30_000,
            size=4,
            vcpu=index // 5 % VCPUS,
            vmpl=2,
            mode=mode,
            outcome=Outcome.OK,
            served_by=server,
            phase=Phase.DXE,
            pc=0x7F000000 + index % 300 * 16,
            module="CpuDxe",
            module_offset=index % 300 * 16,
            time_ns=now,
        )


def report(count: int = ACCESSES) -> Report:
    """The report of a run with so many accesses."""
    marks = tuple(
        PhaseMark(phase, count * at // 5, None, "bench", Known.PROVEN) for at, phase in enumerate(list(Phase)[:5])
    )
    timeline = Timeline(
        tuple(accesses(count)), marks, (), "bench", "emulated", True, (), frozenset(), Phase.BDS, True, True
    )
    return Report(evaluate(timeline), timeline)


def dump_dom(browser: str, page: Path, profile: Path, *options: str) -> str:
    """Open a page in headless Chromium, and return its document once it is loaded. options: further ones."""
    fixed = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}")
    return subprocess.run(
        (browser, *fixed, *options, "--dump-dom", page.as_uri()),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_TIMEOUT_S,
        check=True,
    ).stdout.decode()


def load_s(browser: str, page: Path, profile: Path) -> float:
    """Return the seconds from the start of loading a page until it is drawn."""
    dom = dump_dom(browser, page, profile, "--timeout=10000")
    match = re.search(r'data-ready="(\d+)"', dom)
    if match is None:
        raise SystemExit("the page was not drawn within 10 s")
    return int(match[1]) / 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--runs", metavar="N", type=int, default=5, help="times that the page is loaded")
    parser.add_argument("--json", type=Path, default=Path("build/bench-page.json"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    made = report()
    started = time.monotonic()
    text = render(made)
    written_s = time.monotonic() - started
    measured = {"page": len(text.encode()) / 1e6}
    times: list[float] = []
    print(f"page of {ACCESSES} accesses, written in {written_s:.2f} s: {AIMS['page'].line(measured['page'])}")
    browser = shutil.which("chromium")
    if browser is None:
        print("loading is not measured: there is no Chromium here (apt-get install chromium)")
    else:
        with tempfile.TemporaryDirectory() as directory:
            page = Path(directory) / "page.html"
            page.write_text(text, encoding="utf-8")
            times = [load_s(browser, page, Path(directory) / "profile") for _ in range(options.runs)]
        measured["page-drawn"] = statistics.median(times)
        print(f"drawn in Chromium, {len(times)} loads: {AIMS['page-drawn'].line(measured['page-drawn'])}")
    write_report(options.json, {"written_s": written_s, "drawn_s": times}, measured)
    return 0 if all(value <= AIMS[name].most for name, value in measured.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
