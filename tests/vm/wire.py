# SPDX-License-Identifier: GPL-2.0-or-later
"""A console without a QEMU."""

from __future__ import annotations

import socket
from pathlib import Path

from snp_harness.launch.loop import Loop
from snp_harness.vm.console import BoundedLog, Console


class Wire:
    """A console and the guest's end of it. log: its file."""

    def __init__(self, directory: Path) -> None:
        ours, self.guest = socket.socketpair()
        for end in (ours, self.guest):
            # As much as Linux gives by default; a machine may have more, or less.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 106496)
        self.log = directory / "serial.log"
        self.loop = Loop()
        self.console = Console("serial", ours, self.loop, BoundedLog(self.log))

    def prints(self, text: str) -> None:
        """The guest prints, and the console has read it."""
        self.guest.sendall(text.encode())
        while self.loop.turn(0):
            pass

    def close(self) -> None:
        """Close both ends."""
        self.console.close()
        self.guest.close()
        self.loop.close()
