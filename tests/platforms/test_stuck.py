# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that cannot go on, told from one that works or waits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.access import Operation, Outcome, Phase, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.registers import APIC_BASE
from snp_harness.capture.collect import Collector
from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware_run import run
from snp_harness.platforms import stuck
from snp_harness.platforms.platform import RunSpec
from snp_harness.platforms.stuck import SAMPLES, Sample, StuckWatch

#: QEMU 11.1, `info registers -a`, shortened.
REGISTERS = """
CPU#{number}
RAX={rax:016x} RBX=0000000000000001 RCX=00000000ada9ba2c RDX=000000008525288f
RIP={rip:016x} RFL={flags:08x} [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT={halted}
CS =0038 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]
CR0=80000033 CR2={cr2:016x} CR3=0000000000800000 CR4=00000660
"""
REAL_MODE = """
CPU#0
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000663
EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0
CS =f000 ffff0000 0000ffff 00009b00
CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
"""
OFF, ON = 0x46, 0x246
IN_HYPERVISOR = 0xFFFFFFFF8000BBFD


def registers(
    rip: int = 0xFFFD4394, flags: int = OFF, rax: int = 0, halted: int = 0, cr2: int = 0, number: int = 0
) -> str:
    return REGISTERS.format(rip=rip, flags=flags, rax=rax, halted=halted, cr2=cr2, number=number)


def test_a_sample() -> None:
    sample = Sample.parse(registers(cr2=0x1234))
    assert sample is not None
    assert (sample.pcs, sample.interrupts, sample.dead, sample.fault) == ((0xFFFD4394,), False, False, 0x1234)
    assert sample == Sample.parse(registers(cr2=0x1234))
    assert sample != Sample.parse(registers(rax=1, cr2=0x1234))
    real = Sample.parse(REAL_MODE)
    assert real is not None
    assert real.pcs == (0xFFFFFFF0,)
    both = Sample.parse(registers(flags=ON, halted=1) + registers(halted=1, number=1))
    assert both is not None
    assert (len(both.pcs), both.interrupts, both.dead) == (2, True, False)
    for text in ("", "unknown command: 'info registers'", "CPU#0\nRIP=00 RFL=02"):
        assert Sample.parse(text) is None


class Guest:
    """What a watch uses of a machine. Each sample takes a tenth of a second of processor time."""

    def __init__(self, samples: Iterator[str | None], busy_s: float = 0.1) -> None:
        self.consoles: dict[str, Any] = {}
        self.samples = samples
        self.busy: float | None = 0.0
        self.busy_s = busy_s

    def processor_seconds(self) -> float | None:
        if self.busy is not None:
            self.busy += self.busy_s
        return self.busy

    def registers(self, _timeout_s: float) -> str | None:
        return next(self.samples)


