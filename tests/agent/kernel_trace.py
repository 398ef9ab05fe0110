# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that traces KVM, and processes that run a guest of three instructions, if this machine has both."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snp_harness.agent import tracefs
from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.kvm_probe import DEVICE, TIMEOUT_S, _in_child

#: Each guest writes once to this port.
PORT = 0x10
_RUNNER = """
import sys
from pathlib import Path
from snp_harness.agent.kvm_probe import run_guest
for line in sys.stdin:
    for _ in range(int(line)):
        print(run_guest(Path("/dev/kvm")) or "ran", flush=True)
"""


def kvm_runs_nothing() -> bool:
    """Return whether KVM does not run a guest here. A separate process tests it, since it may hang."""
    return not os.access(DEVICE, os.R_OK | os.W_OK) or bool(_in_child(DEVICE, TIMEOUT_S))


@contextmanager
def kernel_tracefs() -> Iterator[Path]:
    """tracefs at its mount point, or mounted for the test; skips the test if that is not possible."""
    if kvm_runs_nothing():
        pytest.skip("KVM runs nothing here")
    try:
        yield tracefs.find_root()
        return
    except AgentError as error:
        if os.getuid() != 0:
            pytest.skip(str(error))
    # Not in pytest's own directory: pytest would later remove a leftover mount file by file.
    place = Path(tempfile.mkdtemp(prefix="snp-harness-tracefs-"))
    done = subprocess.run(["mount", "-t", "tracefs", "tracefs", place], capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            pytest.skip(f"tracefs cannot be mounted: {done.stderr.strip()}")
        try:
            if not (place / "events" / "kvm" / "kvm_pio").exists():
                pytest.skip("this kernel does not trace KVM")
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
    finally:
        place.rmdir()


class Guests:
    """A process that runs a guest at each request; a context manager that ends it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def run(self, count: int = 1) -> None:
        """Run `count` guests, one after the other."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        assert [self._process.stdout.readline() for _ in range(count)] == ["ran\n"] * count

    def __enter__(self) -> Guests:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
