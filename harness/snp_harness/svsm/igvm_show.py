# SPDX-License-Identifier: GPL-2.0-or-later
"""The contents of an IGVM file as JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from snp_harness.svsm import vmsa
from snp_harness.svsm.igvm import (
    DataType,
    GuestPolicy,
    Header,
    HeaderType,
    IgvmFile,
    MemoryRange,
    PageData,
    PageFlags,
    Parameter,
    ParameterArea,
    ParameterInsert,
    PlatformType,
    SnpIdBlock,
    VpContext,
)
from snp_harness.svsm.igvm_launch import LaunchInformation, Settings, find_settings
from snp_harness.svsm.igvm_measure import Measurement, id_blocks, measure
from snp_harness.svsm.igvm_params import Layout

FORMAT = "snp-harness-igvm"
VERSION = 1

#: Bits of an SNP guest policy (56860, section 4.3), from bit 16 on; bit 17 is reserved and must be one.
POLICY_BITS = {
    16: "smt",
    18: "migrate-ma",
    19: "debug",
    20: "single-socket",
    21: "cxl-allow",
    22: "mem-aes-256-xts",
    23: "rapl-dis",
    24: "ciphertext-hiding-dram",
    25: "page-swap-disable",
}
#: Entries of a list that are shown; the others are counted.
SHOWN = 1000
_SHOWN_REGISTERS = ("efer", "cr0", "cr3", "cr4", "rflags", "rsp", "virtual_tom")


def to_json(file: IgvmFile) -> dict[str, Any]:
    """Return all that is shown as JSON values. 64-bit numbers are hexadecimal strings."""
    mask = file.snp_mask
    measured = measure(file)
    runs = list(_runs(file))
    settings = [] if mask is None else find_settings(file, mask)
    return {
        "format": FORMAT,
        "version": VERSION,
        "file": file.name,
        "size": len(file.data),
        "igvm_version": file.version,
        "architecture": "x86-64" if file.architecture == 0 else f"{file.architecture}",
        "checksum": _hex(file.checksum),
        "checksum_is_right": file.checksum_is_right,
        "platforms": [
            {
                "platform": _name(PlatformType, platform.platform),
                "mask": _hex(platform.mask or 0),
                "highest_vtl": platform.highest_vtl,
                "platform_version": platform.version,
                "shared_gpa_boundary": _hex(platform.shared_gpa_boundary),
            }
            for platform in file.platforms[:SHOWN]
        ],
        "directives": [_directive(file, header, last) for header, last in runs[:SHOWN]],
        "directive_count": len(runs),
        "parameter_areas": [] if mask is None else list(_areas(file, mask))[:SHOWN],
        "parameter_block": [_block(one) for one in settings],
        "launch_digest": None if measured is None else measured.digest.hex(),
        "launch_digest_qemu": None if measured is None or measured.qemu is None else measured.qemu.hex(),
        "launch_digest_notes": [] if measured is None else list(measured.notes[:SHOWN]),
        "id_blocks": [
            {
                "launch_digest": block.launch_digest.hex(),
                "matches": _matches(block, measured),
                "signed": block.signed,
                "author_key": block.author_key,
                "family_id": block.family_id.hex(),
                "image_id": block.image_id.hex(),
                "version": block.version,
                "guest_svn": block.guest_svn,
            }
            for block in id_blocks(file)[:SHOWN]
        ],
    }


def _areas(file: IgvmFile, mask: int) -> Iterator[dict[str, Any]]:
    """The parameter areas that are inserted on a platform, with the values that the loader writes into them."""
    headers = [header for header in file.headers if header.applies(mask)]
    sizes = {header.index: header.size for header in headers if isinstance(header, ParameterArea)}
    values: dict[int, list[str]] = {}
    for header in headers:
        if isinstance(header, Parameter):
            values.setdefault(header.index, []).append(header.name)
    for header in headers:
        if isinstance(header, ParameterInsert):
            names = values.get(header.index, [])[:SHOWN]
            size = sizes.get(header.index, 0)
            yield {"index": header.index, "gpa": _hex(header.gpa), "size": size, "values": names}


def _block(settings: Settings) -> dict[str, Any]:
    block = settings.block
    return {
        "gpa": _hex(block.page.gpa),
        "copies": [_hex(page.gpa) for page in block.copies],
        "area_size": block.area_size,
        "layout": _layout(block.layout),
        "use_alternate_injection": block.use_alternate_injection,
        "debug_serial_port": _hex(block.port),
        "firmware_gpa": _hex(block.firmware[0]),
        "firmware_size": block.firmware[1],
        "kernel_gpa": _hex(block.kernel[0]),
        "kernel_size": block.kernel[1],
        "launch_information": None if settings.launch is None else _launch(settings.launch),
        "alternate_injection": settings.alternate_injection,
        "reader": settings.reader.value,
    }


def _launch(launch: LaunchInformation) -> dict[str, Any]:
    return {
        "gpa": _hex(launch.page.gpa),
        "layout": f"port {launch.port_at}, use_alternate_injection {launch.use_at}",
        "use_alternate_injection": launch.use_alternate_injection,
    }


def _layout(layout: Layout) -> str:
    places = {
        "parameter page": layout.parameter_page,
        "MADT": layout.madt,
        "device tree": layout.device_tree,
        "memory map": layout.memory_map,
        "port": layout.port,
        "use_alternate_injection": layout.use_alternate_injection,
        "firmware": layout.firmware,
        "kernel": layout.kernel,
    }
    return ", ".join(f"{name} {at}" for name, at in places.items() if at is not None)


def _matches(block: SnpIdBlock, measured: Measurement | None) -> str | None:
    """Return whose digest an ID block expects: the specification's or QEMU's, None if it is neither."""
    if measured is None:
        return None
    found = {measured.digest: "specification", measured.qemu: "qemu"}
    return found.get(block.launch_digest)


def _runs(file: IgvmFile) -> Iterator[tuple[Header, Header]]:
    """The headers after the platforms; consecutive pages of one kind are merged into one entry: first and last."""
    first: Header | None = None
    last: Header | None = None
    for header in file.headers:
        if header.kind is HeaderType.SUPPORTED_PLATFORM:
            continue
        if first is not None and last is not None:
            if _continues(last, header):
                last = header
                continue
            yield first, last
        first = last = header
    if first is not None and last is not None:
        yield first, last


def _continues(last: Header, header: Header) -> bool:
    if not isinstance(last, PageData) or not isinstance(header, PageData):
        return False
    kinds = [(page.mask, page.flags, page.data_type, page.type, bool(page.offset)) for page in (last, header)]
    return header.gpa == last.gpa + last.size and kinds[0] == kinds[1]


def _directive(file: IgvmFile, header: Header, last: Header) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": header.name, "mask": None if header.mask is None else _hex(header.mask)}
    match header:
        case PageData():
            assert isinstance(last, PageData)
            entry |= {
                "gpa": _hex(header.gpa),
                "size": last.gpa + last.size - header.gpa,
                "data_type": _name(DataType, header.data_type),
                "flags": [flag.name.lower() for flag in PageFlags if flag & header.flags and flag.name],
                "zero": not header.offset,
            }
        case VpContext():
            entry |= {"gpa": _hex(header.gpa), "vp": header.vp, "vmsa": _vmsa(file, header)}
        case ParameterArea():
            entry |= {"index": header.index, "size": header.size, "zero": not header.offset}
        case Parameter():
            entry |= {"index": header.index, "byte_offset": header.byte_offset}
        case ParameterInsert():
            entry |= {"index": header.index, "gpa": _hex(header.gpa)}
        case MemoryRange():
            entry |= {"gpa": _hex(header.gpa), "size": header.size}
        case GuestPolicy():
            entry |= {"policy": _hex(header.policy), **_policy(file, header)}
        case SnpIdBlock():
            entry |= {"signed": header.signed}
        case _:
            entry |= {"size": len(header.content)}
    return entry


def _vmsa(file: IgvmFile, header: VpContext) -> dict[str, Any] | None:
    """The VMSA, None if the context is another platform's."""
    if file.snp_mask is None or not header.applies(file.snp_mask):
        return None
    contents = file.contents(header)
    if not contents:
        return None
    page = vmsa.Vmsa(contents)
    return {
        "vmpl": page.vmpl,
        "sev_features": _hex(page.features),
        "sev_feature_names": vmsa.feature_names(page.features),
        "entry": _hex(page.entry),
        "registers": {name: _hex(page.field(name)) for name in _SHOWN_REGISTERS},
    }


def _policy(file: IgvmFile, header: GuestPolicy) -> dict[str, Any]:
    if file.snp_mask is None or not header.applies(file.snp_mask):
        return {}
    names = [POLICY_BITS.get(bit, f"bit-{bit}") for bit in range(16, 64) if header.policy >> bit & 1 and bit != 17]
    return {"abi": f"{header.policy >> 8 & 0xFF}.{header.policy & 0xFF}", "policy_names": names}


def _name(kind: type[PlatformType] | type[DataType], value: int) -> str:
    try:
        return kind(value).name
    except ValueError:
        return f"type {value:X}"


def _hex(value: int) -> str:
    return f"{value:#x}"
