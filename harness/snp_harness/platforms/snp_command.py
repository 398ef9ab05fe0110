# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's arguments for an SNP guest, as COCONUT documents them, adapted to the features of QEMU and processor.

Source: coconut-svsm/svsm, Documentation/docs/installation/INSTALL.md and scripts/launch_guest.sh; QEMU's
docs/system/igvm.rst. igvm-cfg excludes -bios and pflash: the firmware is in the IGVM file.
"""

from __future__ import annotations

from collections.abc import Sequence

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.platforms.common import BOARD_GLOBALS, board_options
from snp_harness.platforms.host_facts import HostFacts
from snp_harness.platforms.snp_preflight import CPU_MODEL

#: Physical address bits that the guest loses to memory encryption: 1 in every documented command.
REDUCED_PHYS_BITS = 1
#: VMPLs of a guest whose SVSM runs at VMPL0 and whose firmware runs at VMPL2 are planes 0 and 2 (COCONUT's QEMU).
GUEST_PLANE = 2
_KERNEL = "-kernel"


def snp_arguments(
    facts: HostFacts,
    *,
    memory: int,
    vcpus: int,
    igvm: str | None = None,
    bios: str | None = None,
    guest_vmpl: int = GUEST_PLANE,
    extra: Sequence[str] = (),
) -> list[str]:
    """Return the arguments. memory: bytes. igvm: an IGVM file's path on the host, or else bios: a firmware image's.

    Consoles are the character devices `serial` (COM1) and `svsm` (COM2), which the caller makes.
    Raises BrokenEnvironmentError if QEMU lacks what an IGVM file needs, or the processor's C-bit is not known.
    """
    if (igvm is None) == (bios is None):
        raise ValueError("an SNP guest starts from an IGVM file or from a firmware image")
    cbit = facts.cpu.cbit
    if not cbit:
        raise BrokenEnvironmentError("the position of the C-bit is not known", "see snp-harness doctor")
    if igvm is not None and not facts.qemu.has_igvm:
        raise BrokenEnvironmentError(
            f"QEMU {facts.qemu.version} has no igvm-cfg: it cannot launch an SVSM",
            "build QEMU 10.1 or newer with --enable-igvm, or use COCONUT's, and name it with --qemu",
        )
    return [
        *("-machine", ",".join([*_machine(facts, igvm, guest_vmpl), *board_options(extra)])),
        *("-accel", "kvm", "-cpu", CPU_MODEL, *BOARD_GLOBALS),
        *("-smp", str(vcpus), "-m", f"{memory >> 20}"),
        *("-object", f"memory-backend-memfd,id=ram1,size={memory},share=true,prealloc=false,reserve=false"),
        *("-object", ",".join(_guest(cbit, extra))),
        *(("-bios", bios) if bios is not None else ("-object", f"igvm-cfg,id=igvm0,file={_quoted(igvm or '')}")),
        *("-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none"),
        *("-serial", "chardev:serial", "-serial", "chardev:svsm"),
        *extra,
    ]


def _machine(facts: HostFacts, igvm: str | None, guest_vmpl: int) -> list[str]:
    # An SEV-ES guest's registers cannot be changed: it has no SMM.
    options = ["q35", "smm=off", "confidential-guest-support=sev0", "memory-backend=ram1"]
    if igvm is not None:
        options.append("igvm-cfg=igvm0")
        if facts.qemu.has_planes:
            options += ["kernel-irqchip=split", f"device-plane={guest_vmpl}"]
    return options


def _guest(cbit: int, extra: Sequence[str]) -> list[str]:
    options = ["sev-snp-guest", "id=sev0", f"cbitpos={cbit}", f"reduced-phys-bits={REDUCED_PHYS_BITS}"]
    # Firmware that checks a kernel (OVMF AmdSev) gets the hashes from QEMU.
    return [*options, "kernel-hashes=on"] if _KERNEL in extra else options


def _quoted(path: str) -> str:
    """Return a path for a list of options: commas are doubled."""
    return path.replace(",", ",,")
