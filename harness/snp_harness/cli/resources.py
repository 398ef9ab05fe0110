# SPDX-License-Identifier: GPL-2.0-or-later
"""What the options of several sub-commands refer to. main closes what is opened here when the command ends."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.defaults import DEBIAN, PROGRAM
from snp_harness.errors import UsageError

if TYPE_CHECKING:
    from snp_harness.cli.progress import DownloadProgress
    from snp_harness.hosts.host import Host
    from snp_harness.vm.rundir import RunDirectory


class _Notify:
    """Prints lines on stderr: errors, and news of slow work; while a download goes on, how much of it is done.

    The command goes on, and its exit status stays the same, if stderr cannot be written to.
    """

    def __init__(self) -> None:
        self._download: DownloadProgress | None = None

    def __call__(self, text: str) -> None:
        if self._download is not None:
            self._download.clear()
            self._download = None
        with contextlib.suppress(OSError):
            print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)

    def amount(self, done: int, total: int) -> None:
        """Show the bytes of a download; the next line replaces it."""
        if self._download is None:
            from snp_harness.cli.progress import DownloadProgress

            self._download = DownloadProgress()
        self._download.update(done, total)


notify = _Notify()


def find_qemu(options: argparse.Namespace) -> Path | None:
    """Return the path of the QEMU that --qemu or SNP_HARNESS_QEMU names, None if a run finds it by itself.

    A path is one of the machine of --host. A QEMU of a Debian suite is fetched if it is not in the cache.
    Raises UsageError, FetchError.
    """
    spec: str | None = options.qemu
    if spec is None and options.host is None:
        # The variable may name a path, too: that is found where QEMU is started.
        named = os.environ.get("SNP_HARNESS_QEMU", "")
        spec = named if named.startswith(DEBIAN) else None
    if spec is None:
        return None
    from snp_harness.debian.qemu_bundle import named_qemu

    if options.host is not None:
        if spec.startswith(DEBIAN):
            raise UsageError(
                f"--qemu {spec} names a QEMU of this machine, which {options.host} cannot run",
                "name the path of a QEMU on that host",
            )
        return Path(spec)
    return named_qemu(spec, notify) or Path(spec).expanduser()


def find_host(options: argparse.Namespace, *, lock: bool = True) -> Host:
    """Return the host that --host names, else this machine. It is connected when it is first used.

    lock: while it is connected, nobody else can use it. Raises UsageError.
    """
    if options.host is None:
        from snp_harness.hosts.local import LOCAL

        return LOCAL
    from snp_harness.hosts import inventory

    host = inventory.find_host(options.host, inventory=options.hosts, wait_s=options.host_wait, lock=lock)
    options.cleanup.callback(host.close)
    return host


def create_run_directory(options: argparse.Namespace) -> RunDirectory:
    """Create the run directory of --out and --platform; error messages of main name it. Raises UsageError."""
    from snp_harness.vm.rundir import RunDirectory

    directory = RunDirectory.create(options.out, options.platform)
    options.run_directory = options.cleanup.enter_context(directory)
    return directory
