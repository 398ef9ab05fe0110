# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe on this machine, and with files and answers of other kinds of machines."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.agent import probe
from snp_harness.vm.qemu_binary import QemuBinary

LISTING = """\
QEMU emulator version 11.0.1 (coconut)
List of user creatable objects:
  igvm-cfg
  sev-snp-guest
"""


def test_the_facts_are_json_of_bounded_size() -> None:
    facts = probe.probe()
    text = json.dumps(facts)
    assert json.loads(text) == facts
    assert len(text) < 1 << 16
    assert facts["machine"] == platform.machine()
    assert facts["memory"]["total_kb"] > 0
    assert facts["disk"]["free"] > 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no x86 processor")
def test_cpuid_is_what_linux_says() -> None:
    try:
        vendor = probe._cpuid_by_instruction(0)
    except PermissionError as error:
        pytest.skip(f"the kernel gives no memory that is writable and executable: {error}")
    name = b"".join(vendor[index].to_bytes(4, "little") for index in (1, 3, 2)).decode()
    assert name == probe.cpu()["vendor"]
    if os.access("/dev/cpu/0/cpuid", os.R_OK):
        assert probe._cpuid_by_device(0) == vendor


def test_qemu_of_this_machine() -> None:
    try:
        binary = QemuBinary.find()
    except Exception as error:
        pytest.skip(str(error))
    facts = probe.qemu_facts(list(binary.prefix))
    assert facts["error"] is None
    assert facts["version"] == ".".join(map(str, binary.version))
    assert "memory-backend-memfd" in facts["objects"]
    assert {"memory-backend", "confidential-guest-support"} <= set(facts["machine_options"])
    assert "EPYC-v3" in facts["cpu_models"]
    assert facts["help"] == {"device-plane": False, "igvm-cfg": False}


def test_a_qemu_with_everything() -> None:
    answers = {
        "-version": "QEMU emulator version 11.0.1 (v11)\n",
        "help": LISTING,
        "sev-snp-guest,help": "sev-snp-guest options:\n  policy=<uint64>\n  sev-device=<string>    - device\n",
        "q35,help": "pc-q35-11.0-machine options:\n  igvm-cfg=<link<igvm-cfg>> - Set IGVM configuration\n",
        "-h": "                device-plane=N (VMPL of devices)\n",
    }
    facts = probe.qemu_facts(["/q/qemu"], lambda command: answers.get(command[-1], ""))
    assert facts["version"] == "11.0.1"
    assert facts["snp_options"] == ["policy", "sev-device"]
    assert facts["machine_options"] == ["igvm-cfg"]
    assert facts["help"]["device-plane"]
    assert set(facts["objects"]) == {"igvm-cfg", "sev-snp-guest"}


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["/nonexistent/qemu"], "No such file or directory"),
        (["/bin/true"], "-version reports ''"),
        (["/bin/false"], "-version ended with status 1"),
    ],
)
def test_what_is_no_qemu(command: list[str], error: str) -> None:
    assert error in probe.qemu_facts(command)["error"]


def test_a_qemu_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "COMMAND_TIMEOUT_S", 0.1)
    assert "timed out" in probe.qemu_facts([sys.executable, "-c", "import time; time.sleep(600)"])["error"]


def test_no_qemu_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("SNP_HARNESS_QEMU", raising=False)
    assert probe.located(None)["error"] == "qemu-system-x86_64 is not installed"
    assert probe.located("/nonexistent/qemu")["error"] == "QEMU /nonexistent/qemu not found"


def test_devices_that_are_absent_or_are_others(tmp_path: Path) -> None:
    assert probe.kvm(str(tmp_path / "kvm")) == {
        "present": False,
        "error": "No such file or directory",
        "vm_types": None,
    }
    file = tmp_path / "file"
    file.touch()
    assert probe.kvm(str(file))["error"] == "Inappropriate ioctl for device"
    assert probe.sev(str(file))["error"] == "Inappropriate ioctl for device"
    assert probe.sev(str(tmp_path))["error"] == "Is a directory"


def test_vm_types_are_those_of_virt_firmware() -> None:
    kvmcaps = pytest.importorskip("virt.qemutest.kvmcaps")
    theirs = kvmcaps.VM_TYPE_BITS
    assert {name: bit for name, bit in probe.VM_TYPES.items() if name in theirs} == {
        name: bit for name, bit in theirs.items() if name in probe.VM_TYPES
    }
    assert kvmcaps.KVM_CAP_VM_TYPES == probe._KVM_CAP_VM_TYPES
    assert kvmcaps.KVM_CHECK_EXTENSION == probe._KVM_CHECK_EXTENSION
    if os.access(probe.KVM_DEVICE, os.R_OK | os.W_OK):
        bits = probe.kvm()["vm_types"] or 0
        assert kvmcaps.query_vm_types() == [name for name, bit in theirs.items() if bits >> bit & 1]


def test_the_ioctls_are_those_of_the_kernels_headers(tmp_path: Path) -> None:
    source = tmp_path / "numbers.c"
    source.write_text(
        """
        #include <linux/kvm.h>
        #include <linux/psp-sev.h>
        #include <stdio.h>
        int main(void)
        {
            printf("%#lx %#lx %#lx %d %zu %zu %d\\n", (unsigned long)KVM_CREATE_VM, (unsigned long)KVM_GET_DEVICE_ATTR,
                   (unsigned long)SEV_ISSUE_CMD, SEV_GET_ID2 + 1, sizeof(struct sev_issue_cmd),
                   sizeof(struct kvm_device_attr), KVM_CREATE_VM == 0xAE01);
            return 0;
        }
        """
    )
    program = tmp_path / "numbers"
    done = subprocess.run(["gcc", "-o", str(program), str(source)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("the kernel's headers are not installed")
    out = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.split()
    assert [int(word, 0) for word in out] == [
        probe._KVM_CREATE_VM,
        probe._KVM_GET_DEVICE_ATTR,
        probe._SEV_ISSUE_CMD,
        probe._SNP_PLATFORM_STATUS,
        probe._ISSUE_CMD.size,
        probe._DEVICE_ATTR.size,
        1,
    ]


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_texts_are_bounded(value: str) -> None:
    shown = probe.text(value)
    assert len(shown) <= probe.TEXT_MAX
    assert shown.isprintable()


def test_disk_of_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    assert probe.disk(str(tmp_path / "a" / "b"))["path"] == str(tmp_path)
