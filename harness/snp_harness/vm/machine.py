# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU of this machine: started by the harness itself, watched while it runs, always stopped and reaped."""

from __future__ import annotations

import signal

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.launch.qemu_launch import DirectoryError, ProgramError, QemuLaunch, SharedMemoryError
from snp_harness.launch.ring import RingReader
from snp_harness.vm.machine_base import MachineBase
from snp_harness.vm.qemu_errors import CannotWriteError, QemuMissingError


class Machine(MachineBase):
    """A QEMU process of this machine.

    Enter it in a thread that lives as long as the machine (snp_harness.launch.spawn).
    """

    _launch: QemuLaunch | None = None

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._launched.pid

    @property
    def exit_status(self) -> int | None:
        """See MachineBase."""
        return self._launched.status

    def memory(self, name: str) -> int:
        """The descriptor of a shared memory; it is closed with the machine."""
        return self._launched.memory[name]

    def ring(self) -> RingReader:
        """See MachineBase."""
        ring = self.devices.ring
        assert ring is not None
        reader = RingReader(self.memory(ring.memory), self.devices.memory[ring.memory])
        # The bell ends the loop's turn; whoever turns it reads then.
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
            self._launch = self._make_launch()
            for name, fifo in self._launch.consoles.items():
                self._adopt_console(name, fifo)
            self._launch.consoles.clear()
            for name, ours in self._launch.sockets.items():
                self._adopt(name, ours)
            self._launch.sockets.clear()
            self._pipes.update(self._launch.pipes)
            self._launch.pipes.clear()
            self.command = self._launch.command
            self._record()
            with self.directory.open_binary(self.stderr_file) as stderr:
                self._launch.start(stderr, self.loop, lambda _: None)
        except DirectoryError as error:
            raise CannotWriteError(error.path, error.cause) from None
        except SharedMemoryError as error:
            raise BrokenEnvironmentError(str(error), "see ulimit -f and ulimit -v") from None
        except ProgramError as error:
            what = f"QEMU {self.binary.path} cannot be started: {error.cause.strerror}"
            raise QemuMissingError(what, "name another with --qemu") from None

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
