# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified Linux as an SNP guest of the emulated host: Debian's kernel, up to its root file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Outcome, Phase
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm import rundir
from tests.platforms.boots import boot

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

#: Address of Linux's text (Documentation/arch/x86/x86_64/mm.rst).
KERNEL_TEXT = 0xFFFF_FFFF_8000_0000
#: It gets no root file system.
PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"


@pytest.mark.parametrize(("config", "vmpl", "vcpus"), [("no-svsm", 0, 1), ("alternate-injection-off", 2, 4)])
def test_to_the_root_file_system(
    config: str, vmpl: int, vcpus: int, trixie_path: Path, kvm_host_image: Image, tmp_path: Path
) -> None:
    kernel = ("-kernel", str(kvm_host_image.kernel), "-append", "console=ttyS0 nokaslr panic=-1")
    result = boot(trixie_path, tmp_path / "out", config, vcpus=vcpus, until="shell", timeout_s=300, extra_args=kernel)
    timeline = result.timeline
    assert timeline.gaps == (f"the guest crashed in OS: {PANIC}",)
    text = (result.directory / rundir.SERIAL).read_text(errors="replace")
    assert "Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP" in text
    assert f"SEV: SNP running at VMPL{vmpl}." in text
    assert f"smp: Brought up 1 node, {vcpus} CPU" in text
    # The whole crash message is kept, not only the first line.
    assert "Call Trace:" in text[text.index(PANIC) :]
    own = [access for access in timeline.accesses if access.pc is not None and access.pc >= KERNEL_TEXT]
    assert {(access.vcpu, access.vmpl, access.phase) for access in own} == {(n, vmpl, Phase.OS) for n in range(vcpus)}
    assert {access.outcome for access in own} == {Outcome.OK}
