# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's APIC under Alternate Injection does, in sets and lists: the model that lapic.c is compared with."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from tests.emulator.numbers import (
    EVENT_INTERRUPT,
    EVENT_KIND,
    EVENT_NMI,
    EVENT_VALID,
    LEVEL,
    MULTIPLE,
    VECTOR31,
)


class Answer(enum.Enum):
    OK = 0
    UNKNOWN = 0x80000003
    REFUSED = 0x80000005


def _word(vectors: set[int], word: int) -> int:
    return sum(1 << vector % 32 for vector in vectors if vector // 32 == word)


@dataclass
class Entry:
    """The guest's entry of the doorbell page."""

    status: int = 0
    irr: list[int] = field(default_factory=lambda: [0] * 7)


@dataclass
class Apic:
    """The guest's APIC, with what it sees of the VMSA and the calling area."""

    number: int = 0
    requested: set[int] = field(default_factory=set)
    allowed: set[int] = field(default_factory=set)
    level: set[int] = field(default_factory=set)
    host_level: set[int] = field(default_factory=set)
    service: list[int] = field(default_factory=list)
    icr: int = 0
    nmi: bool = False
    work: bool = False
    under_way: str = ""  # where the last one in service waits: "event", "virtual" or nowhere
    lazy: bool = False
    eois: list[int] = field(default_factory=list)

    interrupts_on: bool = False
    shadow: bool = False
    tpr: int = 0
    event: int = 0
    virtual: int | None = None  # the vector offered by V_IRQ
    no_eoi_required: int = 0

    # --- what the hypervisor does

    def take(self, entry: Entry) -> None:
        vector = entry.status & 0xFF
        if entry.status & LEVEL:
            if vector in self.allowed and vector >= 31:
                self.level.add(vector)
                self.host_level.add(vector)
                self._request(vector)
        elif not entry.status & MULTIPLE and vector in self.allowed and vector >= 31:
            self._request(vector)
        if entry.status & MULTIPLE:
            posted = {32 * (word + 1) + bit for word in range(7) for bit in range(32) if entry.irr[word] >> bit & 1}
            if entry.status & VECTOR31:
                posted.add(31)
            for one in posted & self.allowed:
                self._request(one)
            entry.irr = [0] * 7
        entry.status &= ~(0xFF | LEVEL | MULTIPLE | VECTOR31)

    def _request(self, vector: int) -> None:
        self.requested.add(vector)
        self.work = True

    # --- delivery

    def rewind(self) -> None:
        if self.under_way == "event" and self.event & EVENT_KIND == EVENT_INTERRUPT:
            self.event = 0
            self._take_back()
        elif self.under_way == "virtual" and self.virtual is not None:
            self.virtual = None
            self._take_back()
        self.under_way = ""
        if self.lazy and self.no_eoi_required == 0:
            self._end()

    def _take_back(self) -> None:
        self._request(self.service.pop())
        self.lazy = False

    def _end(self) -> None:
        if not self.service:
            return
        vector = self.service.pop()
        if vector in self.host_level:
            self.eois.append(vector)
        self.host_level.discard(vector)
        self.level.discard(vector)
        self.work = True
        self.lazy = False

    def present(self) -> None:
        if not self.work:
            return
        self.rewind()
        self.work = False
        if self.nmi:
            if self.event & EVENT_VALID and self.event & EVENT_KIND != EVENT_NMI:
                self.work = True
            else:
                self.event, self.nmi = EVENT_NMI, False
        self.lazy, self.no_eoi_required = False, 0
        if not self.requested:
            return
        vector = max(self.requested)
        if vector >> 4 <= (self.service[-1] >> 4 if self.service else 0):
            return
        ready = self.interrupts_on and not self.shadow and vector >> 4 > self.ppr >> 4
        if ready and not self.event & EVENT_VALID:
            self.event, self.under_way, unambiguous = EVENT_INTERRUPT | vector, "event", True
        else:
            self.virtual, self.under_way, unambiguous = vector, "virtual", not self.service
        self.requested.remove(vector)
        self.service.append(vector)
        if unambiguous and vector not in self.level and not self.requested:
            self.lazy, self.no_eoi_required = True, 1

    # --- registers

    @property
    def ppr(self) -> int:
        vector = self.service[-1] if self.service else 0
        return vector & 0xF0 if vector >> 4 > self.tpr >> 4 else self.tpr

    @property
    def ldr(self) -> int:
        return self.number // 16 << 16 | 1 << self.number % 16

    def read(self, msr: int) -> int | Answer:
        self.rewind()
        plain = {0x802: self.number, 0x808: self.tpr, 0x80A: self.ppr, 0x80D: self.ldr, 0x830: self.icr}
        if msr in plain:
            return plain[msr]
        for first, vectors in ((0x810, set(self.service)), (0x818, self.level), (0x820, self.requested)):
            if first <= msr < first + 8:
                return _word(vectors, msr - first)
        return Answer.REFUSED if msr in (0x80B, 0x83F) else Answer.UNKNOWN

    def write(self, msr: int, value: int) -> Answer:
        self.rewind()
        if msr == 0x808 and value < 256:
            self.tpr = value & 0xF0
        elif msr == 0x80B and value == 0:
            self._end()
        elif msr == 0x83F and value < 256:
            self._request(value)
        elif msr == 0x830:
            return self._command(value)
        elif msr in (0x802, 0x808, 0x80A, 0x80B, 0x80D, 0x83F) or 0x810 <= msr < 0x828:
            return Answer.REFUSED
        else:
            return Answer.UNKNOWN
        return Answer.OK

    def _command(self, value: int) -> Answer:
        if value & 0xFFF33000 or value >> 8 & 7 not in (0, 4):
            return Answer.REFUSED
        self.icr = value
        shorthand, destination = value >> 18 & 3, value >> 32
        if shorthand == 0:
            if value >> 11 & 1 and destination != 0xFFFFFFFF:
                me = destination >> 16 == self.ldr >> 16 and destination & self.ldr & 0xFFFF != 0
            else:
                me = destination in (self.number, 0xFFFFFFFF)
        else:
            me = shorthand != 3
        if me and value >> 8 & 7 == 4:
            self.nmi = self.work = True
        elif me:
            self._request(value & 0xFF)
        return Answer.OK
