# SPDX-License-Identifier: GPL-2.0-or-later
"""The change to kvm-amd, on modules made here and on Debian's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.tools.initramfs.kernel_modules import load_order
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.tools.kvm_host.patch import FUNCTION, intercept_cr8, without_signature
from tests.tools.initramfs.archive import read

MARK = b"~Module signature appended~\n"
TIMEOUT_S = 60


def module(directory: Path, text: str) -> bytes:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (install gcc)")
    (directory / "m.S").write_text(f'.text\n.ascii "before"\n.type {FUNCTION}, @function\n{text}\n')
    subprocess.run(
        ["gcc", "-r", "-nostdlib", "-o", directory / "m.ko", directory / "m.S"], check=True, timeout=TIMEOUT_S
    )
    return (directory / "m.ko").read_bytes()


def signed(data: bytes, signature: bytes) -> bytes:
    return data + signature + bytes(8) + len(signature).to_bytes(4, "big") + MARK


@pytest.mark.parametrize("start", ["endbr64\ncall __fentry__", "call __fentry__", ""])
def test_function_returns_at_once(tmp_path: Path, start: str) -> None:
    """The call that ftrace rewrites is kept."""
    before = module(tmp_path, f"{FUNCTION}: {start}\npush %r12\npush %rbp\nret\n.size {FUNCTION}, .-{FUNCTION}")
    after = intercept_cr8(signed(before, b"signature"))
    assert len(after) == len(before)
    (at,) = (index for index in range(len(before)) if before[index] != after[index])
    assert (before[at : at + 2], after[at]) == (b"\x41\x54", 0xC3)


def test_module_without_the_function(tmp_path: Path) -> None:
    data = signed(module(tmp_path, "other: ret\n"), b"signature")
    assert intercept_cr8(data) == data


def test_signature() -> None:
    assert without_signature(b"module") == b"module"
    assert without_signature(signed(b"module", b"s" * 300)) == b"module"
    with pytest.raises(BrokenEnvironmentError, match="signature is damaged"):
        without_signature(b"x" * 12 + MARK)


@pytest.mark.nested
def test_debian_module(kvm_host_image: Image) -> None:
    """The module in the image differs from the package's in one byte."""
    entries = {entry.name: entry.data for entry in read(kvm_host_image.initramfs.read_bytes())}
    root = kvm_host_image.directory.parents[1] / "kvm-host-packages" / "current"
    (directory,) = [*root.glob("lib/modules/*"), *root.glob("usr/lib/modules/*")]
    modules = {module.name: module.data for module in load_order(directory, ("kvm_amd",))}
    ours = entries["lib/modules/kvm_amd.ko"]
    theirs = without_signature(modules["kvm_amd"])
    assert len(ours) == len(theirs)
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) == 1
    assert entries["lib/modules/kvm.ko"] == modules["kvm"]
