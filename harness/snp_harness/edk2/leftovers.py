# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a build that outlived the harness.

A harness that is killed cannot end the compilers that `build` has started, and one that goes on compiling an older
source would leave its objects for the next. So a build's processes bear a mark, and who uses the workspace next, and
alone, ends those that are left.
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

#: The variable that says to which workspace a process belongs.
MARK = "SNP_HARNESS_WORKSPACE"
#: Seconds that killed processes may take to end: the disk may be slow.
_END_TIMEOUT_S = 30.0


def end_leftovers(directory: Path) -> None:
    """Kill what an earlier build of this workspace has left running, and wait for its end; raises ToolError.

    Only for who holds the workspace.
    """
    end = time.monotonic() + _END_TIMEOUT_S
    # What they start in the last moment is found the next time round.
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
                        "the kernel holds it: check the disk",
                    )
        finally:
            for _, descriptor in left:
                os.close(descriptor)


def _marked(directory: Path) -> Iterator[tuple[int, int]]:
    """The processes that bear the workspace's mark: numbers and descriptors, by which no other can be meant."""
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
