# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU on this machine: started by the harness itself, watched while it runs, always stopped and reaped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.launch.qemu_launch import LaunchError, ProgramError, QemuLaunch
from snp_harness.launch.ring import RingReader
from snp_harness.vm.machine_base import MachineBase
from snp_harness.vm.qemu_errors import CannotWriteError, QemuMissingError


class Machine(MachineBase):
    """A QEMU process on this machine.

    Enter it in a thread that lives as long as the machine (snp_harness.launch.spawn).
    """

    _launch: QemuLaunch | None = None

    @property
    def pid(self) -> int:
        """Return QEMU's process id."""
        return self._launched.pid

    @property
    def exit_status(self) -> int | None:
        """QEMU's exit status once it has ended, negative for a signal; None while it runs."""
        return self._launched.status

    def processor_seconds(self) -> float | None:
        """Return the processor time that QEMU has used; None once it has ended."""
        try:
            # The name of the program, in brackets, may have spaces. proc(5): utime and stime are fields 14 and 15.
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None

    def memory(self, name: str) -> int:
        """Return the descriptor of a shared memory; it is closed with the machine."""
        return self._launched.memory[name]

    def ring(self) -> RingReader:
        """The reader of the devices' ring; the doorbell ends a turn of the loop. The caller closes it."""
        ring = self.devices.ring
        assert ring is not None
        reader = RingReader(self.memory(ring.memory), self.devices.memory[ring.memory])
        # The doorbell wakes the loop; its caller then reads the ring.
        reader.listen(self.channel(ring.doorbell), self.loop, lambda: None)
        return reader

    @property
    def _launched(self) -> QemuLaunch:
        if self._launch is None:
            raise RuntimeError("the machine was not started")
        return self._launch

    @property
    def _started(self) -> bool:
        return self._launch is not None and self._launch.started

    def _signal(self, number: signal.Signals) -> None:
        self._launched.kill(number)

    def _start(self) -> None:
        try:
            launch = self._launch = self._make_launch()
            self._adopt(launch.consoles, launch.sockets, launch.pipes)
            self.command = launch.command
            self._record()
            with self.directory.open_binary(self.stderr_file) as stderr:
                launch.start(stderr, self.loop, lambda _: None)
        except ProgramError as error:
            what = f"QEMU {self.binary.path} cannot be started: {error.cause.strerror}"
            raise QemuMissingError(what, "name another with --qemu") from None
        except LaunchError as error:
            if error.path is not None:
                raise CannotWriteError(error.path, error.cause) from None
            raise BrokenEnvironmentError(str(error), "see ulimit -f and ulimit -v") from None

    def _make_launch(self) -> QemuLaunch:
        devices = self.devices
        return QemuLaunch(
            self.directory.path,
            self._command(),
            consoles=tuple(devices.consoles),
            sockets=self._sockets(),
            pipes=devices.pipes,
            memory=devices.memory,
        )

    def _close(self) -> None:
        super()._close()
        if self._launch is not None:
            self._launch.close()
