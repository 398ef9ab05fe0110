# SPDX-License-Identifier: GPL-2.0-or-later
"""Recognizes a guest that cannot go on: every sample of its registers is one of a few, and interrupts are off.

Firmware that works changes registers: a decompression, a copy by REP, a wait that reads a timer. A guest that waits for
a key or a tick has interrupts on. What is not certain is left to the run's timeout.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from snp_harness.capture.collect import Collector
from snp_harness.vm.machine_base import MachineBase

#: Seconds without a sign of life after which samples are made, and between two samples.
QUIET_S = 2.0
SAMPLE_S = 0.1
#: A guest is stuck after so many samples without a new state, seconds, and seconds of QEMU's processor time; not with
#: more states than that.
SAMPLES = 16
STUCK_S = 4.0
BUSY_S = 1.0
STATES = 32
#: Processor time of QEMU between two samples that count: else the guest did not run.
STEP_BUSY_S = 0.01
#: Seconds for an answer of QEMU's monitor.
_ANSWER_S = 2.0

_CPU = re.compile(r"^CPU#\d+", re.MULTILINE)
_REGISTER = re.compile(r"\b([ER][A-D]X|[ER][SD]I|[ER][SB]P|R\d+|[ER]IP|[ER]?FL|HLT|CR[234])\s*=([0-9a-f]+)")
_CODE_SEGMENT = re.compile(r"^CS\s*=[0-9a-f]+ ([0-9a-f]+)", re.MULTILINE)
_INTERRUPT_FLAG = 1 << 9
#: Where the emulated host is linked (harness/emulator/common/layout.h); a Linux kernel begins above.
HOST_TEXT = range(0xFFFFFFFF80000000, 0xFFFFFFFF81000000)


@dataclass(frozen=True, slots=True)
class Sample:
    """The registers of all processors. pcs: linear addresses. dead: each is halted, and interrupts are off."""

    registers: tuple[tuple[tuple[str, int], ...], ...]
    pcs: tuple[int, ...]
    interrupts: bool
    dead: bool
    fault: int

    @classmethod
    def parse(cls, text: str) -> Sample | None:
        """Read what QEMU's monitor prints for `info registers -a`; None if it is something else."""
        processors, pcs = [], []
        interrupts, dead, fault = False, True, 0
        for part in _CPU.split(text)[1:]:
            found = {name: int(value, 16) for name, value in _REGISTER.findall(part)}
            base = _CODE_SEGMENT.search(part)
            flags = found.get("RFL", found.get("EFL", found.get("FL")))
            ip = found.get("RIP", found.get("EIP"))
            if base is None or flags is None or ip is None:
                return None
            processors.append(tuple(sorted(found.items())))
            pcs.append(int(base[1], 16) + ip)
            interrupts |= bool(flags & _INTERRUPT_FLAG)
            dead &= bool(found.get("HLT")) and not flags & _INTERRUPT_FLAG
            fault = fault or found.get("CR2", 0)
        if not processors:
            return None
        return cls(tuple(processors), tuple(pcs), interrupts, dead, fault)

    @property
    def in_hypervisor(self) -> bool:
        """Whether the first processor executes the emulated host, whose registers these are then."""
        return self.pcs[0] in HOST_TEXT


class StuckWatch:
    """Watches one guest.

    where: describes a pc. halted: returns the pc of a guest that is in HLT with interrupts off, where the hypervisor
    knows, else None.
    """

    def __init__(
        self,
        machine: MachineBase,
        collector: Collector,
        where: Callable[[int], str],
        halted: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.pc = 0
        self._machine = machine
        self._collector = collector
        self._where = where
        self._halted = halted
        self._seen: object = None
        self._quiet_since = time.monotonic()
        self._next = 0.0
        self._works = True
        self._busy = self._first = self._first_busy = 0.0
        self._states: set[Sample] = set()
        self._samples = self._halts = 0

    def step(self) -> str | None:
        """Return a description once the guest is stuck, else None; called in the run's loop, at any rate."""
        now = time.monotonic()
        seen = (self._collector.phase, *(console.read_at for console in self._machine.consoles.values()))
        if seen != self._seen:
            self._seen, self._quiet_since = seen, now
            self._forget()
        if not self._works or now - self._quiet_since < QUIET_S or now < self._next:
            return None
        self._next = now + SAMPLE_S
        halted = self._halted()
        if halted is not None:
            self._halts += 1
            return self._describe({halted}, 0, halted=True) if self._halts >= SAMPLES else None
        self._halts = 0
        return self._sample(now)

    def _sample(self, now: float) -> str | None:
        busy = self._machine.processor_seconds()
        text = self._machine.registers(_ANSWER_S) if busy is not None else None
        sample = Sample.parse(text) if text else None
        if sample is None or busy is None:
            # QEMU does not answer, runs elsewhere, or its registers are not the guest's.
            self._works = False
            return None
        if sample.in_hypervisor or (busy - self._busy < STEP_BUSY_S and not sample.dead):
            return None
        self._busy = busy
        if sample.interrupts:
            self._forget()
            return None
        if not self._states:
            self._first, self._first_busy = now, busy
        self._samples += 1
        if sample not in self._states:
            self._samples = 1
            self._states.add(sample)
        if len(self._states) > STATES:
            self._forget()
            return None
        if self._samples < SAMPLES or now - self._first < STUCK_S:
            return None
        if not sample.dead and busy - self._first_busy < BUSY_S:
            return None
        return self._describe({state.pcs[0] for state in self._states}, sample.fault, halted=sample.dead)

    def _forget(self) -> None:
        self._states.clear()
        self._samples = self._halts = 0

    def _describe(self, pcs: set[int], fault: int, *, halted: bool) -> str:
        self.pc = min(pcs)
        what = "is halted" if halted else "executes the same instructions without end"
        last = f", CR2 of its last page fault {fault:X}" if fault else ""
        refused = self._collector.last_refused
        if refused is not None:
            at = "" if refused.pc is None else f" at pc {self._where(refused.pc)}"
            last += f", after a refused {refused.operation.value} of {refused.register.name}{at}"
        who = "SVSM" if self._collector.svsm_stage else "guest"
        return f"the {who} {what} with interrupts off, at pc {', '.join(map(self._where, sorted(pcs)))}{last}"
