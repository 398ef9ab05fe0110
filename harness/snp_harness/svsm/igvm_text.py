# SPDX-License-Identifier: GPL-2.0-or-later
"""The contents of an IGVM file as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_show import to_json


def to_text(file: IgvmFile) -> list[str]:
    """The lines that `igvm show` prints."""
    shown = to_json(file)
    right = "right" if shown["checksum_is_right"] else "WRONG: loaders refuse the file"
    lines = [
        f"{file.name}: IGVM version {file.version}, {shown['architecture']}, {len(file.data) >> 10} KiB,"
        f" {len(file.headers)} headers, checksum {right}",
        "",
        "Platforms",
    ]
    for platform in shown["platforms"]:
        boundary = int(platform["shared_gpa_boundary"], 16)
        shared = f", shared above {boundary:X}" if boundary else ""
        lines.append(
            f"  mask {platform['mask']:<5} {platform['platform']}, highest VTL {platform['highest_vtl']}{shared}"
        )
    lines += ["", "Directives"]
    for entry in shown["directives"]:
        mask = "" if entry["mask"] is None else f"mask {entry['mask']}"
        lines.append(f"  {entry['type']:<28} {mask:<10} {_entry_text(entry)}".rstrip())
        if entry.get("vmsa"):
            lines += _vmsa_text(entry["vmsa"])
    if shown["directive_count"] > len(shown["directives"]):
        lines.append(f"  ... and {shown['directive_count'] - len(shown['directives'])} more")
    lines += ["", "Parameter areas (SEV-SNP)"]
    for area in shown["parameter_areas"]:
        lines.append(f"  gpa {_upper(area['gpa'])}, size {area['size']:X}: {', '.join(area['values']) or 'no value'}")
    if not shown["parameter_areas"]:
        lines.append("  none")
    lines += ["", "Boot parameter block (COCONUT)"]
    for block in shown["parameter_block"]:
        lines += _block_text(block)
    if not shown["parameter_block"]:
        lines.append("  none was found")
    return lines + _launch_text(shown)


def _block_text(block: dict[str, Any]) -> Iterator[str]:
    copies = "".join(f", copy at {_upper(gpa)}" for gpa in block["copies"])
    yield f"  gpa {_upper(block['gpa'])}, {block['area_size']:X} bytes with its parameter areas{copies}"
    yield f"  found at offsets: {block['layout']}"
    yield f"  use_alternate_injection = {int(block['use_alternate_injection'])} in the block"
    launch = block["launch_information"]
    if launch is not None:
        use = int(launch["use_alternate_injection"])
        yield f"  use_alternate_injection = {use} in the launch information"
        yield f"  launch information: gpa {_upper(launch['gpa'])}, found at offsets: {launch['layout']}"
    state = {True: "on", False: "off", None: "unknown"}[block["alternate_injection"]]
    yield f"  Alternate Injection: {state} ({block['reader']})"
    yield f"  debug_serial_port = {_upper(block['debug_serial_port'])}"
    yield f"  SVSM's kernel at {_upper(block['kernel_gpa'])}, size {block['kernel_size']:X}"
    yield f"  firmware at {_upper(block['firmware_gpa'])}, size {block['firmware_size']:X}"


def _launch_text(shown: dict[str, Any]) -> list[str]:
    lines = ["", "SEV-SNP launch"]
    if shown["launch_digest"] is None:
        return [*lines, "  the file is not for SEV-SNP"]
    lines.append(f"  launch digest {shown['launch_digest']}")
    if shown["launch_digest_qemu"] not in (None, shown["launch_digest"]):
        lines.append(f"  by QEMU       {shown['launch_digest_qemu']}")
    lines += [f"  note: {note}" for note in shown["launch_digest_notes"]]
    for block in shown["id_blocks"]:
        signed = "signed (the signature was not checked)" if block["signed"] else "not signed"
        whose = {"specification": "the launch digest", "qemu": "QEMU's launch digest"}
        matches = whose.get(block["matches"], f"ANOTHER digest, {block['launch_digest']}")
        lines.append(f"  ID block: {signed}, {matches}")
    return lines


def _entry_text(entry: dict[str, Any]) -> str:
    parts = []
    if "gpa" in entry:
        parts.append(f"gpa {_upper(entry['gpa'])}")
    if "index" in entry:
        parts.append(f"area {entry['index']}")
    if "byte_offset" in entry:
        parts.append(f"offset {entry['byte_offset']:X}")
    if "size" in entry:
        parts.append(f"size {entry['size']:X}")
    if "data_type" in entry:
        parts += [entry["data_type"], *entry["flags"], *(["zero"] if entry["zero"] else [])]
    if "policy" in entry:
        parts.append(
            " ".join([_upper(entry["policy"]), f"ABI {entry['abi']}", *entry["policy_names"]])
            if "abi" in entry
            else _upper(entry["policy"])
        )
    if "vp" in entry:
        parts.append(f"vCPU {entry['vp']}")
    return ", ".join(parts)


def _vmsa_text(shown: dict[str, Any]) -> list[str]:
    names = " ".join(shown["sev_feature_names"]) or "none"
    registers = " ".join(f"{name}={_upper(value)}" for name, value in shown["registers"].items())
    return [
        f"      VMPL{shown['vmpl']}, SEV_FEATURES {_upper(shown['sev_features'])}: {names}",
        f"      entry {_upper(shown['entry'])}, {registers}",
    ]


def _upper(text: str) -> str:
    return text.removeprefix("0x").upper()
