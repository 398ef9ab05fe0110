# SPDX-License-Identifier: GPL-2.0-or-later
"""`make check-counts`: the exits of stock firmware with counted instructions, against those in exit_counts.json.

The counts do not depend on the machine, only on the firmware, QEMU and the harness. With another firmware or QEMU than
those of the file nothing is compared, which is reported as skipped. The same for the pages that an exit touches.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.aims import AIMS
from bench.exit_pages import ExitPages
from bench.exit_pages import count as count_pages
from bench.measure import write_report
from snp_harness.capture.exit_profile import CONSOLE_MARK, MARKS
from snp_harness.cli import profile
from snp_harness.errors import HarnessError
from snp_harness.firmware.find import find_firmware
from snp_harness.firmware_run import prepare
from snp_harness.hosts.host import Host
from snp_harness.hosts.local import LOCAL
from snp_harness.vm.rundir import RunDirectory

COUNTS = Path(__file__).with_name("exit_counts.json")
FIRMWARE = "debian:trixie"
#: All exits as #VC, and native, which is without #VC for CPUID, MSRs, port I/O and device MMIO. Without Alternate
#: Injection, where stock firmware gets its timer's ticks.
CONFIGURATIONS = ("alternate-injection-off", "alternate-injection-off-native-io")
#: Their aims, for the exits until the console shows BdsDxe.
AIMS_OF = dict(zip(CONFIGURATIONS, ("exits-vc", "exits-native"), strict=True))
#: What is counted, by name: a configuration and the vCPUs. With a second one for what an AP costs.
RUNS = {configuration: (configuration, 1) for configuration in CONFIGURATIONS} | {
    f"{CONFIGURATIONS[0]}, 2 vCPUs": (CONFIGURATIONS[0], 2)
}
SEC, BDS = MARKS.values()
#: What a run has to reach for its marks.
MARKS_OF = {"sec": (SEC,), "bds": (SEC, BDS, CONSOLE_MARK)}
#: The timer ticks by counted instructions, the emulated host's included: any change of it moves some exits behind SEC.
SLACK_SHARE, SLACK = 0.01, 20
#: A change of the exits' order moves the pages of an exit by as much.
PAGES_SLACK_SHARE = 0.02
_VERSION = re.compile(r"\d+\.\d+\.\d+")

Marks = dict[str, dict[str, int]]


class OtherVersionError(Exception):
    """The counts are of another firmware or QEMU."""


def count(run: str, until: str, firmware: Path, host: Host = LOCAL) -> tuple[Marks, str]:
    """Boot, and return the counts at the marks of `until`, and QEMU's version. Raises HarnessError."""
    configuration, vcpus = RUNS[run]
    boot = profile.with_profile(
        prepare(firmware, "emulated", configuration, vcpus=vcpus, until=until, icount=True, timeout_s=900.0, host=host)
    )
    with (
        tempfile.TemporaryDirectory(prefix="snp-counts-") as name,
        RunDirectory.create(Path(name) / "run", "emulated") as directory,
    ):
        result = boot.run(directory)
        if result.error is not None:
            raise result.error
        marks = profile.read(directory.path, boot.spec).marks
    found = _VERSION.search(result.qemu)
    return {mark: marks[mark] for mark in MARKS_OF[until] if mark in marks}, found[0] if found else result.qemu


def digest(firmware: Path) -> str:
    """Return the SHA-256 of an image."""
    return hashlib.sha256(firmware.read_bytes()).hexdigest()


def expected(counts: Mapping[str, Any], run: str, until: str, firmware: Path, qemu: str) -> Marks:
    """Return the recorded counts at the marks of `until`. Raises OtherVersionError if they are of something else."""
    if (found := digest(firmware)) != counts["firmware_sha256"]:
        raise OtherVersionError(
            f"{firmware} is another firmware (SHA-256 {found[:16]}) than that of {COUNTS.name}"
            f" ({counts['firmware_sha256'][:16]}): make check-counts COUNTS_FLAGS=--update"
        )
    if qemu != counts["qemu"]:
        raise OtherVersionError(f"the counts of {COUNTS.name} are of QEMU {counts['qemu']}, not of {qemu}")
    marks: Marks = counts["runs"][run]
    return {mark: marks[mark] for mark in MARKS_OF[until] if mark in marks}


