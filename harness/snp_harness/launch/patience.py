# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for so many seconds, without those in which this machine did not run.

When a virtual machine was suspended, or got no processor from its host, all its deadlines have passed, though the
awaited program did not run either. So waits are made in steps, and a step that takes longer counts as two.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

#: Longest step, seconds.
STEP_S = 1.0


class Patience:
    """The remaining time of a wait in steps. seconds: the timeout."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._seen = time.monotonic()

    def step(self) -> float:
        """Return the seconds to wait before the next call; 0 if the time is over."""
        now = time.monotonic()
        self._left_s -= min(now - self._seen, 2 * STEP_S)
        self._seen = now
        return max(0.0, min(self._left_s, STEP_S))


def run(argv: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program and return its status and output. Raises OSError, subprocess.TimeoutExpired."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        patience = Patience(timeout_s)
        try:
            while (step_s := patience.step()) > 0:
                try:
                    out, said = process.communicate(timeout=step_s)
                except subprocess.TimeoutExpired:
                    continue
                return subprocess.CompletedProcess(argv, process.returncode, out, said)
            raise subprocess.TimeoutExpired(argv, timeout_s)
        finally:
            if process.returncode is None:
                process.kill()


class Silence:
    """Measures for how long no data was received, without the time for which this machine did not run."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._seen = time.monotonic()

    def seconds(self, received_at: float, interval_s: float) -> float:
        """received_at: time.monotonic() of what was received last."""
        now = time.monotonic()
        if received_at >= self._seen:
            self._seconds = 0.0
        self._seconds += min(now - max(received_at, self._seen), 2 * interval_s)
        self._seen = now
        return self._seconds
