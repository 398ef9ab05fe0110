# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a build that outlived the harness.

A harness that is killed cannot end the compilers that `build` has started, and such a compiler would leave objects of
an older source for the next build. So a build's processes have a mark in their environment, and the next user of the
workspace, who has it exclusively, kills those that still run.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from snp_harness.edk2.tools import ToolError

#: The environment variable that names the workspace of a process.
MARK = "SNP_HARNESS_WORKSPACE"
#: Seconds for killed processes to end: the disk may be slow.
_END_TIMEOUT_S = 30.0


def end_leftovers(directory: Path) -> None:
    """Kill the processes of an earlier build of this workspace, and wait for their end; raises ToolError.

    The caller must hold the workspace.
    """
    end = time.monotonic() + _END_TIMEOUT_S
    # Processes that they start meanwhile are found in the next iteration.
    while left := list(_marked(directory)):
        try:
            for _, descriptor in left:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            for pid, descriptor in left:
                if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
                    raise ToolError(
                        f"process {pid}, of an earlier build in {directory}, did not end within {_END_TIMEOUT_S:g} s "
                        "after SIGKILL",
                        "it blocks in the kernel: check the disk",
                    )
        finally:
            for _, descriptor in left:
                os.close(descriptor)


def _marked(directory: Path) -> Iterator[tuple[int, int]]:
    """Yield the processes with the workspace's mark: numbers, and descriptors that refer to no other process."""
    mark = os.fsencode(f"{MARK}={directory}")
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(int(entry.name))
            try:
                found = mark in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                found = False
            if found:
                yield int(entry.name), descriptor
            else:
                os.close(descriptor)
