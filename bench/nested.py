# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the nested host takes: `python -m bench.nested [RUNS]`. Cold boot against snapshot, agent and verdict."""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from snp_harness.firmware.find import find_firmware
from snp_harness.hosts.nested import NestedHost
from snp_harness.platforms.kvm import start_on
from snp_harness.platforms.nested import suite
from snp_harness.platforms.platform import RunSpec
from snp_harness.platforms.session import Session
from snp_harness.tools.kvm_host.host_image import images
from snp_harness.tools.kvm_host.outer import Outer
from snp_harness.tools.kvm_host.snapshot import snapshot_of
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import RunDirectory

DEFAULT_RUNS = 5


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_RUNS
    spec = RunSpec(find_firmware(None))
    outer = Outer(images().image(suite(), print), QemuBinary.find(None), spec.memory >> 20)
    print(f"{outer.binary}; Linux {outer.image.manifest.kernel}; {runs} runs, median and range in seconds")
    snapshot_of(outer, print)
    for cold in (True, False):
        agent, verdict = [], []
        for _ in range(runs):
            agent.append(_timed(lambda host, _: host.link(), outer, cold))
            verdict.append(_timed(lambda host, directory: _run(host, spec, directory), outer, cold))
        name = "cold boot" if cold else "snapshot"
        print(f"{name:10} agent {_text(agent)}  SEC {_text(verdict)}")


def _run(host: NestedHost, spec: RunSpec, directory: RunDirectory) -> None:
    with contextlib.ExitStack() as stack:
        spec = replace(spec, host=host)
        running = start_on(host, "nested", spec, directory, stack)
        running.finish(Session(running, spec).run(lambda *_: None))


def _timed(work: Callable[[NestedHost, RunDirectory], object], outer: Outer, cold: bool) -> float:
    with tempfile.TemporaryDirectory() as name:
        directory = RunDirectory.create(Path(name), "nested")
        host = NestedHost(outer, directory, print, cold=cold)
        start = time.monotonic()
        try:
            work(host, directory)
            return time.monotonic() - start
        finally:
            host.close()
            directory.release()


def _text(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):5.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main()
