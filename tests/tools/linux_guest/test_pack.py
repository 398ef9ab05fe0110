# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux guest's image made of Debian's packages."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from snp_harness.debian.cache import Entries
from snp_harness.debian.firmware_names import package_directory
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.image import INITRAMFS
from snp_harness.tools.linux_guest.pack import KERNEL, LinuxImage, pack
from snp_harness.tools.linux_guest.recipe import Recipe
from tests.tools.initramfs.archive import Entry, assert_every_program_finds_its_libraries, by_name


@pytest.fixture(scope="module")
def entries(linux_image: LinuxImage) -> dict[str, Entry]:
    return by_name(linux_image.initramfs.read_bytes())


@pytest.mark.emulated
def test_every_program_finds_its_libraries(entries: dict[str, Entry]) -> None:
    assert_every_program_finds_its_libraries(entries)


@pytest.mark.emulated
def test_what_has_to_be_there(entries: dict[str, Entry], linux_image: LinuxImage) -> None:
    for name in ("usr/bin/busybox", "usr/sbin/sshd", "usr/lib/openssh/sftp-server", "usr/sbin/rdmsr", "usr/sbin/kexec"):
        assert entries[name].mode == stat.S_IFREG | 0o755
    assert entries["init"].data == b"usr/bin/busybox"
    assert stat.S_ISCHR(entries["dev/console"].mode)
    assert entries["root"].mode == stat.S_IFDIR | 0o700
    # No key is part of the image: every run has its own.
    assert not [name for name in entries if "ssh_host" in name or "authorized" in name]


@pytest.mark.emulated
def test_modprobe_finds_modules_and_what_they_need(entries: dict[str, Entry], linux_image: LinuxImage) -> None:
    place = f"lib/modules/{linux_image.manifest.kernel}"
    lines = dict(line.split(":") for line in entries[f"{place}/modules.dep"].data.decode().splitlines())
    assert "virtio_net.ko" in lines
    for name, needed in lines.items():
        assert {f"{place}/{one}" for one in (name, *needed.split())} <= entries.keys()
    assert "failover.ko" in lines["virtio_net.ko"].split()
    aliases = entries[f"{place}/modules.alias"].data.decode().splitlines()
    assert "alias virtio:d00000001v* virtio_net" in aliases


@pytest.mark.emulated
def test_the_same_packages_make_the_same_image(linux_image: LinuxImage, tmp_path: Path) -> None:
    suite = linux_image.manifest.suite
    packages = Entries(package_directory(suite, "linux-guest-packages")).current()
    assert packages is not None
    pack(packages, Recipe.load(), suite, linux_image.manifest.packages, tmp_path)
    for name in (KERNEL, INITRAMFS):
        assert (tmp_path / name).read_bytes() == (linux_image.directory / name).read_bytes()
    assert LinuxImage.load(tmp_path).manifest == linux_image.manifest


def test_packages_without_a_kernel(tmp_path: Path) -> None:
    with pytest.raises(BrokenEnvironmentError, match="modules of a kernel 0 times"):
        pack(tmp_path, Recipe.load(), "trixie", {}, tmp_path / "image")


def test_no_image_in_a_directory(tmp_path: Path) -> None:
    with pytest.raises(BrokenEnvironmentError, match="no complete image"):
        LinuxImage.load(tmp_path)
