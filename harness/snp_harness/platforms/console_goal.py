# SPDX-License-Identifier: GPL-2.0-or-later
"""What a console shows of how far a boot is: from the witness's log if that has the console, else from QEMU's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snp_harness.apic.access import Phase
from snp_harness.capture.console_text import ConsoleText
from snp_harness.capture.goal import SHOWN_GOAL, wanted_texts
from snp_harness.launch.patience import Patience
from snp_harness.vm.console import LINE, Console
from snp_harness.vm.qemu_errors import printable

if TYPE_CHECKING:
    from snp_harness.capture.collect import Collector
    from snp_harness.platforms.platform import RunSpec

#: The console may be ahead of the witness, by much if the harness got no processor time: so many seconds after the
#: console's text the witness must have seen what goes with it.
BEHIND_S = 10.0


def log_console(spec: RunSpec, collector: Collector) -> ConsoleText | None:
    """Return what searches the console in a witness's log, None if the run does not depend on it.

    Lines of the firmware's end count from DXE on: code of an earlier phase that prints them has not come that far.
    """
    if not spec.follows_console:
        return None
    return ConsoleText(
        wanted_texts(spec.goal),
        lambda name, text: collector.show(name, _line(text)),
        lambda name: name == SHOWN_GOAL or collector.phase >= Phase.DXE,
    )


class ShownLive:
    """What QEMU's console shows. in_log: the witness's log has it, too, at its place, and is waited for."""

    def __init__(self, console: Console, spec: RunSpec, collector: Collector, *, in_log: bool) -> None:
        self._collector = collector
        self._in_log = in_log
        self._waiting: dict[str, str] = {}
        self._behind = Patience(0)
        self._seen: set[str] = set()
        for name, pattern in wanted_texts(spec.goal).items():
            self._watch(console, name, pattern)

    def has_shown(self, name: str) -> bool:
        """Whether the console has shown it, whatever the witness has seen."""
        return name in self._seen

    def step(self) -> None:
        """Take from QEMU's console what the log should have had by now."""
        self._waiting = {name: text for name, text in self._waiting.items() if name not in self._collector.shown}
        if self._waiting and self.is_late():
            for name, text in self._waiting.items():
                self._collector.show(name, text)

    def is_late(self) -> bool:
        """Whether the witness should have seen by now what goes with the last text."""
        return self._behind.step() <= 0

    def _watch(self, console: Console, name: str, pattern: str) -> None:
        def seen(text: str) -> None:
            self._seen.add(name)
            self._behind = Patience(BEHIND_S)
            if self._in_log:
                self._waiting[name] = _line(text)
            else:
                self._collector.show(name, _line(text))

        console.watch(pattern, seen)


def _line(text: str) -> str:
    return printable(text.strip(), LINE)
