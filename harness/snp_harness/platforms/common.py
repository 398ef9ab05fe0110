# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU arguments and checks that all platforms use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.check import Check, CheckStatus
from snp_harness.platforms.platform import RunSpec
from snp_harness.vm.qemu_errors import QemuError

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host


def machine_arguments(spec: RunSpec, cpu: str, accelerator: str = "tcg") -> list[str]:
    """Return the PC that all platforms use: q35 without SMM, with one serial port only; QEMU ends at a reset."""
    arguments = [
        *("-machine", "q35,smm=off", "-accel", accelerator, "-cpu", cpu, "-smp", str(spec.vcpus)),
        *("-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-serial", "chardev:serial"),
    ]
    if spec.icount:
        arguments += ["-icount", "shift=3,sleep=off"]
    return arguments


def cpu_argument(spec: RunSpec, model: str) -> str:
    """Return a CPU model of QEMU's without the features that the configuration hides, which have QEMU's names."""
    return ",".join([model, *(f"-{name}" for name in spec.svsm.guest.hidden_features)])


def qemu_check(host: Host, qemu: Path | None) -> Check:
    """Check the QEMU that a run on the host would use; host and qemu as in Platform.probe."""
    try:
        binary = host.qemu(qemu)
        binary.check()
        return Check("QEMU", CheckStatus.OK, str(binary))
    except QemuError as error:
        return Check("QEMU", CheckStatus.MISSING, error.message, error.hint)
