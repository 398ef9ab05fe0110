# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's firmware descriptors, which list the installed images.

Format and directories: QEMU docs/interop/firmware.json. The reader of virt-firmware (virt.qemutest) is not used: it
treats a descriptor without "mode" as one without variables, although the default is "split", and checks no values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from snp_harness.xdg import config_home

_SYSTEM_DIRECTORIES = (Path("/etc/qemu/firmware"), Path("/usr/share/qemu/firmware"))
_MAX_DESCRIPTOR_SIZE = 1 << 20
_MAX_DESCRIPTORS = 1000


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One installed firmware. code: its image, or the CODE half. vars: the VARS half's template, None if not split."""

    file: Path
    description: str
    code: Path
    vars: Path | None
    features: frozenset[str]


class _File(msgspec.Struct):
    filename: str
    format: str = "raw"


class _Mapping(msgspec.Struct):
    device: str
    mode: Literal["split", "combined", "stateless"] = "split"
    executable: _File | None = None
    nvram_template: _File | None = msgspec.field(name="nvram-template", default=None)
    filename: str | None = None


class _Target(msgspec.Struct):
    architecture: str
    machines: list[str] = []


class _Firmware(msgspec.Struct):
    mapping: _Mapping
    description: str = ""
    interface_types: list[str] = msgspec.field(name="interface-types", default=[])
    targets: list[_Target] = []
    features: list[str] = []


def directories() -> tuple[Path, ...]:
    """The directories of descriptors; a file in an earlier one hides the file of the same name in a later one."""
    return (config_home() / "qemu" / "firmware", *_SYSTEM_DIRECTORIES)


def read_descriptors(where: tuple[Path, ...] | None = None) -> tuple[Descriptor, ...]:
    """Return the descriptors of x86-64 UEFI images in raw format, in QEMU's order of preference.

    Files that are not descriptors are left out, as are those hidden by an empty file of the same name.
    """
    return tuple(descriptor for file in _files(where or directories()) if (descriptor := _parse(file)) is not None)


def _files(where: tuple[Path, ...]) -> Iterator[Path]:
    chosen: dict[str, Path] = {}
    for directory in where:
        try:
            names = sorted(entry.name for entry in directory.iterdir() if entry.name.endswith(".json"))
        except OSError:
            continue
        for name in names[:_MAX_DESCRIPTORS]:
            chosen.setdefault(name, directory / name)
    return (chosen[name] for name in sorted(chosen))


def _parse(file: Path) -> Descriptor | None:
    try:
        if not file.is_file() or not 0 < file.stat().st_size <= _MAX_DESCRIPTOR_SIZE:
            return None
        firmware = msgspec.json.decode(file.read_bytes(), type=_Firmware)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if "uefi" not in firmware.interface_types or all(t.architecture != "x86_64" for t in firmware.targets):
        return None
    mapping = firmware.mapping
    code, template = None, None
    if mapping.device == "memory":
        code = mapping.filename
    elif mapping.device == "flash" and mapping.executable is not None and mapping.executable.format == "raw":
        code = mapping.executable.filename
        if mapping.mode == "split" and mapping.nvram_template is not None and mapping.nvram_template.format == "raw":
            template = mapping.nvram_template.filename
    if code is None or not code.startswith("/"):
        return None
    return Descriptor(
        file=file,
        description=firmware.description,
        code=Path(code),
        vars=Path(template) if template else None,
        features=frozenset(firmware.features),
    )
