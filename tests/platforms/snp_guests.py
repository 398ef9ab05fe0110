# SPDX-License-Identifier: GPL-2.0-or-later
"""What an SNP guest is made of, and what its SVSM prints."""

from __future__ import annotations

from pathlib import Path

from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.sections import SvsmKind, SvsmSection
from tests.firmware.builder import image
from tests.svsm import igvm_writer as writer

#: What COCONUT prints (kernel/src/svsm.rs and core's PanicInfo), as a serial console has it.
BANNER = "[Stage2] COCONUT Secure Virtual Machine Service Module (SVSM) Stage 2 Loader\r\n"
LACKS = (
    "[SVSM] ERROR: Panic on CPU[0]! COCONUT-SVSM Version: v2026.08\r\n"
    "[SVSM] ERROR: Info: panicked at kernel/src/svsm.rs:321:10:\r\n"
    "Alternate injection required but not available: NotSupported\r\n"
)
PANIC = (
    "[SVSM] ERROR: Panic on CPU[0]! COCONUT-SVSM Version: v2026.08\r\n"
    "[SVSM] ERROR: Info: panicked at kernel/src/svsm.rs:402:9:\r\n"
    "Failed to launch FW: Firmware\r\n"
)
#: A firmware image.
OLD = image()


def spec(tmp_path: Path, firmware: bytes = OLD, *, alternate_injection: bool = True, **given: object) -> RunSpec:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(firmware)
    igvm = tmp_path / "coconut.igvm"
    if not igvm.exists():
        igvm.write_bytes(writer.coconut(image=OLD, signature=b"\x01", port=0x2F8).build())
    section = SvsmSection(kind=SvsmKind.IGVM, igvm=str(igvm), alternate_injection=alternate_injection)
    return RunSpec(path, svsm=SvsmConfig(svsm=section), **given)  # type: ignore[arg-type]
