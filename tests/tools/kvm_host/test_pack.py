# SPDX-License-Identifier: GPL-2.0-or-later
"""The image made of Debian's packages."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from snp_harness.debian.cache import Entries
from snp_harness.debian.firmware_names import package_directory
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.image import INITRAMFS
from snp_harness.tools.kvm_host.pack import KERNEL, Image, pack
from snp_harness.tools.kvm_host.recipe import Recipe
from tests.tools.initramfs.archive import Entry, assert_every_program_finds_its_libraries, by_name


@pytest.fixture(scope="module")
def entries(kvm_host_image: Image) -> dict[str, Entry]:
    return by_name(kvm_host_image.initramfs.read_bytes())


@pytest.mark.nested
def test_every_program_finds_its_libraries(entries: dict[str, Entry]) -> None:
    assert_every_program_finds_its_libraries(entries)


@pytest.mark.nested
def test_modules_are_listed_in_order(entries: dict[str, Entry]) -> None:
    listed = entries["lib/modules.list"].data.decode().splitlines()
    assert [name.removeprefix("/") for name in listed if name.removeprefix("/") not in entries] == []
    at = {name.rpartition("/")[2]: number for number, name in enumerate(listed)}
    assert at["kvm.ko"] < at["kvm_amd.ko"]


@pytest.mark.nested
def test_what_has_to_be_there(entries: dict[str, Entry], kvm_host_image: Image) -> None:
    python = f"usr/lib/python{kvm_host_image.manifest.python}"
    for name in ("init", "usr/bin/qemu-system-x86_64", "usr/bin/python3", "lib64/ld-linux-x86-64.so.2"):
        assert entries[name].mode == stat.S_IFREG | 0o755
    assert f"{python}/json/decoder.pyc" in entries
    assert f"{python}/ctypes/__init__.pyc" in entries
    assert not [name for name in entries if name.startswith(python) and name.endswith(".py")]
    assert stat.S_ISCHR(entries["dev/console"].mode)


@pytest.mark.nested
def test_the_same_packages_make_the_same_image(kvm_host_image: Image, tmp_path: Path) -> None:
    suite = kvm_host_image.manifest.suite
    packages = Entries(package_directory(suite, "kvm-host-packages")).current()
    assert packages is not None
    pack(packages, Recipe.load(), suite, kvm_host_image.manifest.packages, tmp_path)
    for name in (KERNEL, INITRAMFS):
        assert (tmp_path / name).read_bytes() == (kvm_host_image.directory / name).read_bytes()
    assert Image.load(tmp_path).manifest == kvm_host_image.manifest


def test_packages_without_a_kernel(tmp_path: Path) -> None:
    with pytest.raises(BrokenEnvironmentError, match="modules of a kernel 0 times"):
        pack(tmp_path, Recipe.load(), "trixie", {}, tmp_path / "image")


def test_no_image_in_a_directory(tmp_path: Path) -> None:
    with pytest.raises(BrokenEnvironmentError, match="no complete image"):
        Image.load(tmp_path)
