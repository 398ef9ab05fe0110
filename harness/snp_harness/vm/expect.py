# SPDX-License-Identifier: GPL-2.0-or-later
"""Wait for text on a console with pexpect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pexpect import EOF, TIMEOUT  # type: ignore[import-untyped]
from pexpect.spawnbase import SpawnBase  # type: ignore[import-untyped]

from snp_harness.launch.patience import Patience
from snp_harness.vm.console import WINDOW
from snp_harness.vm.qemu_errors import ConsoleError, ConsoleTimeoutError


@dataclass(frozen=True, slots=True)
class Expectation:
    """A match. index: which of the patterns. before: the text up to the match."""

    index: int
    match: re.Match[str]
    before: str


class Source(Protocol):
    """A console to expect text on. spawn: the place of its pexpect object, None at first."""

    name: str
    spawn: object | None

    @property
    def closed(self) -> bool:
        """Whether nothing will be printed any more."""
        ...

    @property
    def last_line(self) -> str:
        """The last line that is not empty."""
        ...

    def read(self, timeout_s: float) -> str:
        """Return what was printed and not returned yet, after a wait if there is nothing; "" at the timeout."""
        ...

    def raise_if_crashed(self) -> None:
        """Raise the error of a guest that has crashed."""
        ...


class _ConsoleSpawn(SpawnBase):  # type: ignore[misc]
    """pexpect's view of a console."""

    def __init__(self, console: Source) -> None:
        super().__init__(encoding="utf-8", codec_errors="replace", searchwindowsize=WINDOW)
        self.console = console
        self.delayafterread = None
        self.wait(0.0)

    def wait(self, timeout_s: float) -> None:
        """Wait so long for what is read from now on. pexpect's own timeout depends on the time of day."""
        self._patience = Patience(timeout_s)
        self._over = False

    def read_nonblocking(self, size: int = 1, timeout: float | None = None) -> str:
        """Return what the console printed. Raises pexpect's TIMEOUT or EOF."""
        while not self._over:
            step_s = self._patience.step()
            # What is there at the timeout is read, and nothing after it.
            self._over = step_s <= 0
            text = self.console.read(step_s)
            self.console.raise_if_crashed()
            if text:
                return text
            if self.console.closed:
                self.flag_eof = True
                raise EOF("end of the console")
        raise TIMEOUT("nothing was printed")


def expect(console: Source, patterns: Sequence[str | re.Pattern[str]], timeout_s: float) -> Expectation:
    """Wait until one of the patterns is printed; as Console.expect."""
    spawn = _spawn_of(console)
    spawn.wait(timeout_s)
    try:
        index = spawn.expect(list(patterns), timeout=None)
    except TIMEOUT:
        raise ConsoleTimeoutError(
            f"{_shown(patterns)} did not appear on the {console.name} console in {timeout_s:g} s, "
            f"its last line is {console.last_line!r}",
            "see its log, or allow more time",
        ) from None
    except EOF:
        raise ConsoleError(
            f"the {console.name} console ended before {_shown(patterns)} appeared, "
            f"its last line is {console.last_line!r}",
            "QEMU has ended: see its stderr",
        ) from None
    return Expectation(index, spawn.match, spawn.before)


def _spawn_of(console: Source) -> Any:
    """Return the console's only pexpect object, which holds the text that was read and not matched."""
    if console.spawn is None:
        console.spawn = _ConsoleSpawn(console)
    return console.spawn


def _shown(patterns: Sequence[str | re.Pattern[str]]) -> str:
    return " or ".join(repr(one if isinstance(one, str) else one.pattern) for one in patterns)
