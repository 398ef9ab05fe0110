# SPDX-License-Identifier: GPL-2.0-or-later
"""`LinuxGuest`: a guest that Linux runs in, with a shell at its other end."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_SUITE
from snp_harness.errors import UsageError
from snp_harness.firmware_run import GuestOptions, PreparedBoot, RunResult, prepare
from snp_harness.guest.guest import Guest, hold, run_directories
from snp_harness.guest.guest_errors import GuestError
from snp_harness.guest.ssh import CommandResult, Ssh
from snp_harness.hosts.local import LOCAL
from snp_harness.tools.linux_guest.launch import MEMORY_MIB, READY, LinuxLaunch, find_launch, forwarded_port

if TYPE_CHECKING:
    from snp_harness.firmware.image import FirmwareImage
    from snp_harness.guest.snapshot import Snapshot
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.vm.rundir import RunDirectory

#: What a shell of the image prints when it waits for a command.
PROMPT = r"~ # "
#: The default configuration.
CONFIG = "alternate-injection-off"


class LinuxGuest(Guest):
    """A Guest that boots Linux: all of Guest, and a shell by SSH. `boot_linux` makes it, and ends it.

    The first command waits until the guest's SSH server answers; the keys are those of this guest.
    """

    def __init__(self, prepared: PreparedBoot, directory: Callable[[], RunDirectory], launch: LinuxLaunch) -> None:
        self.launch = launch
        self._ssh: Ssh | None = None

        def with_initrd() -> RunDirectory:
            made = directory()
            launch.write(made)
            return made

        super().__init__(prepared, with_initrd)

    def wait_login(self, timeout_s: float | None = None) -> None:
        """Wait until the guest can be logged in to by SSH, and do so. timeout_s: None for the guest's.

        Raises GuestTimeoutError, GuestEndedError, GuestStuckError, GuestCrashError; GuestError if the guest's host key
        is not that of its run.
        """
        limit = self.timeout_s if timeout_s is None else timeout_s
        if self.launch.has_ready:
            self._keeper.wait(self._is_ready, limit, "the SSH server's start")
        port = self.ssh_port()
        self._ssh = Ssh.connect(port, self.launch.keys, limit, self._keeper.raise_if_in_trouble)

    def run(self, command: str, timeout_s: float | None = None) -> CommandResult:
        """Run a command line in the guest's shell by SSH; returns (status, out, err). A failing command does not raise.

        Raises as `wait_login`, and GuestTimeoutError if the command does not end in time.
        """
        return self._connected().run(command, self.timeout_s if timeout_s is None else timeout_s)

    def put(self, source: Path, path: str) -> None:
        """Copy a file of this machine to a path in the guest. Raises as `wait_login`, GuestError."""
        self._connected().put(source, path)

    def get(self, path: str, target: Path) -> None:
        """Copy a file of the guest to this machine. Raises as `wait_login`, GuestError."""
        self._connected().get(path, target)

    def dmesg(self) -> str:
        """Return the kernel's log. Raises as `run`, GuestError if it cannot be read."""
        status, out, err = self.run("dmesg")
        if status:
            raise GuestError(f"dmesg in the guest ended with status {status}: {err.strip()}", "see its console")
        return out

    def login(self) -> None:
        """Log in on the serial console; afterwards `console` shows a shell's prompt. Raises as `console.expect`."""
        self.console.expect("login: ")
        self.console.sendline("root")
        self.console.expect(PROMPT)

    def ssh_port(self) -> int:
        """Return the port of 127.0.0.1 that leads to the guest's SSH server. Raises GuestEndedError, GuestError."""
        port = forwarded_port(self.qmp.monitor("info usernet"))
        if port is None:
            raise GuestError("QEMU forwards no port to the guest's SSH server", "see QEMU's stderr")
        return port

    def ssh_command(self) -> str:
        """Return a command line that logs in to the guest; its keys are in the run directory from now on.

        Raises as `ssh_port`.
        """
        return shlex.join(self.launch.keys.write(self.directory, self.ssh_port()))

    def reset(self) -> None:
        """End this boot and boot again, as Guest.reset; the keys stay the same."""
        self._disconnect()
        super().reset()

    def restore(self, snapshot: Snapshot) -> None:
        """End this boot and go on from a snapshot, as Guest.restore; the next command logs in again."""
        self._disconnect()
        super().restore(snapshot)

    def _connected(self) -> Ssh:
        if self._ssh is None or not self._ssh.alive:
            self._disconnect()
            self.wait_login()
        assert self._ssh is not None
        return self._ssh

    def _disconnect(self) -> None:
        if self._ssh is not None:
            self._ssh.close()
            self._ssh = None

    def _end(self) -> RunResult:
        self._disconnect()
        return super()._end()

    def _is_ready(self) -> bool | None:
        return READY in self.console.text or None


@contextlib.contextmanager
def boot_linux(
    suite: str = DEFAULT_SUITE,
    *,
    kernel: Path | None = None,
    initrd: Path | None = None,
    firmware: FirmwareImage | str | Path | None = None,
    platform: str = DEFAULT_PLATFORM,
    config: SvsmConfig | str | Path | None = None,
    igvm: Path | None = None,
    out: Path | None = None,
    **options: Unpack[GuestOptions],
) -> Iterator[LinuxGuest]:
    """Boot Linux by a firmware, and return the running guest: `with boot_linux("trixie") as guest: guest.run("id")`.

    suite: of the image, which is made if it is not in the cache. kernel, initrd: a bzImage and an initramfs in place of
    the image's. The other arguments are those of `boot`; without a configuration, Alternate Injection is off: no Linux
    supports it yet.
    Raises as `boot`, and FetchError for an image that can neither be found nor made.
    """
    launch = find_launch(suite, kernel, initrd)
    if config is None and igvm is None:
        config = CONFIG
    prepared = prepare(firmware, platform, config, igvm=igvm, **linux_options(launch, platform, options))
    with hold(LinuxGuest(prepared, run_directories(out, platform), launch)) as guest:
        yield guest


def linux_options(launch: LinuxLaunch, platform: str, options: GuestOptions) -> GuestOptions:
    """Return the options of a boot with those that Linux needs. Raises UsageError where it could not be reached."""
    if platform == "nested" or not options.get("host", LOCAL).here:
        raise UsageError("a Linux guest is reached by a port of this machine", "run it here, on another platform")
    return {
        **options,
        "extra_args": (*launch.arguments, *options.get("extra_args", ())),
        "memory_mib": options.get("memory_mib") or MEMORY_MIB,
    }
