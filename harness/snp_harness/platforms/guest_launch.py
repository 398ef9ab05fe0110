# SPDX-License-Identifier: GPL-2.0-or-later
"""What the emulated host launches: the firmware, the firmware under the reference SVSM, or an IGVM file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from snp_harness.firmware.metadata import SevMetadata, SevSectionType
from snp_harness.platforms import rom
from snp_harness.svsm import firmware_launch, igvm_loader, reference, vmsa
from snp_harness.svsm.igvm import IgvmError, IgvmFile
from snp_harness.svsm.igvm_parameters import MachineFacts
from snp_harness.svsm.launch import PAGE, Launch, Pages, PageType
from snp_harness.svsm.sections import SvsmKind
from snp_harness.svsm.sev import sev_features

if TYPE_CHECKING:
    from snp_harness.firmware.image import FirmwareImage
    from snp_harness.platforms.memory_map import MemoryMap
    from snp_harness.platforms.platform import RunSpec

#: Where COCONUT's memory is (tools/igvmbuilder/src/gpa_map.rs).
BASE_IN_RAM = 128 << 20
#: CPUID 1 EAX of QEMU's EPYC-v3, which the guest gets in EDX at reset.
SIGNATURE = 0x800F12


def guest_launch(spec: RunSpec, firmware: FirmwareImage, memory: MemoryMap, *, kernel: bool) -> Launch | None:
    """Return the launch of a run, None without SEV-SNP. kernel: QEMU gets a kernel, whose hashes the firmware wants.

    Raises IgvmError for an IGVM file that cannot be launched, BrokenEnvironmentError if the SVSM is not built.
    """
    config = spec.svsm
    if not config.snp:
        return None
    machine = MachineFacts(spec.vcpus, memory.ram_low, memory.ram_high)
    if config.svsm.kind is SvsmKind.IGVM:
        return igvm_launch_of(spec, firmware, machine)
    metadata = firmware.metadata
    assert metadata is not None
    if config.present:
        file = IgvmFile.parse(reference_file(spec, firmware, memory), "the reference SVSM")
        launch = igvm_loader.load(file, machine)
    else:
        launch = firmware_launch.firmware_launch(
            firmware.flat(),
            metadata,
            vcpus=spec.vcpus,
            features=sev_features(config.sev_status(0)),
            signature=SIGNATURE,
        )
    return _with_hashes(launch, metadata) if kernel else launch


def igvm_launch_of(spec: RunSpec, firmware: FirmwareImage, machine: MachineFacts) -> Launch:
    """Return the launch of the configured IGVM file, with Alternate Injection as configured, and a run's firmware.

    Raises IgvmError.
    """
    # Only such a run needs them.
    from snp_harness.svsm.igvm_guest import launched_firmware, requests_alternate_injection, with_firmware
    from snp_harness.svsm.igvm_inject import inject

    config = spec.svsm
    file = IgvmFile.open(Path(config.svsm.igvm))
    notes: tuple[str, ...] = ()
    if requests_alternate_injection(file) not in (None, config.alternate_injection):
        injected = inject(file, alternate_injection=config.alternate_injection)
        file = drop_id_blocks_of(IgvmFile.parse(injected.data, file.name))
        notes = tuple(one for one in injected.changes if not one.startswith(("launch digest", "checksum")))
        notes = (f"a copy of {file.name} was launched: {'; '.join(notes)}",)
    launch = igvm_loader.load(file, machine)
    _check_tables(file, launch, config.memory.cbit)
    launch = replace(launch, notes=notes)
    own = launched_firmware(launch)
    if firmware.path == Path(config.svsm.igvm) or own == firmware.flat():
        return launch
    file, moved = own_console(file)
    if moved:
        launch = replace(igvm_loader.load(file, machine), notes=(*launch.notes, moved))
    return with_firmware(file, launch, firmware.flat(), str(firmware.path))


def own_console(file: IgvmFile) -> tuple[IgvmFile, str]:
    """Return COCONUT's file with the SVSM's console where the reference SVSM has it, and a note about that, or "".

    COCONUT prints on the firmware's COM1 otherwise: lines of several vCPUs break those of the firmware.
    """
    from snp_harness.svsm.igvm_inject import set_console_port
    from snp_harness.svsm.igvm_launch import find_settings

    if len(find_settings(file, file.snp_mask or 0)) != 1:
        return file, ""
    done = set_console_port(file, reference.CONSOLE_PORT)
    if not done.changes:
        return file, ""
    note = f"the SVSM's console was moved to port {reference.CONSOLE_PORT:X}"
    return drop_id_blocks_of(IgvmFile.parse(done.data, file.name)), note


def drop_id_blocks_of(file: IgvmFile) -> IgvmFile:
    """Return the file without its ID blocks, which are for another launch digest."""
    from snp_harness.svsm.igvm_inject import drop_id_blocks

    return IgvmFile.parse(drop_id_blocks(file).data, file.name)


def _check_tables(file: IgvmFile, launch: Launch, cbit: int) -> None:
    """Check that the page tables which a vCPU starts on are for this C-bit. Raises IgvmError."""
    for vp, page in launch.vmsas:
        state = vmsa.Vmsa(page)
        cr3 = state.field("cr3")
        if state.field("cr0") & vmsa.CR0_PG and not cr3 >> cbit & 1:
            raise IgvmError(
                f"{file.name} starts vCPU {vp} on page tables for another C-bit than {cbit} (CR3 is {cr3:X})",
                "choose memory.cbit in the configuration, or build the file for this C-bit",
            )


def reference_file(spec: RunSpec, firmware: FirmwareImage, memory: MemoryMap) -> bytes:
    """Return the IGVM file of the reference SVSM for a run. Raises BrokenEnvironmentError if it is not built."""
    assert firmware.metadata is not None
    return reference.build(rom.read_svsm(), firmware.flat(), firmware.metadata, spec.svsm, svsm_base(spec, memory))


def svsm_base(spec: RunSpec, memory: MemoryMap) -> int:
    """Return the address of the reference SVSM's memory."""
    return BASE_IN_RAM if spec.svsm.svsm.in_ram else memory.svsm_gpa


def _with_hashes(launch: Launch, metadata: SevMetadata) -> Launch:
    """Return the launch with the hashes of a kernel in their section, which QEMU offers without IGVM files only."""
    table, size = metadata.hash_table
    section = next(iter(metadata.of_type(SevSectionType.KERNEL_HASHES)), None)
    if section is None or not size or not section.gpa <= table <= section.end - size:
        return launch
    pages: list[Pages] = []
    for one in launch.pages:
        if one.kind is not PageType.ZERO or not one.gpa <= section.gpa < section.end <= one.end:
            pages.append(one)
            continue
        before, after = section.gpa - one.gpa, one.end - section.end
        pages += [replace(one, count=before // PAGE)] if before else []
        pages.append(
            Pages(PageType.NORMAL, section.gpa, section.size // PAGE, hashes=table - section.gpa),
        )
        pages += [replace(one, gpa=section.end, count=after // PAGE)] if after else []
    return replace(launch, pages=tuple(pages))
