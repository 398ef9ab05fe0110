# SPDX-License-Identifier: GPL-2.0-or-later
"""Arguments and checks that platforms on QEMU share."""

from __future__ import annotations

from harness.check import Check, CheckStatus
from harness.errors import HarnessError
from harness.platforms.base import RunSpec
from harness.vm.qemu import QemuBinary


def machine_arguments(spec: RunSpec, cpu: str) -> list[str]:
    """The same PC for all: q35 without SMM, one serial port, nothing else; it ends where a PC would reset."""
    arguments = [
        *("-machine", "q35,smm=off", "-accel", "tcg", "-cpu", cpu, "-smp", str(spec.vcpus)),
        *("-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-serial", "chardev:serial"),
    ]
    if spec.icount:
        arguments += ["-icount", "shift=3,sleep=off"]
    return arguments


def qemu_check() -> Check:
    """The QEMU that a run without --qemu uses."""
    try:
        return Check("QEMU", CheckStatus.OK, str(QemuBinary.find()))
    except HarnessError as error:
        return Check("QEMU", CheckStatus.MISSING, error.message, error.hint)
