# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules as a Debian package has them: compressed or not, with dependencies, some built in."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.kernel_modules import Module, available, load_order, module_index

TIMEOUT_S = 60


def add(directory: Path, path: str, depends: str, *, compressed: bool = False) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (install gcc)")
    target = directory / "kernel" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    source = directory / "source.S"
    source.write_text(f'.section .modinfo, "a"\n.asciz "depends={depends}"\n')
    subprocess.run(["gcc", "-r", "-nostdlib", "-o", target, source], check=True, timeout=TIMEOUT_S)
    if compressed:
        target.with_name(f"{target.name}.xz").write_bytes(lzma.compress(target.read_bytes()))
        target.unlink()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\nkernel/lib/crc-ccitt.ko\n")
    return tmp_path


def test_dependencies_come_first(directory: Path) -> None:
    add(directory, "arch/kvm.ko", "irq-bypass", compressed=True)
    add(directory, "arch/kvm-amd.ko", "kvm,ccp", compressed=True)
    add(directory, "virt/irq-bypass.ko", "crc_ccitt")
    add(directory, "crypto/ccp.ko", "")
    add(directory, "char/console.ko", "virtio")
    modules = load_order(directory, ("virtio", "console", "kvm-amd", "kvm"))
    assert [module.name for module in modules] == ["console", "irq_bypass", "kvm", "ccp", "kvm_amd"]
    assert all(module.data.startswith(b"\x7fELF") for module in modules)


def test_missing_module(directory: Path) -> None:
    with pytest.raises(BrokenEnvironmentError, match="has no module kvm_amd"):
        load_order(directory, ("kvm_amd",))


def test_circle(directory: Path) -> None:
    add(directory, "a.ko", "b")
    add(directory, "b.ko", "a")
    with pytest.raises(BrokenEnvironmentError, match="a depends on itself"):
        load_order(directory, ("a",))


def test_damaged_module(directory: Path) -> None:
    (directory / "a.ko.xz").write_bytes(b"\xfd7zXZ\0 no")
    with pytest.raises(BrokenEnvironmentError, match="is damaged"):
        load_order(directory, ("a",))


def test_no_list_of_what_is_built_in(tmp_path: Path) -> None:
    with pytest.raises(BrokenEnvironmentError, match=r"modules\.builtin cannot be read"):
        load_order(tmp_path, ("a",))


def test_what_a_kernel_has(directory: Path) -> None:
    add(directory, "net/virtio-net.ko", "")
    assert available(directory) == {"virtio_net", "virtio", "crc_ccitt"}


def test_index_for_modprobe() -> None:
    """What is needed comes in the order in which modprobe unloads: what needs others first."""
    modules = [
        Module("failover", b"", (), ()),
        Module("net_failover", b"", ("failover",), ()),
        Module("virtio_net", b"", ("failover", "net_failover", "built_in"), ("virtio:d00000001v*",)),
    ]
    assert module_index(modules) == {
        "modules.dep": b"failover.ko:\nnet_failover.ko: failover.ko\nvirtio_net.ko: net_failover.ko failover.ko\n",
        "modules.alias": b"alias virtio:d00000001v* virtio_net\n",
    }
