# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench.parallel`: eight runs, some at a time, against the same one after the other.

The runs are a matrix of one firmware. Rounds alternate, so that a machine that others use, too, is the same for all.
Wall time says how long one waits; processor time, of all processes, what running several costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import MeasureError, children_s, write_report
from snp_harness.firmware.find import find_firmware

CONFIGURATIONS = (
    "alternate-injection",
    "alternate-injection-native-io",
    "fault-busy",
    "fault-incomplete",
    "feature-bit-7",
    "no-apic-protocol",
    "timer-hv-timer",
    "timer-svsm",
)
_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds of one matrix."""

    wall_s: float
    processor_s: float


def run_matrix(firmware: str, until: str, jobs: int) -> Sample:
    """Time one matrix. Raises MeasureError if a run of it gives no verdict."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "snp_harness", "matrix", firmware, f"--until={until}", f"--jobs={jobs}"]
        command += [f"--svsm-config={name}" for name in CONFIGURATIONS]
        before, started = children_s(), time.monotonic()
        done = subprocess.run(
            [*command, "--expect=*=any", f"--out={out}", "--quiet", "--json"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        sample = Sample(time.monotonic() - started, children_s() - before)
    if done.returncode != 0:
        said = json.loads(done.stdout)["summary"] if done.stdout else done.stderr.strip()
        raise MeasureError(f"the matrix ended with status {done.returncode}: {said}")
    return sample


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.parallel", description=__doc__)
    parser.add_argument("--firmware", default="debian:trixie", help="default: %(default)s")
    parser.add_argument("--until", default="sec", help="default: %(default)s")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--jobs", metavar="N", type=int, nargs="+", default=[1, 2, 8], help="default: 1 2 8")
    parser.add_argument("--json", type=Path, default=Path("build/bench-parallel.json"), help="default: %(default)s")
    options = parser.parse_args(argv)
    firmware = str(find_firmware(options.firmware))
    samples: dict[int, list[Sample]] = {jobs: [] for jobs in options.jobs}
    for _ in range(options.rounds):
        for jobs, found in samples.items():
            try:
                found.append(run_matrix(firmware, options.until, jobs))
            except MeasureError as error:
                print(f"bench: error: {error}", file=sys.stderr)
                return 1
    for jobs, found in samples.items():
        wall, used = (statistics.median(getattr(one, name) for one in found) for name in ("wall_s", "processor_s"))
        print(
            f"{len(CONFIGURATIONS)} runs until {options.until}, {jobs} at a time: {wall:.1f} s, processors {used:.1f} s"
        )
    runs = {jobs: [asdict(one) for one in found] for jobs, found in samples.items()}
    write_report(options.json, {"until": options.until, "matrix": runs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
