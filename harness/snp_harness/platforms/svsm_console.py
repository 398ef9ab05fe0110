# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that an SVSM prints on its console before it stops."""

from __future__ import annotations

import re
from pathlib import Path

from snp_harness.errors import BrokenEnvironmentError, LackingHostError
from snp_harness.svsm.panic import TEXT_MAX, SvsmPanic, find_panic
from snp_harness.vm.console import LINE, Console
from snp_harness.vm.qemu_errors import printable

#: What an SVSM prints that requires Alternate Injection and does not get it: COCONUT, and the reference SVSM.
NO_ALTERNATE_INJECTION = r"(?i)alternate injection required but not available"
#: COCONUT's panic handler (kernel/src/svsm.rs), whose lines begin with the stage's name: the place, and on the next
#: line the message. Without the name it could be a panic of the guest.
PANIC = r"\[(?:SVSM|Stage2|Bldr)\][^\r\n]{0,60}panicked at [^\r\n]{1,300}[\r\n]{1,4}[^\r\n]{1,300}[\r\n]"
_PANIC_HINT = "see svsm.log and serial.log"


class NoAlternateInjectionError(BrokenEnvironmentError):
    """The SVSM requires Alternate Injection, which the hypervisor does not offer: the firmware did not run."""

    def __init__(self, hint: str) -> None:
        super().__init__("Alternate injection required but not available", hint)


class HostLacksInjectionError(NoAlternateInjectionError, LackingHostError):
    """The same error on a real host."""


class SvsmPanicError(BrokenEnvironmentError):
    """The SVSM has panicked; the message quotes it."""

    def __init__(self, panic: SvsmPanic) -> None:
        super().__init__(f"the SVSM panicked: {panic.text}", _PANIC_HINT)
        self.panic = panic


def panic_in(path: Path) -> SvsmPanic | None:
    """Return the panic that the log of a console shows, None without one or without that log."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - TEXT_MAX))
            return find_panic(log.read(TEXT_MAX).decode("utf-8", "replace"))
    except OSError:
        return None


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
