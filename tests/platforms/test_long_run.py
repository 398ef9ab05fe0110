# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that stays at the shell: the harness loses nothing and does not grow."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.event_kinds import CONDENSED
from snp_harness.apic.timeline import Timeline
from snp_harness.capture.condense import ACCESS_LIMIT
from snp_harness.capture.record import RECORD
from snp_harness.launch.ring import RECORD_SIZE
from snp_harness.platforms.memory_map import RING_RECORDS
from snp_harness.vm import rundir
from tests.platforms.boots import check_seven

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

#: The shell's timer ticks a hundred times a second, with three accesses each: ACCESS_LIMIT comes after 67 s, later
#: where the machine is slow. Then the memory is measured so often, and the run's time is over.
LOOKS = 60
#: Seconds that it may take.
RUN_S = 900.0
#: Accesses by which the timeline is full.
ENOUGH = ACCESS_LIMIT + 500
#: A leak of one byte a record would be more.
GROWTH_KIB = 1024
#: Prints the count of accesses and the resident memory in KiB, each time the run reports its progress.
RUN = """
import sys, time
from pathlib import Path
from snp_harness.apic.access import Phase
from snp_harness.platforms import session
from snp_harness.firmware_run import RunSpec, run
from snp_harness.svsm.config_files import load_config

firmware, out, config, seconds, enough, looks, size = sys.argv[1:]

class Clock:
    ahead = 0.0
    def monotonic(self):
        return time.monotonic() + self.ahead

session.time = clock = Clock()
seen = 0

def tell(phase, accesses, exits):
    global seen
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4
    print(accesses, resident, flush=True)
    seen += accesses > int(enough)
    if seen >= int(looks) and (Path(out) / "host.log").stat().st_size > int(size):
        clock.ahead = 1e6

svsm = load_config(config)
run(RunSpec(Path(firmware), svsm=svsm, until=Phase.OS, timeout_s=float(seconds)), "emulated", Path(out), tell)
"""


@dataclass(frozen=True, slots=True)
class LongRun:
    """The result of a run. memory: accesses so far and resident KiB, several times a second."""

    directory: Path
    memory: list[tuple[int, int]]


def long_run(firmware: Path, directory: Path, level: int) -> LongRun:
    directory.mkdir()
    config = directory / "config.toml"
    config.write_text(f"[svsm]\nalternate_injection = false\n[log]\nlevel = {level}\n")
    # The log, which is written in portions, has to be longer than the ring.
    ends = (RUN_S, ENOUGH, LOOKS, (RING_RECORDS + 4096) * RECORD_SIZE)
    command = [sys.executable, "-c", RUN, str(firmware), str(directory / "out"), str(config), *map(str, ends)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S + 300, check=False)
    assert done.returncode == 0, done.stderr
    memory = [(int(accesses), int(resident)) for accesses, resident in map(str.split, done.stdout.splitlines())]
    return LongRun(directory / "out", memory)


def test_memory_stays_flat_and_nothing_is_lost_when_the_ring_wraps(trixie_path: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(long_run, trixie_path, tmp_path / str(level), level) for level in (1, 2)]
        for found in (future.result() for future in runs):
            check_long_run(found)


def check_long_run(found: LongRun) -> None:
    records = (found.directory / rundir.HOST_LOG).read_bytes()
    assert len(records) > RING_RECORDS * RECORD_SIZE, "the ring did not wrap"
    assert [fields[0] for fields in RECORD.iter_unpack(records)] == list(range(1, len(records) // RECORD_SIZE + 1))
    timeline = Timeline.from_jsonl((found.directory / rundir.TIMELINE).read_text())
    check_seven(timeline, 2)
    assert timeline.lost == 0
    assert timeline.reached is Phase.BDS
    [gap] = timeline.gaps
    assert gap.startswith(f"the end of OS was not reached in {RUN_S:g} s")
    [condensed] = [event for event in timeline.events if event.kind == CONDENSED]
    assert len(timeline.accesses) < ENOUGH
    total = len(timeline.accesses) + sum(value for value in condensed.fields.values() if isinstance(value, int))
    # The last progress was reported a moment before the end.
    assert 0 <= total - found.memory[-1][0] < ACCESS_LIMIT
    # As many accesses again as fill the timeline would be 20 000; from here on none is kept.
    flat = [resident for accesses, resident in found.memory if accesses > ENOUGH]
    assert len(flat) >= LOOKS
    assert max(flat) - flat[0] < GROWTH_KIB
