# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that an SVSM prints on its console before it stops."""

from __future__ import annotations

import re

from snp_harness.errors import BrokenEnvironmentError, LackingHostError
from snp_harness.vm.console import LINE, Console
from snp_harness.vm.qemu_errors import printable

#: What an SVSM prints that requires Alternate Injection and does not get it: COCONUT, and the reference SVSM.
NO_ALTERNATE_INJECTION = r"(?i)alternate injection required but not available"
#: COCONUT's panic handler (kernel/src/svsm.rs), whose lines begin with the stage's name: the place, and on the next
#: line the message. Without the name it could be a panic of the guest.
PANIC = r"\[(?:SVSM|Stage2|Bldr)\][^\r\n]{0,60}panicked at [^\r\n]{1,300}[\r\n]{1,4}[^\r\n]{1,300}[\r\n]"
_PREFIX = re.compile(r"\[(?:SVSM|Stage2|Bldr)\] ?(?:ERROR: ?)?(?:Info: ?)?")


class NoAlternateInjectionError(BrokenEnvironmentError):
    """The SVSM requires Alternate Injection, which the hypervisor does not offer: the firmware did not run."""

    def __init__(self, hint: str) -> None:
        super().__init__("Alternate injection required but not available", hint)


class HostLacksInjectionError(NoAlternateInjectionError, LackingHostError):
    """The same error on a real host."""


class SvsmPanicError(BrokenEnvironmentError):
    """The SVSM has stopped; the message quotes it. The firmware is not the cause."""


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
        said = " ".join(_PREFIX.sub("", line).strip() for line in text.splitlines())
        self._stop(SvsmPanicError(f"the SVSM stopped: {printable(said, LINE)}", "see svsm.log and serial.log"))

    def _stop(self, error: BrokenEnvironmentError) -> None:
        # The reason of a panic may arrive later than its place.
        if self.error is None or isinstance(error, NoAlternateInjectionError):
            self.error = error