def changes(wanted: Marks, counted: Marks) -> Iterator[tuple[bool, str]]:
    """Yield for each kind whose count has changed whether that is a regression, and a sentence."""
    for mark, kinds in wanted.items():
        if mark not in counted:
            yield True, f"{mark}: not reached"
            continue
        for kind in sorted(kinds.keys() | counted[mark].keys()):
            before, now = kinds.get(kind, 0), counted[mark].get(kind, 0)
            slack = 0 if mark == SEC else max(SLACK, int(before * SLACK_SHARE))
            if before != now:
                what = f"{abs(now - before)} {'more' if now > before else 'fewer'}"
                yield now > before + slack, f"{mark}: {kind}: {what} exits, {now} and not {before}"


def check(run: str, until: str, firmware: Path, host: Host = LOCAL, totals: dict[str, int] | None = None) -> list[str]:
    """Count, and return what has grown, a sentence each; smaller changes are printed.

    totals: gets the exits until each mark. Raises HarnessError, and OtherVersionError if there is nothing to compare
    with.
    """
    marks, qemu = count(run, until, firmware, host)
    if totals is not None:
        totals |= {mark: sum(kinds.values()) for mark, kinds in marks.items()}
    wanted = expected(json.loads(COUNTS.read_text(encoding="utf-8")), run, until, firmware, qemu)
    grown = []
    for regression, text in changes(wanted, marks):
        if regression:
            grown.append(f"{run}: {text}")
        else:
            print(f"{run}: {text}")
    for mark, kinds in marks.items():
        print(f"{run}: {sum(kinds.values())} exits until {mark}")
    return grown


def more_pages(wanted: Mapping[str, float], counted: ExitPages) -> Iterator[str]:
    """Yield a sentence for code and for data if an exit touches more pages than recorded."""
    for kind, now in (("code", counted.code), ("data", counted.data)):
        if now > wanted[kind] * (1 + PAGES_SLACK_SHARE):
            yield f"an exit touches {now:.2f} pages of {kind}, and not {wanted[kind]:.2f}"


def check_pages(configuration: str, firmware: Path) -> list[str]:
    """Count the pages of an exit, and return what has grown. Raises HarnessError."""
    wanted = json.loads(COUNTS.read_text(encoding="utf-8"))["pages"][configuration]
    counted = count_pages(configuration, firmware)
    print(f"{configuration}: an exit touches {counted.code:.2f} pages of code, {counted.data:.2f} of data")
    return [f"{configuration}: {text}" for text in more_pages(wanted, counted)]


def update(firmware: Path) -> None:
    """Count, and write the file. Raises HarnessError."""
    runs, pages = {}, {}
    qemu = ""
    for run in RUNS:
        runs[run], qemu = count(run, "bds", firmware)
    for configuration in CONFIGURATIONS:
        counted = count_pages(configuration, firmware)
        pages[configuration] = {"code": round(counted.code, 2), "data": round(counted.data, 2)}
    data = {"firmware": FIRMWARE, "firmware_sha256": digest(firmware), "qemu": qemu, "pages": pages, "runs": runs}
    COUNTS.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Check or update the counts; status 1 if exits have grown."""
    parser = argparse.ArgumentParser(prog="python -m bench.counts", description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help=f"write {COUNTS.name} anew")
    parser.add_argument("--json", type=Path, help="write the totals")
    options = parser.parse_args(argv)
    grown: list[str] = []
    totals: dict[str, dict[str, int]] = {run: {} for run in RUNS}
    try:
        firmware = find_firmware(FIRMWARE)
        if options.update:
            update(firmware)
            return 0
        for run in RUNS:
            try:
                grown += check(run, "bds", firmware, totals=totals[run])
                if run in CONFIGURATIONS:
                    grown += check_pages(run, firmware)
            except OtherVersionError as error:
                print(f"check-counts: {run}: skipped: {error}")
    except HarnessError as error:
        print(f"check-counts: error: {error}", file=sys.stderr)
        return error.exit_status
    if options.json is not None:
        measured = {
            aim: float(totals[name][CONSOLE_MARK]) for name, aim in AIMS_OF.items() if CONSOLE_MARK in totals[name]
        }
        for name, value in measured.items():
            print(AIMS[name].what, AIMS[name].line(value), sep=": ")
        write_report(options.json, {"exits": totals}, measured)
    for text in grown:
        print(f"check-counts: error: {text}", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
