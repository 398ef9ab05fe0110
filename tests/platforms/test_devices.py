# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of the user: OVMF drives them on the emulated host, with 64-bit BARs at the end of its address space."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snp_harness.vm import rundir
from tests.platforms.boots import boot

pytestmark = pytest.mark.emulated

#: Drive, and the device path of its file system in the shell's map.
DISKS = {
    "ahci": r"Pci\(0x1F,0x2\)/Sata\(0x0,0xFFFF,0x0\)",
    "virtio": r"Pci\(0x2,0x0\)",
    "nvme": r"Pci\(0x3,0x0\)/NVMe\(0x1,[-0]+\)",
    "scsi": r"Pci\(0x4,0x0\)/Scsi\(0x0,0x0\)",
    "usb": r"Pci\(0x5,0x0\)/USB\(0x0,0x0\)",
}


def devices(directory: Path) -> tuple[str, ...]:
    """QEMU's arguments: a disk with the files of a directory behind each kind of controller."""
    virtio = "disable-legacy=on,iommu_platform=on"
    drives = (f"file=fat:{directory},format=raw,if=none,id={name},snapshot=on" for name in DISKS)
    return (
        *(word for drive in drives for word in ("-drive", drive)),
        *("-device", "ide-hd,drive=ahci,bus=ide.0"),
        *("-device", f"virtio-blk-pci,addr=02.0,drive=virtio,{virtio}"),
        *("-device", "nvme,addr=03.0,drive=nvme,serial=1"),
        *("-device", f"virtio-scsi-pci,addr=04.0,id=hba,{virtio}", "-device", "scsi-hd,drive=scsi,bus=hba.0"),
        *("-device", "qemu-xhci,addr=05.0,id=xhci", "-device", "usb-storage,drive=usb,bus=xhci.0"),
    )


@pytest.mark.parametrize(
    "config",
    [
        "plain",
        pytest.param("no-svsm", marks=pytest.mark.slow),
        pytest.param("alternate-injection-native-io", marks=pytest.mark.slow),
    ],
)
def test_ovmf_finds_each_file_system(config: str, trixie_path: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    result = boot(trixie_path, tmp_path / "out", config, until="shell", extra_args=devices(files))
    console = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "\n", (result.directory / rundir.SERIAL).read_text(errors="replace"))
    for name, path in DISKS.items():
        assert re.search(rf"FS\d:[^/]*PciRoot\(0x0\)/{path}/HD\(1,", console), name
