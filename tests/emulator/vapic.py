# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual local APIC's test driver as an object: one method for each function of hypervisor/vapic.h."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from tests.emulator.native import Driver

SOURCES = ("hypervisor/vapic_registers.c", "hypervisor/vapic_irq.c", "hypervisor/vapic_timer.c")
NEVER = (1 << 64) - 1


class Result(enum.IntEnum):
    """enum vapic_result."""

    OK = 0
    GP = 1
    NOT_CLAIMED = 2


@dataclass(frozen=True, slots=True)
class Effect:
    """struct vapic_effect, and how the access ended. eoi is (vector, level) or None, ipi the ICR or None."""

    result: Result
    eoi: tuple[int, bool] | None
    ipi: int | None
    base_changed: bool
    timer_changed: bool
    destination_changed: bool
    lint_changed: bool


class Vapic(Driver):
    """A virtual APIC, reset at the start."""

    def __init__(self, program: Path) -> None:
        super().__init__(program)
        self.reset()

    def reset(
        self, apic_id: int = 0, *, bsp: bool = True, x2apic: bool = True, tsc_deadline: bool = True, phys_bits: int = 48
    ) -> None:
        self.ask("reset", apic_id, int(bsp), int(x2apic), int(tsc_deadline), phys_bits)

    def init(self) -> None:
        self.ask("init")

    def fuzz(self, seed: int, steps: int) -> int:
        return self.ask("fuzz", seed, steps)[0]

    @property
    def base(self) -> int:
        return self.ask("state")[0]

    @property
    def enabled(self) -> bool:
        return bool(self.ask("state")[1])

    @property
    def x2apic(self) -> bool:
        return bool(self.ask("state")[2])

    def _effect(self, *words: str | int) -> Effect:
        result, eoi, vector, level, ipi, icr, base, timer, destination, lint = self.ask(*words)
        return Effect(
            Result(result),
            (vector, bool(level)) if eoi else None,
            icr if ipi else None,
            bool(base),
            bool(timer),
            bool(destination),
            bool(lint),
        )

    def write_base(self, value: int) -> Effect:
        return self._effect("base", value)

    def mmio_read(self, offset: int, size: int = 4, now: int = 0) -> tuple[Result, int]:
        result, value = self.ask("mmio_read", offset, size, now)
        return Result(result), value

    def mmio_write(self, offset: int, value: int, size: int = 4, now: int = 0) -> Effect:
        return self._effect("mmio_write", offset, size, value, now)

    def msr_read(self, msr: int, now: int = 0) -> tuple[Result, int]:
        result, value = self.ask("msr_read", msr, now)
        return Result(result), value

    def msr_write(self, msr: int, value: int, now: int = 0) -> Effect:
        return self._effect("msr_write", msr, value, now)

    def read(self, offset: int, now: int = 0) -> int:
        """A register's value in the mode that the APIC is in; it has to be readable."""
        result, value = self.msr_read(0x800 + (offset >> 4), now) if self.x2apic else self.mmio_read(offset, 4, now)
        assert result is Result.OK
        return value

    def write(self, offset: int, value: int, now: int = 0) -> Effect:
        """Write a register in the mode that the APIC is in; it has to be writable."""
        effect = (
            self.msr_write(0x800 + (offset >> 4), value, now) if self.x2apic else self.mmio_write(offset, value, 4, now)
        )
        assert effect.result is Result.OK
        return effect

    def post(self, vector: int, *, level: bool = False) -> bool:
        return bool(self.ask("post", vector, int(level))[0])

    @property
    def pending(self) -> int:
        """The deliverable vector, or -1."""
        return self.ask("pending")[0] - 1

    def accept(self, vector: int) -> None:
        self.ask("accept", vector)

    def request_below(self, vector: int = 256) -> int:
        """The highest request below a vector, or -1."""
        return self.ask("request_below", vector)[0] - 1

    def is_level(self, vector: int) -> bool:
        return bool(self.ask("is_level", vector)[0])

    def withdraw(self, vector: int) -> None:
        self.ask("withdraw", vector)

    def restore(self, requested: int, in_service: int, tpr: int) -> None:
        """Another APIC's state: a vector each, and its TPR."""
        self.ask("restore", requested, in_service, tpr)

    def force_x2apic(self) -> None:
        self.ask("force_x2apic")

    def timer_event(self, lvt: int, divide: int, initial: int, now: int = 0) -> int:
        """The #HV timer event: the current count before."""
        return self.ask("timer_event", lvt, divide, initial, now)[0]

    @property
    def tpr(self) -> int:
        return self.ask("tpr")[0]

    def set_tpr(self, value: int) -> None:
        self.ask("set_tpr", value)

    def accepts_extint(self) -> bool:
        return bool(self.ask("extint")[0])

    def matches(self, destination: int, *, logical: bool) -> bool:
        return bool(self.ask("match", destination, int(logical))[0])

    def timer_run(self, now: int) -> bool:
        return bool(self.ask("timer_run", now)[0])

    def deadline(self) -> int | None:
        """When the timer is due, ns, or None."""
        value = self.ask("deadline")[0]
        return None if value == NEVER else value

    @property
    def tsc_deadline(self) -> int:
        return self.ask("tsc_deadline")[0]

    def set_tsc_deadline(self, tsc: int, deadline_ns: int) -> None:
        self.ask("set_tsc_deadline", tsc, deadline_ns)
