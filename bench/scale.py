# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench.scale`: boots with more vCPUs, the log at its fullest, and logs of up to a million records.

A boot is to the end of DXE with all exits as #VC. A long log is of writes to one register; its timeline is made in a
process of its own, whose largest memory is measured: it must not grow with the log.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.aims import AIMS
from bench.measure import write_report
from snp_harness.capture.record import ANSWERS_SHIFT, FLAG_VALUE, FLAG_WRITE, RecordKind, RecordPath
from snp_harness.cli.profile import with_profile
from snp_harness.errors import HarnessError
from snp_harness.firmware_run import prepare
from snp_harness.launch.ring import RECORD_SIZE
from snp_harness.platforms.kept_run import rebuild
from snp_harness.platforms.session import Ending, Session
from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory
from tests.launch.ring import make_record

FIRMWARE = "debian:trixie"
CONFIG = "alternate-injection-off"
VCPUS = (1, 2, 4, 8, 16)
TIMES = 3
RECORDS = (100_000, 1_000_000)
#: EOI in x2APIC mode, and the bits of APIC_BASE of that mode in aux.
_EOI, _X2APIC = 0x80B, 3


@dataclasses.dataclass(frozen=True, slots=True)
class Boot:
    """What a boot took. cpu_s: processor time of QEMU. exits: known to 512. records: of its raw log."""

    seconds: float
    cpu_s: float
    exits: int
    records: int


def boot(vcpus: int, directory: Path, *, full: bool = False) -> Boot:
    """Boot to the end of DXE. full: with a record for each exit. Raises HarnessError."""
    made = prepare(FIRMWARE, "emulated", CONFIG, vcpus=vcpus, until="dxe", timeout_s=600.0)
    if full:
        made = with_profile(made)
    exits, cpu_s = 0, 0.0

    def follow(session: Session) -> Ending:
        nonlocal exits, cpu_s
        ending = session.run(lambda *_: None)
        exits = session.running.exits() or 0
        cpu_s = session.running.machine.processor_seconds() or 0.0
        return ending

    with RunDirectory.create(directory, "emulated") as out:
        result = made.follow(out, follow)
        if result.error is not None:
            raise result.error
        return Boot(result.seconds, cpu_s, exits, out.file(rundir.HOST_LOG).stat().st_size // RECORD_SIZE)


def long_log(count: int) -> Iterator[bytes]:
    """Yield so many records: writes to EOI, each with its answer."""
    same = {"address": _EOI, "path": RecordPath.MSR, "size": 4, "vmpl": 2, "rip": 0x7F000000}
    yield make_record(1, kind=RecordKind.START)
    for seq in range(2, count + 1):
        if seq % 2 == 0:
            yield make_record(seq, kind=RecordKind.ACCESS, flags=FLAG_WRITE | FLAG_VALUE, aux=_X2APIC, **same)
        else:
            aux = _X2APIC | seq - 1 << ANSWERS_SHIFT
            yield make_record(seq, kind=RecordKind.APIC, flags=FLAG_WRITE, aux=aux, **same)


def read(directory: Path) -> None:
    """Make the timeline of a directory with a raw log, write it, and print what that took, as a row of `Read`."""
    started = time.process_time()
    timeline = rebuild(directory)
    assert timeline is not None
    with (directory / rundir.TIMELINE).open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in timeline.lines())
    cpu_s = time.process_time() - started
    print(cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(timeline.accesses))


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """What reading a long log took. memory_mib: the largest of the process. accesses: that the timeline lists."""

    records: int
    cpu_s: float
    memory_mib: float
    accesses: int


def read_long(count: int, run_json: bytes, directory: Path) -> Read:
    """Write a long log and read it in another process."""
    directory.mkdir()
    (directory / rundir.RUN).write_bytes(run_json)
    with (directory / rundir.HOST_LOG).open("wb") as log:
        log.writelines(long_log(count))
    command = [sys.executable, "-m", "bench.scale", "--read", str(directory)]
    cpu_s, memory, accesses = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return Read(count, float(cpu_s), float(memory), int(accesses))


def table(boots: dict[int, Boot], full: Boot, reads: Sequence[Read]) -> str:
    """The results as text."""
    lines = ["vCPUs   seconds     CPU s     exits   exits a further vCPU"]
    first = boots[min(boots)]
    for vcpus, taken in boots.items():
        each = f"{(taken.exits - first.exits) / (vcpus - min(boots)):>23.0f}" if taken is not first else ""
        lines.append(f"{vcpus:>5}{taken.seconds:>10.2f}{taken.cpu_s:>10.2f}{taken.exits:>10}{each}")
    more = full.records - first.records
    lines += [
        "",
        f"a record for each exit: {full.cpu_s:.2f} CPU s and not {first.cpu_s:.2f}, {full.records} records and not"
        f" {first.records}: {1e6 * (full.cpu_s - first.cpu_s) / more:.1f} us a record",
        "",
        "records       CPU s   records/s       MiB   accesses listed",
    ]
    for one in reads:
        rate = one.records / one.cpu_s
        lines.append(f"{one.records:>7}{one.cpu_s:>12.2f}{rate:>12.0f}{one.memory_mib:>10.0f}{one.accesses:>18}")
    lines.append(f"memory of the longest against the shortest: {AIMS['memory'].line(growth(reads))}")
    return "\n".join(lines)


def growth(reads: Sequence[Read]) -> float:
    """Return how many times the memory of the shortest log the longest one needs."""
    return reads[-1].memory_mib / reads[0].memory_mib


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; status 0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path("build/bench-scale.json"), help="default: %(default)s")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.read is not None:
        read(options.read)
        return 0
    with tempfile.TemporaryDirectory(prefix="snp-bench-") as temporary:
        directory = Path(temporary)
        try:
            boots = {vcpus: boot(vcpus, directory / f"boot-{vcpus}") for vcpus in VCPUS}
            full = boot(VCPUS[0], directory / "full", full=True)
            # Its difference is small: the least of several.
            for number in range(1, TIMES):
                again = boot(VCPUS[0], directory / f"again-{number}")
                boots[VCPUS[0]] = min(boots[VCPUS[0]], again, key=lambda taken: taken.cpu_s)
                again = boot(VCPUS[0], directory / f"full-{number}", full=True)
                full = min(full, again, key=lambda taken: taken.cpu_s)
        except HarnessError as error:
            print(f"bench: error: {error}", file=sys.stderr)
            return error.exit_status
        run_json = (directory / f"boot-{VCPUS[0]}" / rundir.RUN).read_bytes()
        reads = [read_long(count, run_json, directory / f"read-{count}") for count in RECORDS]
    print(f"{FIRMWARE} to the end of DXE, {os.cpu_count()} cores, {platform.release()}\n")
    print(table(boots, full, reads))
    report = {
        "boots": {vcpus: dataclasses.asdict(taken) for vcpus, taken in boots.items()},
        "full": dataclasses.asdict(full),
        "reads": [dataclasses.asdict(taken) for taken in reads],
    }
    write_report(options.json, report, {"memory": growth(reads)})
    print(f"\n{options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
