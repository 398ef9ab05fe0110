# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that an SVSM prints on its console before it stops."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from snp_harness.apic.event_kinds import SVSM_ERROR
from snp_harness.capture.collect import Collector
from snp_harness.errors import BrokenEnvironmentError, LackingHostError
from snp_harness.svsm.panic import TEXT_MAX, SvsmPanic, find_panic
from snp_harness.vm import rundir
from snp_harness.vm.console import LINE, Console
from snp_harness.vm.qemu_errors import printable
from snp_harness.vm.rundir import RunDirectory

#: What an SVSM prints that requires Alternate Injection and does not get it: COCONUT, and the reference SVSM.
NO_ALTERNATE_INJECTION = r"(?i)alternate injection required but not available"
#: COCONUT's panic handler (kernel/src/svsm.rs), whose lines begin with the stage's name: the place, and on the next
#: line the message. Without the name it could be a panic of the guest.
PANIC = r"\[(?:SVSM|Stage2|Bldr)\][^\r\n]{0,60}panicked at [^\r\n]{1,300}[\r\n]{1,4}[^\r\n]{1,300}[\r\n]"
#: COCONUT prints this and goes on (kernel/src/sev/msr_protocol.rs): KVM does not say what it offers.
LACKS_FEATURES = r"Required hypervisor GHCB features not available[^\r\n]{0,160}[\r\n]"
_PANIC_HINT = "see svsm.log and serial.log"
#: The last line of COCONUT's panic, and the seconds after it in which the SVSM can end the run.
_PANIC_END = r"---END---[\r\n]"
_GRACE_S = 1.0


class NoAlternateInjectionError(BrokenEnvironmentError):
    """The SVSM requires Alternate Injection, which the hypervisor does not offer: the firmware did not run."""

    MESSAGE = "Alternate injection required but not available"

    def __init__(self, hint: str) -> None:
        super().__init__(self.MESSAGE, hint)


class HostLacksInjectionError(NoAlternateInjectionError, LackingHostError):
    """The same error on a real host."""


class SvsmPanicError(BrokenEnvironmentError):
    """The SVSM has panicked; the message quotes it."""

    def __init__(self, panic: SvsmPanic) -> None:
        super().__init__(f"the SVSM panicked: {panic.text}", _PANIC_HINT)
        self.panic = panic


def panic_of(directory: RunDirectory, *, serial: bool) -> SvsmPanic | None:
    """Return the SVSM's panic. serial: the serial console was the SVSM's alone, or the SVSM has ended the run."""
    found = _panic_in(directory.file(rundir.SVSM))
    return _panic_in(directory.file(rundir.SERIAL)) if found is None and serial else found


def _panic_in(path: Path) -> SvsmPanic | None:
    """Return the panic that the log of a console shows, None without one or without that log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TEXT_MAX))
            return find_panic(log.read(TEXT_MAX).decode("utf-8", "replace"))
    except OSError:
        return None


def note_lacking_features(console: Console, collector: Collector) -> None:
    """Add an event if the SVSM prints that the hypervisor lacks features: the run goes on, and may end for it later."""

    def said(text: str) -> None:
        collector.event(SVSM_ERROR, None, None, printable(text.strip(), LINE), console=console.name)

    console.watch(LACKS_FEATURES, said)


class PanicWatch:
    """Notices an SVSM that has panicked and neither ends the run nor goes on.

    started: whether the guest runs, which can write to the serial console, too.
    """

    def __init__(self, svsm: Console, serial: Console, started: Callable[[], bool]) -> None:
        self._said_s: float | None = None
        self._started = started
        svsm.watch(_PANIC_END, lambda _: self._said())
        serial.watch(_PANIC_END, lambda _: None if started() else self._said())

    def over(self, directory: RunDirectory) -> bool:
        """Whether the SVSM had the time to end the run after its panic, which a console's log shows."""
        if self._said_s is None or time.monotonic() - self._said_s < _GRACE_S:
            return False
        self._said_s = None
        return panic_of(directory, serial=not self._started()) is not None

    def _said(self) -> None:
        self._said_s = time.monotonic()


class SvsmWatch:
    """Watches consoles for an SVSM that stops. error: why it stopped, None while it runs."""

    def __init__(self, hint: str) -> None:
        self.error: BrokenEnvironmentError | None = None
        self._hint = hint

    def watch(self, console: Console) -> None:
        """Watch one of the consoles on which the SVSM may print."""
        console.watch(NO_ALTERNATE_INJECTION, lambda _: self._stop(HostLacksInjectionError(self._hint)))
        console.watch(PANIC, self._panicked)

    def _panicked(self, text: str) -> None:
        if re.search(NO_ALTERNATE_INJECTION, text):
            self._stop(HostLacksInjectionError(self._hint))
            return
        self._stop(SvsmPanicError(find_panic(text) or SvsmPanic(printable(text, LINE))))

    def _stop(self, error: BrokenEnvironmentError) -> None:
        # The reason of a panic may arrive later than its place.
        if self.error is None or isinstance(error, NoAlternateInjectionError):
            self.error = error
