# SPDX-License-Identifier: GPL-2.0-or-later
"""`Guest`: a guest that runs while its caller watches it, types on its consoles, looks into it and changes it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from snp_harness.apic.access import Phase
from snp_harness.defaults import DEFAULT_PLATFORM
from snp_harness.errors import HarnessError, UnsupportedError, UsageError
from snp_harness.firmware_run import GuestOptions, PreparedBoot, RunResult, prepare
from snp_harness.guest.accesses import Accesses
from snp_harness.guest.console import GuestConsole
from snp_harness.guest.guest_errors import GuestError
from snp_harness.guest.keeper import Keeper
from snp_harness.guest.memory import GuestMemory
from snp_harness.guest.qmp import GuestQmp
from snp_harness.guest.snapshot import Snapshot
from snp_harness.platforms.view import MovingError
from snp_harness.vm.rundir import RunDirectory

if TYPE_CHECKING:
    from snp_harness.apic.timeline import PhaseMark, Timeline
    from snp_harness.apic.verdict import Verdict
    from snp_harness.firmware.image import FirmwareImage
    from snp_harness.platforms.session import Session
    from snp_harness.svsm.config import SvsmConfig

SERIAL = "serial"
SVSM = "svsm"
_T = TypeVar("_T")
_Guest = TypeVar("_Guest", bound="Guest")


class Guest:
    """A guest that runs. `boot` makes it, and ends it.

    platform: its name. console: of the firmware and the operating system. accesses: the live timeline. qmp: QEMU's
    monitor. memory: by guest-physical address. timeout_s: the default of all waits, seconds. boots: the results of the
    boots that have ended, in order; `reset` begins another one. All methods may be called from one thread at a time.
    """

    def __init__(self, prepared: PreparedBoot, directory: Callable[[], RunDirectory]) -> None:
        self.platform = prepared.platform.name
        self.timeout_s = timeout_s = prepared.spec.timeout_s
        self.boots: list[RunResult] = []
        self.console = GuestConsole(SERIAL, timeout_s)
        self.accesses = Accesses(lambda: self._keeper, timeout_s)
        self.qmp = GuestQmp(lambda: self._keeper.call(lambda session: session.running.machine.qmp), self._gone)
        self.memory = GuestMemory(self.qmp, lambda: self._keeper, self._stopped)
        self._svsm = GuestConsole(SVSM, timeout_s)
        self._prepared = prepared
        self._make_directory = directory
        self._error_raised = False
        self._snapshots: list[Path] = []
        self._keeper = self._start(prepared)

    @property
    def directory(self) -> Path:
        """Return the run directory of the present boot, or of the last one."""
        return self._keeper.directory.path

    @property
    def svsm_console(self) -> GuestConsole:
        """Return the SVSM's console. Raises UnsupportedError where there is none."""
        if SVSM not in self._keeper.session.running.machine.consoles:
            raise UnsupportedError(self.platform, "show the SVSM's console", "its guest has no SVSM")
        return self._svsm

    @property
    def running(self) -> bool:
        """Whether the guest has not ended. It may be paused."""
        return self._keeper.ending is None

    @property
    def paused(self) -> bool:
        """Whether no vCPU executes. Raises GuestEndedError."""
        answer = self.qmp.query("query-status", dict[str, object])
        return not answer.get("running")

    def pause(self) -> None:
        """Stop all vCPUs; `resume` lets them go on. Raises GuestEndedError."""
        self.qmp.execute("stop")

    def resume(self) -> None:
        """Let the vCPUs go on. Raises GuestEndedError."""
        self.qmp.execute("cont")

    def registers(self, vcpu: int = 0, vmpl: int | None = None) -> dict[str, int]:
        """Return the registers of a vCPU by their names, such as "rip" and "cr3"; the guest is stopped for that time.

        vmpl: None for the VMPL that runs. A vCPU that is in the hypervisor has those that it left the guest with.
        Raises UsageError for a vCPU that the guest does not have, UnsupportedError where they are encrypted, and
        GuestError if the guest was paused just while it saved them.
        """
        for _ in range(_REGISTER_TRIES):
            with self._stopped() as was_paused:
                printed = self.qmp.monitor("info registers -a")
                running = self._keeper.session.running
                try:
                    return running.registers(self.memory.peek, printed, vcpu, vmpl)
                except MovingError as error:
                    moving = GuestError(error.message, error.hint)
            if was_paused:
                break
        raise moving

    @overload
    def wait_for(self, what: Phase, timeout_s: float | None = None) -> PhaseMark: ...

    @overload
    def wait_for(self, what: str | re.Pattern[str], timeout_s: float | None = None) -> re.Match[str]: ...

    @overload
    def wait_for(self, what: Callable[[Guest], _T | None], timeout_s: float | None = None) -> _T: ...

    def wait_for(
        self, what: Phase | str | re.Pattern[str] | Callable[[Guest], object], timeout_s: float | None = None
    ) -> object:
        """Wait until a phase has begun, a regular expression is printed, or a function of the guest is true.

        A pattern is expected on `console`, as by its `expect`. A function is called in the caller's thread whenever the
        guest may have changed. Returns the phase's mark, the match, or what the function returned.
        Raises GuestTimeoutError (ConsoleTimeoutError for a pattern), GuestEndedError if the guest has ended before,
        GuestStuckError if it cannot go on, GuestCrashError if a console shows a crash.
        """
        limit = self.timeout_s if timeout_s is None else timeout_s
        if isinstance(what, Phase):
            return self.accesses.wait_phase(what, limit)
        if isinstance(what, str | re.Pattern):
            self.console.expect(what, limit)
            return self.console.match
        return self._keeper.wait(lambda: what(self) or None, limit, getattr(what, "__name__", "the condition"))

    def wait_ended(self, timeout_s: float | None = None) -> RunResult:
        """Wait until the guest ends by itself: by a power-off, a reset or isa-debug-exit; return what was seen.

        Raises as `wait_for`, and HarnessError if QEMU died.
        """
        limit = self.timeout_s if timeout_s is None else timeout_s
        self._keeper.wait(lambda: None if self.running else True, limit, "the guest's end")
        return self.power_off()

    def timeline(self) -> Timeline:
        """Return all that was seen of the present boot until now."""
        if self.running:
            with contextlib.suppress(HarnessError):
                return self._keeper.call(_timeline)
        return self._keeper.end().timeline

    def verdict(self) -> Verdict:
        """Return the verdict on what was seen of the present boot until now: what `run` would say if it ended here."""
        return self._prepared.judge(self.timeline())

    def power_off(self) -> RunResult:
        """End the guest as if its power was cut, and return what was seen, judged and kept in the run directory.

        Returns the same again if it has ended. Raises HarnessError if something broke the run, such as the death of
        QEMU; what was seen is kept then, too.
        """
        result = self._end()
        if result.error is not None:
            self._error_raised = True
            raise result.error
        return result

    def reset(self) -> None:
        """End this boot, as `power_off`, and boot the same guest again, in a run directory of its own.

        An SNP guest cannot be reset: its encrypted memory and its VMSAs are made by a launch. So the guest is launched
        again, on every platform. Disks that QEMU's arguments name keep what was written to them. The consoles go on.
        """
        self.power_off()
        self._keeper = self._start(self._prepared)

    def snapshot(self) -> Snapshot:
        """Save the guest as it is, with the hypervisor's state, for `restore`. It is stopped for that time.

        It is not in the snapshot what disks have, and what was typed and not read yet; a connection to the guest, such
        as SSH, has to be made again. Raises UnsupportedError where it cannot be saved, UsageError for a disk that the
        guest can write to, GuestEndedError, and HarnessError if QEMU cannot save it: it goes on then.
        """
        with self._stopped() as was_paused:
            if self.qmp.query("query-status", dict[str, object]).get("status") == "postmigrate":
                raise GuestError("the guest has not run since its last snapshot", "use that one")
            path = _beside(self.directory)
            # The user may interrupt the call, and not what it calls.
            self._snapshots.append(path)
            saved = self._keeper.call(lambda session: session.running.save(path))
            unread = {console.name: console.unread for console in (self.console, self._svsm)}
        return Snapshot(was_paused, saved, self._prepared, unread)

    def restore(self, snapshot: Snapshot) -> None:
        """End this boot, as `power_off`, and have the guest go on from a snapshot of it, in a run directory of its own.

        It runs, or is paused if it was paused. The consoles are read from where they were; the verdict is about what
        was seen before the snapshot and after it. Raises SnapshotError for a snapshot that was removed or changed: this
        boot goes on then. A boot that is broken, and has raised its error, need not be ended.
        """
        if snapshot._boot is not self._prepared:
            raise UsageError("the snapshot is of another guest", "restore it in the one that it was taken of")
        snapshot._saved.check()
        if self.running or not self._error_raised:
            self.power_off()
        self._error_raised = False
        for console in (self.console, self._svsm):
            console.go_back(snapshot._unread[console.name])
        self._keeper = self._start(dataclasses.replace(self._prepared, saved=snapshot._saved))
        if not snapshot.paused:
            self.resume()

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[bool]:
        """Stop the guest in the block, unless it is paused; yields whether it was."""
        if self.paused:
            yield True
            return
        self.pause()
        try:
            yield False
        finally:
            self.resume()

    def _start(self, prepared: PreparedBoot) -> Keeper:
        keeper = Keeper(prepared, self._make_directory())

        def attach(session: Session) -> None:
            for console in (self.console, self._svsm):
                if console.name in session.running.machine.consoles:
                    console.attach(keeper, session.running.machine.console(console.name))

        try:
            keeper.start(attach)
        except BaseException:
            keeper.directory.release()
            raise
        return keeper

    def _end(self) -> RunResult:
        result = self._keeper.end()
        self.memory.close()
        self._keeper.directory.release()
        if result not in self.boots:
            self.boots.append(result)
        return result

    def _remove_snapshots(self) -> None:
        for path in self._snapshots:
            shutil.rmtree(path, ignore_errors=True)

    def _gone(self) -> Exception | None:
        """Return the error of a guest that has ended; its monitor closes a moment before QEMU's end is noticed."""
        with contextlib.suppress(HarnessError):
            self._keeper.wait(lambda: None if self.running else True, _END_S, "QEMU's end")
        return None if self.running else self._keeper.gone()


