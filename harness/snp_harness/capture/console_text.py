# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest has printed, from the bytes in a witness's log: it is shown at its place among the accesses."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from snp_harness.apic.access import Phase

#: Characters that a match may span.
WINDOW = 4096


@dataclass(frozen=True, slots=True)
class ConsoleMark:
    """A phase that a console has shown. position: bytes of the witness's log that were read before."""

    position: int
    phase: Phase
    evidence: str


class ConsoleText:
    """The console of a witness's log.

    texts: patterns by names. show: called with the name and the text of the first match of each, which ends as early as
    it can. ready: whether a match of that name counts yet; one that comes earlier is passed over.
    behind: in a call of `show`, how many bytes were added after the match.
    """

    def __init__(
        self, texts: Mapping[str, str], show: Callable[[str, str], None], ready: Callable[[str], bool]
    ) -> None:
        self.behind = 0
        self._texts = {name: re.compile(pattern) for name, pattern in texts.items()}
        #: Where in `_tail` each is searched.
        self._from = dict.fromkeys(texts, 0)
        self._show = show
        self._ready = ready
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._printed = bytearray()
        self._tail = ""

    def add(self, byte: int) -> None:
        """Add a byte. It is searched by `search`, which is called before anything else that comes after it."""
        self._printed.append(byte)

    def search(self) -> None:
        """Search what was added, as if after each byte."""
        state = self._decoder.getstate()
        text = self._tail + self._decoder.decode(self._printed)
        if any(pattern.search(text, self._from[name]) for name, pattern in self._texts.items()):
            self._decoder.setstate(state)
            for left in range(len(self._printed) - 1, -1, -1):
                self._tail += self._decoder.decode(self._printed[-left - 1 :][:1])
                self.behind = left
                self._search_tail()
            self.behind = 0
            text = self._tail
        self._printed.clear()
        self._tail = text[-WINDOW:]
        dropped = len(text) - len(self._tail)
        self._from = {name: max(0, start - dropped) for name, start in self._from.items()}

    def _search_tail(self) -> None:
        for name, pattern in list(self._texts.items()):
            match = pattern.search(self._tail, self._from[name])
            if match is None:
                continue
            if self._ready(name):
                del self._texts[name]
                self._show(name, match.group())
            else:
                # Only what is printed from now on counts.
                self._from[name] = match.end()
