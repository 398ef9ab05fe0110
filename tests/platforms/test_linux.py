# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified Linux as an SNP guest of the emulated host: Debian's kernel, up to its root file system."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path

import pytest

from snp_harness.apic.access import Outcome, Phase
from snp_harness.platforms.memory_map import memory_map
from snp_harness.tools.initramfs.cpio import CpioWriter
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm import rundir
from tests.helpers import snp_report
from tests.platforms.boots import boot
from tests.platforms.linux_guest import kernel_modules, run_in_linux

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

#: Address of Linux's text (Documentation/arch/x86/x86_64/mm.rst).
KERNEL_TEXT = 0xFFFF_FFFF_8000_0000
COMPILE_TIMEOUT_S = 120
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


def _initramfs(program: Path, into: Path) -> None:
    with into.open("wb") as file:
        writer = CpioWriter(file)
        writer.directory("proc")
        writer.character_device("dev/console", 5, 1)
        writer.add("init", program.read_bytes(), 0o755)
        writer.finish()


def test_avx_state_is_kept(trixie_path: Path, kvm_host_image: Image, tmp_path: Path) -> None:
    """At VMPL2, on two vCPUs."""
    compiler = os.environ.get("CC", "gcc")
    command = [
        compiler,
        "-static",
        "-O1",
        "-mavx2",
        "-o",
        str(tmp_path / "init"),
        str(Path(__file__).with_name("avx.c")),
    ]
    subprocess.run(command, check=True, timeout=COMPILE_TIMEOUT_S)
    _initramfs(tmp_path / "init", tmp_path / "initrd")
    kernel = ("-kernel", str(kvm_host_image.kernel), "-initrd", str(tmp_path / "initrd"))
    options = ("-append", "console=ttyS0 nokaslr panic=-1")
    result = boot(
        trixie_path,
        tmp_path / "out",
        "alternate-injection-off",
        vcpus=2,
        until="shell",
        timeout_s=300,
        extra_args=(*kernel, *options),
    )
    text = (result.directory / rundir.SERIAL).read_text(errors="replace")
    [flags] = [line.split() for line in text.splitlines() if line.startswith("avx-test flags")]
    assert {"xsave", "xsaveopt", "xsavec", "xgetbv1", "avx", "avx2", "fma", "rdseed"} < set(flags)
    assert "avx-test: 0 of 4 processes failed, compacted format ok" in text


#: It moves its port's interrupt from CPU to CPU, and uses the port.
MOVE_INTERRUPT = """
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


def test_messages_interrupt_the_vcpu_that_linux_chooses(
    trixie_path: Path, kvm_host_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = run_in_linux(MOVE_INTERRUPT, kvm_host_image, trixie_path, "plain", vcpus=4)
    [line] = [line for line in text.splitlines() if "virtio0-virtqueues" in line]
    assert all(int(count) > 0 for count in line.split()[1:5]), line


#: Each CPU but the first goes offline and comes again, once: Linux 6.12 leaves the GHCB of one that was offline marked
#: as in use (sev_es_ap_hlt_loop), and panics when it comes the second time. Then each runs a process and takes the
#: port's interrupt.
CPUS_GO_AND_COME = """
import os, sys
def write(path, text):
    with open(path, "w") as file:
        file.write(text)
def main():
    for cpu in range(1, 4):
        for state in "01":
            write(f"/sys/devices/system/cpu/cpu{cpu}/online", state)
            print("online:", open("/sys/devices/system/cpu/online").read(), end="", file=sys.stderr)
    lines = open("/proc/interrupts").read().splitlines()
    [number] = [line.split(":")[0].strip() for line in lines if "virtio0-virtqueues" in line]
    for cpu in range(4):
        os.sched_setaffinity(0, {cpu})
        write(f"/proc/irq/{number}/smp_affinity_list", str(cpu))
        for _ in range(3):
            os.write(1, b"x")
            os.read(0, 1)
    print(open("/proc/interrupts").read(), file=sys.stderr)
"""


@pytest.mark.parametrize("config", ["no-svsm", "alternate-injection-off"])
def test_cpus_go_and_come_again(
    config: str, trixie_path: Path, kvm_host_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By AP creation; under the SVSM by CREATE_VCPU and DELETE_VCPU, too."""
    monkeypatch.chdir(tmp_path)
    text = run_in_linux(CPUS_GO_AND_COME, kvm_host_image, trixie_path, config, vcpus=4)
    online = re.findall(r"^online: (\S+)", text, re.MULTILINE)
    assert online == ["0,2-3", "0-3", "0-1,3", "0-3", "0-2", "0-3"], text
    [line] = [line for line in text.splitlines() if "virtio0-virtqueues" in line]
    assert all(int(count) > 0 for count in line.split()[1:5]), line