#: Seconds until QEMU's end is noticed.
_END_S = 10.0
#: How often a guest that runs is stopped to find its registers where they are known.
_REGISTER_TRIES = 20


def _timeline(session: Session) -> Timeline:
    session.running.step()
    return session.running.timeline(session.so_far())


def _beside(directory: Path) -> Path:
    """Return where the next snapshot of a run is."""
    number = 1
    while True:
        path = directory.with_name(f"{directory.name}-snapshot{number}")
        if not path.exists():
            return path
        number += 1


@contextlib.contextmanager
def hold(guest: _Guest) -> Iterator[_Guest]:
    """Return the guest; it is ended, judged and kept at the end of the block, however that ends.

    An exception of the block gets a note that names the run directories of its boots.
    Raises HarnessError if something broke the run and was not raised yet.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(guest._remove_snapshots)
        yield from _held(guest)


def _held(guest: _Guest) -> Iterator[_Guest]:
    try:
        yield guest
    except BaseException as error:
        with contextlib.suppress(HarnessError):
            guest._end()
        for result in guest.boots:
            files = ", ".join(sorted(path.name for path in result.directory.glob("*")))
            error.add_note(f"snp-harness: {result.directory}: {files}")
        raise
    if not guest._error_raised:
        guest.power_off()


@contextlib.contextmanager
def boot(
    firmware: FirmwareImage | str | Path | None = None,
    *,
    platform: str = DEFAULT_PLATFORM,
    config: SvsmConfig | str | Path | None = None,
    igvm: Path | None = None,
    out: Path | None = None,
    **options: Unpack[GuestOptions],
) -> Iterator[Guest]:
    """Boot a firmware, and return the running guest: `with boot("debian:trixie") as guest: ...`.

    firmware: a path or a name such as "debian:trixie", None for the default. config: an SvsmConfig, or the path or name
    of one, None for the default. igvm: an IGVM file to launch in place of the reference SVSM. out: the run directory,
    None for a new one under runs/; a boot after `reset` gets one beside it. options: the other fields of RunSpec but
    `until`; timeout_s is the default of all waits, seconds.
    At the end of the block the guest is ended, judged and kept, however the block ends.
    Raises UsageError for what cannot be run, FirmwareError, BrokenEnvironmentError and other HarnessErrors if the guest
    cannot be started.
    """
    prepared = prepare(firmware, platform, config, igvm=igvm, **options)
    with hold(Guest(prepared, run_directories(out, platform))) as guest:
        yield guest


def run_directories(out: Path | None, platform: str) -> Callable[[], RunDirectory]:
    """Return what makes the run directory of each boot of a guest: `out`, then those beside it; None: under runs/."""
    number = 0

    def directory() -> RunDirectory:
        nonlocal number
        number += 1
        if out is None or number == 1:
            return RunDirectory.create(out, platform)
        return RunDirectory.create(out.with_name(f"{out.name}-{number}"), platform)

    return directory
