# SPDX-License-Identifier: GPL-2.0-or-later
"""The outer machine: QEMU TCG with AMD SVM, which boots the image. These settings determine how fast it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm.qemu_binary import QemuBinary

#: The console of the outer kernel, and the agent's byte stream.
CONSOLE = "console"
PORT = "agent"
#: QMP and QEMU's object of the guest's memory.
MEMORY = "ram"
#: The newest AMD model in QEMU 7.2. TCG emulates its SVM with nested paging, and warns of features it lacks.
CPU = "EPYC-v3"
#: MiB in addition to the nested guest's memory: the image twice while it is unpacked, kernel, QEMU, Python.
OVERHEAD_MIB = 512
#: Memory is rounded up to a multiple of this, so that guests of similar sizes share a snapshot.
STEP_MIB = 512
#: Messages of the first process and the program that it starts on the console (guests/kvm_host).
READY = r"kvm-host: ready"
LOADED = r"kvm-host: ready with the agent"
#: Precedes an agent that is loaded and then waits.
EARLY = b"preload:"
TROUBLE = r"(?m)^kvm-host: (?!ready)[^\r\n]{1,200}[\r\n]"
#: Fatal messages of the kernel, in addition to the patterns of every console.
BAD_PATTERNS = (
    TROUBLE,
    r"Kernel panic - not syncing[^\r\n]*",
    r"BUG: [^\r\n]{1,200}",
    r"Oops: [^\r\n]{1,200}",
    r"Out of memory: Killed process[^\r\n]{1,200}",
)
_KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet",
    # A panic resets the machine, which ends QEMU (-no-reboot).
    "panic=-1",
    # Calibration and mitigations that a guest on TCG does not need.
    "tsc=reliable no_timer_check mitigations=off nokaslr init_on_alloc=0 cryptomgr.notests",
    # A machine that was suspended with the one below it must not report a hang.
    "nowatchdog",
)


@dataclass(frozen=True, slots=True)
class Outer:
    """An outer machine before its start. memory_mib: of the nested guest."""

    image: Image
    binary: QemuBinary
    memory_mib: int

    @property
    def total_mib(self) -> int:
        """The outer machine's memory in MiB."""
        return -(-(self.memory_mib + OVERHEAD_MIB) // STEP_MIB) * STEP_MIB

    def arguments(self, memory: Path | None = None, *, shared: bool = False) -> list[str]:
        """QEMU's arguments, except for the character devices.

        memory: the file of the guest's memory. shared: the guest's writes change the file.
        """
        machine = "q35,smm=off,hpet=off"
        backend: list[str] = []
        if memory is not None:
            machine += f",memory-backend={MEMORY}"
            file = f"mem-path={str(memory).replace(',', ',,')},share={'on' if shared else 'off'}"
            backend = ["-object", f"memory-backend-file,id={MEMORY},size={self.total_mib}M,{file}"]
        return [
            *("-machine", machine, *backend, "-m", f"{self.total_mib}M"),
            # One processor: with two, QEMU 7.2's TCG breaks newer kernels.
            *("-accel", "tcg", "-cpu", CPU, "-smp", "1"),
            *("-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none"),
            *("-serial", f"chardev:{CONSOLE}"),
            *("-device", "virtio-serial-pci,id=serial-bus,max_ports=2"),
            *("-device", f"virtserialport,bus=serial-bus.0,nr=1,name=snp-harness,chardev={PORT}"),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.image.initramfs)),
            *("-append", " ".join(_KERNEL_ARGUMENTS)),
        ]
