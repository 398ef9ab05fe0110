# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified Linux as an SNP guest of the emulated host: Debian's kernel, up to its root file system."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import zipfile
from pathlib import Path

import pytest

from snp_harness.apic.access import Outcome, Phase
from snp_harness.firmware_run import RunSpec
from snp_harness.svsm.config import load_config
from snp_harness.tools.kvm_host.cpio import CpioWriter
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm import rundir
from tests.platforms.boots import boot, run

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


#: The nested host's first process runs this in Linux: it moves its port's interrupt from CPU to CPU, and uses the port.
PROGRAM = """
import os, sys
def main():
    lines = open("/proc/interrupts").read().splitlines()
    [number] = [line.split(":")[0].strip() for line in lines if "virtio0-virtqueues" in line]
    for cpu in range(4):
        with open(f"/proc/irq/{number}/smp_affinity_list", "w") as file:
            file.write(str(cpu))
        for _ in range(3):
            os.write(1, b"x")
            os.read(0, 1)
    print(open("/proc/interrupts").read(), file=sys.stderr)
"""
MODULE_LIST = re.compile(rb"(/lib/modules/[\w-]+\.ko\n)+")


def _without_kvm(initramfs: Path, into: Path) -> None:
    """The nested host's initramfs for a processor without SVM: a second archive replaces the list of modules."""
    base = initramfs.read_bytes()
    modules = MODULE_LIST.search(base)
    assert modules is not None
    wanted = [line for line in modules[0].splitlines(keepends=True) if b"virtio" in line]
    with into.open("wb") as file:
        file.write(base)
        writer = CpioWriter(file)
        writer.add("lib/modules.list", b"".join(wanted))
        writer.finish()


def _archive() -> bytes:
    """PROGRAM as the nested host's agent, with its size in front (guests/kvm_host/start.py)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in {"": "", "agent/": "", "agent/__main__.py": PROGRAM}.items():
            archive.writestr(f"snp_harness/{name}" if name.endswith("py") else f"snp_harness/{name}__init__.py", text)
    return b"%08d" % len(content.getvalue()) + content.getvalue()


def test_messages_interrupt_the_vcpu_that_linux_chooses(
    trixie_path: Path, kvm_host_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    _without_kvm(kvm_host_image.initramfs, tmp_path / "initrd")
    out = tmp_path / "out"
    port, connected = socket.socket(socket.AF_UNIX), list[bool]()

    def send_when_ready(_phase: Phase, _accesses: int, _exits: int | None) -> None:
        """Connect once QEMU listens; send once Linux has opened the port; then return what comes."""
        if not connected:
            with contextlib.suppress(OSError):
                port.connect("port")
                connected.append(True)
        elif len(connected) == 1 and b"kvm-host: ready" in (out / rundir.SERIAL).read_bytes():
            port.sendall(_archive())
            connected.append(True)
        elif len(connected) == 2:
            with contextlib.suppress(BlockingIOError):
                port.sendall(port.recv(4096, socket.MSG_DONTWAIT))

    arguments = (
        *("-kernel", str(kvm_host_image.kernel), "-initrd", str(tmp_path / "initrd")),
        *("-append", "console=ttyS0 quiet nokaslr panic=-1", "-device", "virtio-serial-pci,id=bus,max_ports=2"),
        *("-chardev", f"socket,id=port,path={tmp_path / 'port'},server=on,wait=off"),
        *("-device", "virtserialport,bus=bus.0,nr=1,chardev=port"),
    )
    spec = RunSpec(
        trixie_path,
        vcpus=4,
        memory_mib=1024,
        svsm=load_config("plain"),
        until="shell",
        timeout_s=300,
        extra_args=arguments,
    )
    with port:
        run(spec, "emulated", out, send_when_ready)
    text = (out / rundir.SERIAL).read_text(errors="replace")
    [line] = [line for line in text.splitlines() if "virtio0-virtqueues" in line]
    assert all(int(count) > 0 for count in line.split()[1:5]), line