#: Writes to nine tenths of the free memory, but no more than 800 MiB.
FILL_MEMORY = """
import mmap, re, sys
def main():
    print("".join(line for line in open("/proc/iomem") if "System RAM" in line), file=sys.stderr)
    text = open("/proc/meminfo").read()
    print(text, file=sys.stderr)
    size = min(int(re.search(r"MemAvailable: *([0-9]+)", text)[1]) * 1024 * 9 // 10, 800 << 20)
    memory = mmap.mmap(-1, size)
    for at in range(0, size, 4096):
        memory[at] = 0xA5
    print("filled", all(memory[at] == 0xA5 for at in range(0, size, 4096)), size >> 20, file=sys.stderr)
"""


@pytest.mark.parametrize("mib", [1024, 64 << 10])
def test_hidden_memory_is_neither_seen_nor_overwritten(
    mib: int, trixie_path: Path, kvm_host_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the emulated host, behind the guest's. run_in_linux checks that its account of the log is whole."""
    monkeypatch.chdir(tmp_path)
    text = run_in_linux(FILL_MEMORY, kvm_host_image, trixie_path, "alternate-injection-off", memory_mib=mib)
    ends = [int(end, 16) for end in re.findall(r"^[0-9a-f]+-([0-9a-f]+) : System RAM", text, re.MULTILINE)]
    assert 0 < max(ends) < memory_map(mib << 20, 40).host_base
    [total] = re.findall(r"^MemTotal: +(\d+) kB", text, re.MULTILINE)
    assert mib * 0.8 < int(total) >> 10 < mib
    [filled] = re.findall(r"^filled True (\d+)", text, re.MULTILINE)
    assert int(filled) > 500


#: The driver, and what Linux 6.12's asks modprobe for: gcm(aes).
SEV_GUEST = ("gcm", "ctr", "ghash_generic", "sev_guest")
#: A report and the certificates by configfs (Documentation/ABI/testing/configfs-tsm), and what sysfs says of the VMPL.
ASK_FOR_A_REPORT = """
import base64, ctypes, os, sys
TSM = "/sys/kernel/config/tsm/report/test"
def read(name):
    with open(f"{TSM}/{name}", "rb") as file:
        return file.read()
def main():
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", b"/sys/kernel/config", b"configfs", 0, None) == 0, ctypes.get_errno()
    os.mkdir(TSM)
    with open(f"{TSM}/privlevel", "wb") as file:
        file.write(read("privlevel_floor"))
    for number in range(2):
        with open(f"{TSM}/inblob", "wb") as file:
            file.write((b"nonce %d" % number).ljust(64, b"."))
        for name in ("provider", "outblob", "auxblob", "privlevel_floor"):
            print(f"{name}: {base64.b64encode(read(name)).decode()}", file=sys.stderr)
"""


@pytest.mark.parametrize(("config", "vmpl"), [("no-svsm", 0), ("alternate-injection-off", 2)])
def test_the_driver_of_linux_gets_reports(
    config: str, vmpl: int, trixie_path: Path, kvm_host_image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sev-guest checks tag and sequence number of each answer, and gives up its key at the first that is wrong."""
    monkeypatch.chdir(tmp_path)
    modules = kernel_modules(kvm_host_image, *SEV_GUEST)
    text = run_in_linux(ASK_FOR_A_REPORT, kvm_host_image, trixie_path, config, modules=modules)
    found = re.findall(r"^(provider|outblob|auxblob|privlevel_floor): (\S+)\s*$", text, re.MULTILINE)
    assert [name for name, _ in found] == ["provider", "outblob", "auxblob", "privlevel_floor"] * 2, text
    values = [base64.b64decode(value) for _, value in found]
    assert values[0] == b"sev_guest\n"
    assert values[3] == b"%d\n" % vmpl
    reports = [snp_report.verify(values[at], snp_report.certificate_table(values[at + 1])) for at in (1, 5)]
    assert [report.vmpl for report in reports] == [vmpl, vmpl]
    assert [report.report_data.rstrip(b".") for report in reports] == [b"nonce 0", b"nonce 1"]
    assert reports[0].measurement == reports[1].measurement
    if vmpl == 0:
        assert reports[0].measurement == _measured_by_another_program(trixie_path)


def _measured_by_another_program(firmware: Path) -> bytes:
    """The launch digest that sev-snp-measure computes of a firmware with one vCPU of QEMU's EPYC-v3."""
    measure = pytest.importorskip("sevsnpmeasure.guest").calc_launch_digest
    mode = pytest.importorskip("sevsnpmeasure.sev_mode").SevMode.SEV_SNP
    digest: bytes = measure(mode, 1, 0x800F12, str(firmware), None, None, None, guest_features=1)
    return digest
