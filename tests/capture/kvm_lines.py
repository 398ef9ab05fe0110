# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of KVM's trace: recorded ones, and a builder."""

from __future__ import annotations

from pathlib import Path

#: Recorded inside a Debian cloud kernel of that version, which ran in QEMU TCG (EPYC-v3), and shortened.
TRACES = Path(__file__).parent / "kvm_traces"
KERNELS = ("5.10", "6.1", "6.12", "7.2")


class Trace:
    """Builds lines of a trace, a microsecond apart."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, text: str, thread: int = 7) -> None:
        micro = len(self.lines)
        self.lines.append(f" qemu-{thread} [000] d..1.  5.{micro:06}: {text}\n")

    def exit(self, reason: str, rip: int = 0xFFFCFBE6, vcpu: int = 0, thread: int = 7) -> None:
        self.add(
            f"kvm_exit: vcpu {vcpu} reason {reason} rip {rip:#x} info1 0x0000000000000000 info2 0x0000000000000000"
            " intr_info 0x00000000 error_code 0x00000000",
            thread,
        )

    def mmio_read(self, offset: int, value: int, **exit_: int) -> None:
        self.exit("npf", **exit_)
        thread = exit_.get("thread", 7)
        self.add(f"kvm_apic: apic_read {offset:#x} = {value:#x}", thread)
        self.add(f"kvm_mmio: mmio read len 4 gpa {0xFEE00000 + offset:#x} val {value:#x}", thread)

    def mmio_write(self, offset: int, value: int, **exit_: int) -> None:
        self.exit("npf", **exit_)
        thread = exit_.get("thread", 7)
        self.add(f"kvm_mmio: mmio write len 4 gpa {0xFEE00000 + offset:#x} val {value:#x}", thread)
        self.add(f"kvm_apic: apic_write {offset:#x} = {value:#x}", thread)

    def msr(self, direction: str, number: int, value: int, suffix: str = "", **exit_: int) -> None:
        self.exit("msr", **exit_)
        self.add(f"kvm_msr: msr_{direction} {number:x} = {value:#x}{suffix}", exit_.get("thread", 7))

    def pio(self, port: int, value: int) -> None:
        self.add(f"kvm_pio: pio_write at {port:#x} size 1 count 1 val {value:#x} ")

    def print(self, text: str) -> None:
        for byte in text.encode():
            self.pio(0x402, byte)

    @property
    def data(self) -> bytes:
        return "".join(self.lines).encode()