class Clock:
    """Replaces the module `time`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | None]:
    """Watches for up to a minute."""
    clock = Clock()
    monkeypatch.setattr(stuck, "time", clock)

    def watch(
        samples: Iterator[str | None],
        busy_s: float = 0.1,
        collector: Collector | None = None,
        halted: Callable[[], int | None] = lambda: None,
        each: Callable[[Guest, Collector], None] = lambda *_: None,
    ) -> str | None:
        guest: Any = Guest(samples, busy_s)
        collector = collector or Collector()
        made = StuckWatch(guest, collector, "{:X}".format, halted)
        start = clock.now
        while clock.now < start + 60:
            clock.now += 0.25
            each(guest, collector)
            reason = made.step()
            if reason is not None:
                assert clock.now - start < 60
                return reason
        return None

    return watch


SAME = "the guest executes the same instructions without end with interrupts off, at pc "


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([registers()], SAME + "FFFD4394"),
        ([registers(), registers(rip=0xFFFD4396, rax=5)], SAME + "FFFD4394, FFFD4396"),
        ([registers(cr2=0xFEE00000)], SAME + "FFFD4394, CR2 of its last page fault FEE00000"),
        ([registers(rip=IN_HYPERVISOR, flags=ON, rax=9), registers()], SAME + "FFFD4394"),
        ([registers() + registers(halted=1, number=1)], SAME + "FFFD4394"),
        ([registers(halted=1)], "the guest is halted with interrupts off, at pc FFFD4394"),
    ],
    ids=("jmp", "loop", "page fault", "exits", "parked vCPU", "hlt"),
)
def test_a_guest_that_is_stuck(texts: list[str], reason: str, watch: Callable[..., str | None]) -> None:
    assert watch(itertools.cycle(texts)) == reason


def test_what_was_refused_before(watch: Callable[..., str | None]) -> None:
    collector = Collector()
    write: Any = {"size": 8, "vcpu": 0, "vmpl": 2, "mode": None, "served_by": Server.HYPERVISOR}
    collector.access(Operation.WRITE, APIC_BASE, AccessPath.MSR, value=0, outcome=Outcome.GP, pc=0xFFFD0000, **write)
    collector.access(Operation.READ, APIC_BASE, AccessPath.MSR, value=0, outcome=Outcome.OK, pc=0xFFFD0010, **write)
    reason = watch(itertools.repeat(registers()), collector=collector)
    assert reason == SAME + "FFFD4394, after a refused write of APIC_BASE at pc FFFD0000"


def test_a_halt_that_the_hypervisor_reports(watch: Callable[..., str | None]) -> None:
    asleep = itertools.repeat(registers(rip=IN_HYPERVISOR, flags=ON, halted=1))
    assert watch(asleep, halted=lambda: 0xFFFD4396) == "the guest is halted with interrupts off, at pc FFFD4396"
    sometimes = itertools.cycle([0xFFFD4396] * (SAMPLES - 1) + [None])
    assert watch(asleep, halted=lambda: next(sometimes)) is None


def counting() -> Iterator[str]:
    return (registers(rax=number) for number in itertools.count())


@pytest.mark.parametrize(
    "samples",
    [
        counting(),
        itertools.cycle([registers(flags=ON)]),
        itertools.cycle([registers(), registers(), registers(flags=ON)]),
        itertools.cycle([registers(flags=ON, halted=1)]),
        itertools.cycle([registers() + registers(flags=ON, number=1)]),
        (registers() + registers(rax=number, number=1) for number in itertools.count()),
        itertools.repeat(registers(rip=IN_HYPERVISOR, flags=ON, halted=1)),
        itertools.repeat(None),
    ],
    ids=("works", "interrupts on", "at times on", "sleeps", "vCPU 1 waits", "vCPU 1 works", "host", "no answer"),
)
def test_a_guest_that_lives(samples: Iterator[str | None], watch: Callable[..., str | None]) -> None:
    assert watch(samples) is None


def test_a_guest_that_gets_no_processor_time(watch: Callable[..., str | None]) -> None:
    """On a machine that is overloaded the same registers prove nothing."""
    assert watch(itertools.repeat(registers()), busy_s=0.0) is None


def test_a_qemu_elsewhere(watch: Callable[..., str | None]) -> None:
    def leave(guest: Guest, _: Collector) -> None:
        guest.busy = None

    assert watch(itertools.repeat(registers()), each=leave) is None


def test_a_guest_that_goes_on(watch: Callable[..., str | None]) -> None:
    phases = iter([*[Phase.SEC] * 20, *[Phase.PEI] * 20, *[Phase.DXE] * 15])

    def enter(_: Guest, collector: Collector) -> None:
        collector.enter(next(phases, Phase.BDS), 0, "the witness")

    assert watch(itertools.repeat(registers()), each=enter) is not None
    assert next(phases, None) is None


#: SecMain: JMP to itself; CLI, HLT, again; an illegal write of APIC_BASE (EXTD without EN), then JMP to itself;
#: INC RAX, again.
JMP, HLT, ILLEGAL, WORK = (
    bytes.fromhex(code)
    for code in (
        "eb fe",
        "fa f4 eb fc",
        "b9 1b 00 00 00 0f 32 0d 00 04 00 00 25 ff f7 ff ff 0f 30 eb fe",
        "48 ff c0 eb fb",
    )
)


@pytest.mark.parametrize(
    ("platform", "code", "status", "said"),
    [
        pytest.param("emulated", JMP, "inconclusive", SAME + "FFF", marks=pytest.mark.emulated),
        pytest.param("emulated", HLT, "inconclusive", "the guest is halted", marks=pytest.mark.emulated),
        pytest.param("emulated", WORK, "inconclusive", "was not reached in 3 s", marks=pytest.mark.emulated),
        pytest.param("tcg", ILLEGAL, "violated", SAME, marks=pytest.mark.tcg),
        pytest.param("tcg", HLT, "inconclusive", "the guest is halted", marks=pytest.mark.tcg),
    ],
    ids=("jmp", "hlt", "work", "tcg-illegal", "tcg-hlt"),
)
def test_firmware(
    platform: str,
    code: bytes,
    status: str,
    said: str,
    snp_firmware: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("QUIET_S", 0.1), ("STUCK_S", 0.5), ("SAMPLES", 4), ("BUSY_S", 0.2), ("SAMPLE_S", 0.05)):
        monkeypatch.setattr(stuck, name, value)
    image = FirmwareImage.open(snp_firmware)
    (sec,) = (module for module in image.modules if module.name == "SecMain")
    assert sec.base is not None
    entry = sec.base + sec.entry_rva - image.base
    path = tmp_path / "patched.fd"
    path.write_bytes(image.data[:entry] + code + image.data[entry + len(code) :])
    timeout_s = 3.0 if code is WORK else 60.0
    result = run(RunSpec(path, timeout_s=timeout_s), platform, tmp_path / "out")
    assert result.verdict.status.value == status
    assert said in result.timeline.gaps[0]
    assert result.seconds < 30
