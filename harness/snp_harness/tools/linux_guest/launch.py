# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of the Linux guest: QEMU's arguments, and the initrd with the keys of the run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.debian.cache import Progress, silent
from snp_harness.defaults import DEFAULT_SUITE
from snp_harness.errors import UsageError
from snp_harness.launch.tokens import FILE, token
from snp_harness.tools.linux_guest.image import images
from snp_harness.tools.linux_guest.keys import RunKeys

if TYPE_CHECKING:
    from snp_harness.vm.rundir import RunDirectory

#: The name of the initrd in the run directory.
INITRD = "initrd.cpio"
#: The last line of the image's start, when its SSH server listens.
READY = "linux-guest: ready"
#: RAM of a run that names none: unpacked, the system and its archive are in it at once.
MEMORY_MIB = 1024
COMMAND_LINE = "console=ttyS0"
#: An archive in an initrd begins at a multiple of it (Linux, Documentation/driver-api/early-userspace/buffer-format).
_ALIGNMENT = 4
_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\s")


@dataclass(frozen=True, slots=True)
class LinuxLaunch:
    """What one guest boots. kernel, initramfs: files. has_ready: the system prints READY. keys: of this guest.

    command_line: the kernel's. nic: the model of its network card.
    """

    kernel: Path
    initramfs: Path
    has_ready: bool
    command_line: str = COMMAND_LINE
    nic: str = "virtio-net-pci"
    keys: RunKeys = field(default_factory=RunKeys)

    @property
    def arguments(self) -> tuple[str, ...]:
        """QEMU's arguments. Port 22 of the guest is a port of the loopback that QEMU chooses: `forwarded_port`."""
        return (
            *("-kernel", str(self.kernel.absolute()), "-initrd", token(FILE, INITRD), "-append", self.command_line),
            *("-netdev", "user,id=linux-net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
            # Firmware boots the kernel: it needs no program of the card.
            *("-device", f"{self.nic},netdev=linux-net,romfile="),
        )

    def write(self, directory: RunDirectory) -> None:
        """Write the initrd to the run directory: the initramfs, and behind it the archive with the keys."""
        data = self.initramfs.read_bytes()
        directory.write_input(INITRD, data + bytes(-len(data) % _ALIGNMENT) + self.keys.archive())


def find_launch(
    suite: str | None = None, kernel: Path | None = None, initrd: Path | None = None, progress: Progress = silent
) -> LinuxLaunch:
    """Return the launch of a suite's image, of which a kernel or an initramfs of the user's may replace a part.

    The image is made if a part of it is needed and it is not in the cache. Raises UsageError for a file that is not
    there, and HarnessError.
    """
    for path in (kernel, initrd):
        if path is not None and not path.is_file():
            raise UsageError(f"{path} does not exist", "name a kernel's bzImage and its initramfs")
    if kernel is not None and initrd is not None:
        return LinuxLaunch(kernel, initrd, has_ready=False)
    found = images().image(suite or DEFAULT_SUITE, progress)
    return LinuxLaunch(kernel or found.kernel, initrd or found.initramfs, initrd is None)


def forwarded_port(usernet: str) -> int | None:
    """Return the port of the loopback that leads to the guest's port 22, from QEMU's `info usernet`; else None."""
    found = _FORWARD.search(usernet)
    return int(found[1]) if found else None
