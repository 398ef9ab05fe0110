# SPDX-License-Identifier: GPL-2.0-or-later
"""The interrupt path of Alternate Injection: timer, doorbell page, #HV, SVSM, VMSA, the guest's handler.

The conformance guest counts periodic ticks in its handler; the emulated host's log says when each was posted to the
doorbell page and when the guest took it. With counted instructions the time is the guest's own: what is missed or
doubled there is a fault of the path. In real time a machine that is busy makes ticks late, and late ones merge.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from snp_harness.capture.record import RECORD, HostRecord, RecordKind
from snp_harness.conformance.image import Ticks
from snp_harness.conformance.series import run_conformance
from snp_harness.errors import HarnessError
from snp_harness.platforms.host_witness import HOST_LOG_LIMIT
from snp_harness.svsm.config_files import parse_config
from snp_harness.vm import rundir

#: Every post and every interrupt taken is in the log at this level.
CONFIGURATION = b"[log]\nlevel = 2\n"
SETTINGS = tuple((icount, load) for icount in (True, False) for load in (False, True))


@dataclass(frozen=True, slots=True)
class PathSample:
    """One run. taken: ticks that the guest's handler counted. posted, delivered: the same by the host's log.

    merged: posted while the one before was not taken yet. doubled: taken without a post of its own.
    off_period: posts whose distance to the one before is not one period. latency_us: from post to the guest's handler.
    counts: the guest's own line.
    """

    taken: int
    posted: int
    delivered: int
    merged: int
    doubled: int
    off_period: int
    latency_us: tuple[float, ...]
    counts: str = ""


def measure_path(
    directory: Path, ticks: int, period_us: int, *, load: bool, icount: bool, timeout_s: float = 600.0
) -> PathSample:
    """Run the ticks and read the host's log. Raises HarnessError, also when the guest did not count them all."""
    mode = Ticks(ticks=ticks, period_us=period_us, load=load, missed_allowed=0 if icount else ticks)
    result = run_conformance(
        parse_config(CONFIGURATION, "bench"), mode, out=directory, timeout_s=timeout_s, icount=icount
    )
    counts = next((note for note in result.tap.notes if note.startswith("ticks ")), None)
    if counts is None:
        raise HarnessError(f"the guest counted no ticks: {result.ended}", f"look into {directory}")
    taken = int(dict(part.split("=") for part in counts.split()[1:])["taken"])
    log = (result.run.directory / rundir.HOST_LOG).read_bytes()
    records = [HostRecord._make(fields) for fields in RECORD.iter_unpack(log)]
    if [record.seq for record in records] != list(range(1, len(records) + 1)) or len(log) >= HOST_LOG_LIMIT:
        raise HarnessError(f"the log lacks records: {counts}", f"look into {directory}")
    return follow(records, taken, period_us, counts)


def follow(records: Iterable[HostRecord], taken: int, period_us: int, counts: str = "") -> PathSample:
    """Pair posts and interrupts taken; one vector is all that the guest uses."""
    posted = delivered = merged = doubled = off_period = 0
    waiting = False
    last: int | None = None
    latency: list[float] = []
    for record in records:
        if record.kind == RecordKind.DOORBELL:
            posted += 1
            merged += waiting
            if last is not None and round((record.time_ns - last) / 1000 / period_us) != 1:
                off_period += 1
            last, waiting = record.time_ns, True
        elif record.kind == RecordKind.INTERRUPT:
            delivered += 1
            doubled += not waiting
            if waiting and last is not None:
                latency.append((record.time_ns - last) / 1000)
            waiting = False
    return PathSample(taken, posted, delivered, merged, doubled, off_period, tuple(latency), counts)


def row(name: str, sample: PathSample) -> str:
    """A line of the table."""
    numbers = (sample.taken, sample.posted, sample.delivered, sample.merged, sample.doubled, sample.off_period)
    times = (statistics.median(sample.latency_us), max(sample.latency_us)) if sample.latency_us else (0.0, 0.0)
    return f"{name:<28}" + "".join(f"{number:>11}" for number in numbers) + "".join(f"{time:>11.0f}" for time in times)


def main() -> int:
    """Runs the four settings; status 0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.interrupt_path")
    parser.add_argument("--ticks", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--period-us", type=int, default=1000, help="default: %(default)s")
    options = parser.parse_args()
    headings = ("taken", "posted", "delivered", "merged", "doubled", "off period", "median us", "max us")
    print(f"{options.ticks} ticks, one in {options.period_us} us\n")
    print(" " * 28 + "".join(f"{heading:>11}" for heading in headings))
    with tempfile.TemporaryDirectory(prefix="snp-bench-") as temporary:
        for icount, load in SETTINGS:
            name = f"{'counted instructions' if icount else 'real time'}, {'load' if load else 'idle'}"
            try:
                directory = Path(temporary) / f"{icount}-{load}"
                sample = measure_path(directory, options.ticks, options.period_us, load=load, icount=icount)
            except HarnessError as error:
                print(f"bench: error: {name}: {error}", file=sys.stderr)
                return error.exit_status
            print(row(name, sample), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
