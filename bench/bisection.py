# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m bench.bisection`: what a step of a bisection costs, on a real history with a planted regression.

The first step of a repository builds everything; both ends are judged first, so what counts are the steps between them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.history import MP_INIT_LIB, SEC, Planted, make_history
from bench.measure import met
from snp_harness.bisect.log import LOG
from snp_harness.defaults import DEFAULT_SOURCE
from snp_harness.edk2.source import find_source

COMMITS = 20
PLANTED_AT = 13
#: Seconds that a step may take on two idle cores.
AIMS = {"SEC": 8.0, "MpInitLib": 30.0}


def measure(planted: Planted, directory: Path, source: str) -> bool:
    """Make a history, bisect it and print the steps; returns whether the planted commit was found."""
    history = make_history(directory / "edk2", find_source(source), planted, count=COMMITS, at=PLANTED_AT)
    state = directory / "state"
    argv = [sys.executable, "-m", "snp_harness", "bisect", "--repo", str(history.repository)]
    argv += ["--good", history.commits[0], "--bad", history.commits[-1], "--state", str(state), "--quiet"]
    argv += ["--until", planted.until, "--rule", planted.rule]
    started = time.monotonic()
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - started
    found = f"first bad commit: {history.culprit}" in done.stdout
    lines = [json.loads(line) for line in (state / LOG).read_text().splitlines()[1:]]
    steps = [line["step"] for line in lines]
    print(f"{planted.name}: {'found' if found else 'NOT FOUND'} among {COMMITS} commits, {seconds:.0f} s in all")
    for number, step in enumerate(steps):
        kind = "end " if number < 2 else "step"
        print(
            f"  {kind} {step['commit'][:12]} {step['judgement']:<4} build {step['build_s']:>6.1f} s {step['built']:<8} "
            f"boot {step['boot_s']:>4.1f} s"
        )
    times = [step["build_s"] + step["boot_s"] for step in steps[2:]]
    if times:
        aim = AIMS[planted.name]
        print(
            f"  {len(times)} steps: median {statistics.median(times):.1f} s, longest {max(times):.1f} s; "
            f"aim {aim:.0f} s on two idle cores: {met(max(times) < aim)}; load {os.getloadavg()[0]:.1f}"
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; status 0 when both were found, whether or not the aims are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.bisection", description=__doc__)
    parser.add_argument("--source", default=DEFAULT_SOURCE, help="default: %(default)s")
    parser.add_argument("only", nargs="*", choices=["SEC", "MpInitLib", []], help="default: both")
    options = parser.parse_args(argv)
    found = True
    for planted in (SEC, MP_INIT_LIB):
        if not options.only or planted.name in options.only:
            with tempfile.TemporaryDirectory(prefix="snp-bench-") as directory:
                found = measure(planted, Path(directory), options.source) and found
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
