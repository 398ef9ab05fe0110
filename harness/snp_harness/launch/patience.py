# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for so many seconds, without those in which this machine did not run.

A virtual machine that its host gives no processor, or that was suspended, goes on with every deadline over; what is
waited for has not had that time either. So whoever waits does it in steps, and a step that takes longer counts as two.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

#: Seconds of a step, at most.
STEP_S = 1.0


class Patience:
    """Time that runs out while somebody waits in steps."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._seen = time.monotonic()

    def step(self) -> float:
        """How long to wait now, before the next call; 0 when the time is over."""
        now = time.monotonic()
        self._left_s -= min(now - self._seen, 2 * STEP_S)
        self._seen = now
        return max(0.0, min(self._left_s, STEP_S))


def run(argv: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program, and take what it writes. Raises OSError, subprocess.TimeoutExpired."""
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
    """How long nothing has come, looked at every `interval_s` seconds or earlier."""

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
