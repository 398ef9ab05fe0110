# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts that need no machine; tests/hosts/test_nested.py tests snapshots themselves."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from snp_harness.tools.kvm_host.outer import OVERHEAD_MIB, STEP_MIB, Outer
from snp_harness.tools.kvm_host.pack import Image, Manifest
from snp_harness.tools.kvm_host.snapshot import drop_oldest
from snp_harness.vm.qemu_binary import QemuBinary

IMAGE = Image(Path("/image"), Manifest("trixie", "6.12", {}, "0", False, "3.13"))
OUTER = Outer(IMAGE, QemuBinary(Path("/usr/bin/qemu-system-x86_64"), ("/usr/bin/qemu-system-x86_64",)), 512)


def test_the_oldest_go(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"s{number}").mkdir()
        os.utime(tmp_path / f"s{number}", (1000 + number, 1000 + number))
    os.utime(tmp_path / "s0", (2000, 2000))
    drop_oldest(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s0", "s3", "s4"]


def test_memory_is_in_steps() -> None:
    """Guests of about the same size share a snapshot."""
    assert OUTER.total_mib == 512 + OVERHEAD_MIB
    assert replace(OUTER, memory_mib=128).total_mib == replace(OUTER, memory_mib=500).total_mib == 512 + OVERHEAD_MIB
    assert replace(OUTER, memory_mib=513).total_mib == 512 + OVERHEAD_MIB + STEP_MIB


def test_arguments_name_the_memory() -> None:
    shared = OUTER.arguments(Path("/a,b/memory"), shared=True)
    assert f"memory-backend-file,id=ram,size={OUTER.total_mib}M,mem-path=/a,,b/memory,share=on" in shared
    private = OUTER.arguments(Path("/memory"))
    assert any(argument.endswith("mem-path=/memory,share=off") for argument in private)
    assert not [argument for argument in OUTER.arguments() if "mem-path" in argument]
