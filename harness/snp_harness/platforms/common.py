# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU arguments and checks that all platforms use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.check import Check, CheckStatus
from snp_harness.platforms.extra_arguments import SMI_DRIVER, SMI_FEATURES, has_sata_drive
from snp_harness.platforms.platform import RunSpec
from snp_harness.vm.qemu_errors import QemuError

if TYPE_CHECKING:
    from snp_harness.hosts.host import Host


#: The ICH9 without SMI features: without SMM they are only three files more in the fw_cfg directory.
BOARD_GLOBALS = [word for feature in SMI_FEATURES for word in ("-global", f"{SMI_DRIVER}.{feature}=off")]


def machine_arguments(spec: RunSpec, cpu: str, accelerator: str = "tcg") -> list[str]:
    """Return the PC that all platforms use: q35 without SMM, with one serial port only; QEMU ends at a reset."""
    arguments = [
        *("-machine", ",".join(["q35", "smm=off", *board_options(spec.extra_args)])),
        *("-accel", accelerator, "-cpu", cpu, "-smp", str(spec.vcpus), *BOARD_GLOBALS),
        *("-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-serial", "chardev:serial"),
    ]
    if spec.icount:
        arguments += ["-icount", "shift=3,sleep=off"]
    return arguments


def board_options(extra: Sequence[str]) -> list[str]:
    """Return options of -machine that leave out what firmware only waits for and scans. extra: the user's arguments.

    That is the PS/2 controller, the SMBus, and SATA unless the user has a drive for it; BOARD_GLOBALS are part of it.
    Arguments of the user's bring each back (docs/platforms.md).
    """
    return ["i8042=off", "smbus=off", *([] if has_sata_drive(extra) else ["sata=off"])]


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
