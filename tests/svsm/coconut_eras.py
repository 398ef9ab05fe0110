# SPDX-License-Identifier: GPL-2.0-or-later
"""The layouts of COCONUT's boot parameter block and launch information since 2024, for the writer of test files.

From the history of coconut-svsm/svsm: bootlib/src/igvm_params.rs, later boot/defs/src/boot_params.rs (the block);
boot/defs/src/kernel_launch.rs (the launch information); igvmbuilder and kernel/src/stage2.rs (who sets and reads it).
An era begins with a commit, and lists the release tags in it; the oldest tag is v2025.08. Fields are "name:bytes";
a name with a number is a row of fields.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The firmware's part of the block: first, with a memory map (2024-06-10), with a vTOM (2026-03-21).
_FIRMWARE = "fw_start:4 fw_size:4 low:1 -:7 fw_secrets:4 fw_caa:4 fw_cpuid:4 fw_count:4 -:64"
_FIRMWARE_MAP = _FIRMWARE.replace("fw_count", "fw_map:4 fw_map_size:4 fw_count")
_FIRMWARE_VTOM = _FIRMWARE_MAP.replace("low", "fw_vtom:8 low")

_WORDS_2024 = "area:4 param:4 map:4 context:4 cpuid:4 secrets:4"
_WORDS_FEW = "area:4 param:4 map:4 context:4"
_WORDS_MADT = "area:4 param:4 madt:4 madt_size:4 map:4 context:4"
_WORDS_TREE = "area:4 param:4 madt:4 madt_size:4 tree:4 tree_size:4 map:4 context:4"

_FLAGS_2025 = "port:2 use:1 suppress:1 testdev:1 fw_cfg:1 io_requests:1 -:1"
_FLAGS_VMSA = "port:2 use:1 suppress:1 testdev:1 fw_cfg:1 io_requests:1 vmsa:1"

_STAGE1 = "stage1_size:4 -:4 stage1:8"
_KERNEL_2024 = "reserved:4 kernel_size:4 kernel:8 vtom:8"
_KERNEL_2025 = "reserved:4 kernel:8 kernel_size:4 kernel_max:4 vtom:8"
_KERNEL = "kernel:8 kernel_size:4 kernel_max:4"

_LAUNCH = "kernel:8 kernel_end:8 heap_offset:8 heap_used:8 virt:8 direct_map:8 fs:8 fs_end:8 loader:8"
_LAUNCH_2 = (
    "cpuid_va:8 secrets_va:8 idt_va:8 block_va:8 symbols:8 symbols_size:8 strings:8 strings_size:8 vtom:8 tables_va:8"
)


@dataclass(frozen=True)
class Era:
    """since: the date of `commit`. block, launch: fields; launch is None before it is in the file.

    reads: who reads use_alternate_injection: "stage2" from the block, "kernel" from the launch information, "" nobody.
    copied: stage 2 has the block, the kernel's memory a copy. may_lack_madt: on QEMU there was no MADT.
    builder_sets: igvmbuilder copies use_alternate_injection into the launch information.
    """

    since: str
    commit: str
    tags: tuple[str, ...]
    block: str
    reads: str
    launch: str | None = None
    copied: bool = False
    may_lack_madt: bool = False
    builder_sets: bool = True

    @property
    def name(self) -> str:
        return self.tags[0] if self.tags else self.since


def _tags(*numbers: str) -> tuple[str, ...]:
    return tuple(f"v{number}-devel" for number in numbers)


ERAS = (
    Era("2024-02-12", "b9829e8e", (), f"{_WORDS_2024} port:2 -:6 {_FIRMWARE} {_KERNEL_2024}", reads=""),
    Era(
        "2024-06-14",
        "2d55a4be",
        (),
        f"{_WORDS_2024} port:2 use:1 -:5 {_FIRMWARE_MAP} {_KERNEL_2024}",
        reads="stage2",
    ),
    Era(
        "2024-06-21",
        "6dd75d43",
        (),
        f"{_WORDS_2024} port:2 use:1 -:5 {_FIRMWARE_MAP} {_STAGE1} {_KERNEL_2024}",
        reads="stage2",
    ),
    Era(
        "2024-08-16",
        "b95136bd",
        (),
        f"{_WORDS_FEW} port:2 use:1 -:5 {_FIRMWARE_MAP} {_STAGE1} {_KERNEL_2024}",
        reads="stage2",
    ),
    Era(
        "2024-12-17",
        "1f460dae",
        (),
        f"{_WORDS_FEW} port:2 use:1 testdev:1 -:4 {_FIRMWARE_MAP} {_STAGE1} {_KERNEL_2024}",
        reads="stage2",
    ),
    Era(
        "2025-01-16",
        "7ce600fc",
        (),
        f"{_WORDS_FEW} port:2 use:1 testdev:1 -:4 {_FIRMWARE_MAP} {_STAGE1} {_KERNEL_2025}",
        reads="stage2",
    ),
    Era(
        "2025-02-26",
        "2d6a7fc7",
        (),
        f"{_WORDS_MADT} port:2 use:1 testdev:1 -:4 {_FIRMWARE_MAP} {_STAGE1} {_KERNEL_2025}",
        reads="stage2",
        may_lack_madt=True,
    ),
    Era(
        "2025-07-09",
        "56c43b2f",
        _tags("2025.08", "2025.09", "2025.10"),
        f"{_WORDS_MADT} {_FLAGS_2025} {_FIRMWARE_MAP} {_STAGE1} {_KERNEL_2025}",
        reads="stage2",
        may_lack_madt=True,
    ),
    Era(
        "2025-11-20",
        "a62ff5c1",
        _tags("2025.11", "2025.12", "2026.01"),
        f"{_WORDS_MADT} {_FLAGS_2025} {_FIRMWARE_MAP} {_STAGE1} {_KERNEL_2025}",
        reads="stage2",
    ),
    # Stage 2 makes the launch information by a library, with use_alternate_injection = false.
    Era(
        "2026-02-13",
        "a4e53ae1",
        _tags("2026.02"),
        f"{_WORDS_MADT} {_FLAGS_VMSA} {_FIRMWARE_MAP} {_STAGE1} {_KERNEL} vtom:8",
        reads="",
    ),
    Era("2026-02-27", "5459395e", (), f"{_WORDS_MADT} {_FLAGS_VMSA} {_FIRMWARE_MAP} {_KERNEL}", reads=""),
    Era(
        "2026-03-21",
        "0a9683e4",
        _tags("2026.03"),
        f"{_WORDS_MADT} {_FLAGS_VMSA} {_FIRMWARE_VTOM} {_KERNEL}",
        reads="",
    ),
    # igvmbuilder makes it by that library.
    Era(
        "2026-04-01",
        "a1f1c9e8",
        _tags("2026.04"),
        f"{_WORDS_MADT} {_FLAGS_VMSA} {_FIRMWARE_VTOM} {_KERNEL}",
        reads="kernel",
        launch=f"{_LAUNCH} {_LAUNCH_2} port:2 vmsa:1 use:1 suppress_not:1 low_valid:1 -:2",
        copied=True,
        builder_sets=False,
    ),
    Era(
        "2026-05-15",
        "f5137ae3",
        _tags("2026.05"),
        f"{_WORDS_MADT} {_FLAGS_VMSA} {_FIRMWARE_VTOM} {_KERNEL}",
        reads="kernel",
        launch=f"{_LAUNCH} {_LAUNCH_2} low_tables:4 low_count:4 port:2 vmsa:1 use:1 suppress_not:1 low_valid:1 -:2",
    ),
    Era(
        "2026-06-02",
        "7c75bdf7",
        _tags("2026.06"),
        f"{_WORDS_MADT} {_FLAGS_VMSA} {_FIRMWARE_VTOM} {_KERNEL}",
        reads="kernel",
        launch=f"{_LAUNCH} loader_end:8 {_LAUNCH_2} ap_start:4 port:2 vmsa:1 use:1 suppress_not:1 -:7",
    ),
    Era(
        "2026-07-07",
        "3dcb8030",
        _tags("2026.07"),
        f"{_WORDS_MADT} port:2 use:1 testdev:1 fw_cfg:1 io_requests:1 vmsa:1 -:1 {_FIRMWARE_VTOM} {_KERNEL}",
        reads="kernel",
        launch=f"{_LAUNCH} loader_end:8 {_LAUNCH_2} ap_start:4 port:2 vmsa:1 use:1",
    ),
    Era(
        "2026-07-29",
        "d7847509",
        (),
        f"{_WORDS_TREE} port:2 use:1 testdev:1 io_requests:1 vmsa:1 -:2 {_FIRMWARE_VTOM} {_KERNEL}",
        reads="kernel",
        launch=f"{_LAUNCH} loader_end:8 {_LAUNCH_2} ap_start:4 port:2 vmsa:1 use:1",
    ),
)


def offsets(fields: str) -> dict[str, int]:
    """The offset of each named field."""
    found: dict[str, int] = {}
    at = 0
    for field in fields.split():
        name, _, size = field.partition(":")
        if name != "-":
            found[name] = at
        at += int(size)
    return found


def fill(fields: str, values: dict[str, int]) -> bytes:
    """A page with these values in the fields that have the names; other fields are zero."""
    page = b""
    for field in fields.split():
        name, _, size = field.partition(":")
        page += values.get(name, 0).to_bytes(int(size), "little")
    return page.ljust(4096, b"\0")
