# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said of a KVM: absent, forbidden, of another kind, one that hangs or makes guests that do not run."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from harness.agent import kvm_probe
from harness.agent.kvm_probe import DEVICE, kvm_facts, run_guest


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """kvm_amd is loaded."""
    directory = tmp_path / "module"
    for name in ("kvm", "kvm_amd", "ext4"):
        (directory / name / "parameters").mkdir(parents=True)
    return directory


def test_absent(tmp_path: Path, modules: Path) -> None:
    facts = kvm_facts(tmp_path / "kvm", modules)
    assert facts["error"] == f"{tmp_path / 'kvm'} is absent"
    assert facts["modules"] == ["kvm", "kvm_amd"]


def test_not_a_kvm(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "kvm").write_bytes(b"")
    facts = kvm_facts(tmp_path / "kvm", modules)
    assert facts["error"] == "KVM does not run a guest: Inappropriate ioctl for device"


def test_beside_other_threads(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "kvm").write_bytes(b"")
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert (
            kvm_facts(tmp_path / "kvm", modules)["error"] == "KVM does not run a guest: Inappropriate ioctl for device"
        )
        late = kvm_facts(tmp_path / "kvm", modules, timeout_s=0.001)
    finally:
        stop.set()
        thread.join()
    assert late["error"] == "KVM did not run three instructions in 0.001 s"


def test_a_kvm_of_another_kind(tmp_path: Path, modules: Path) -> None:
    (modules / "kvm_amd").rename(modules / "kvm_other")
    (tmp_path / "kvm").write_bytes(b"")
    facts = kvm_facts(tmp_path / "kvm", modules)
    assert facts["error"] == "neither kvm_amd nor kvm_intel is loaded, but kvm, kvm_other"


def test_one_that_hangs(tmp_path: Path, modules: Path) -> None:
    # Opening a FIFO for reading and writing works, and ioctls fail; opening it for one only waits for ever.
    os.mkfifo(tmp_path / "kvm")
    original = kvm_probe.run_guest
    try:
        kvm_probe.run_guest = lambda device: (tmp_path / "kvm").read_text()
        facts = kvm_facts(tmp_path / "kvm", modules, timeout_s=0.2)
    finally:
        kvm_probe.run_guest = original
    assert facts["error"] == "KVM did not run three instructions in 0.2 s"


def test_a_processor_that_serves_the_apic(tmp_path: Path, modules: Path) -> None:
    parameter = modules / "kvm_intel" / "parameters" / "enable_apicv"
    parameter.parent.mkdir(parents=True)
    parameter.write_text("Y\n")
    assert kvm_facts(tmp_path / "kvm", modules)["accelerated"] == "kvm_intel.enable_apicv"
    parameter.write_text("N\n")
    assert kvm_facts(tmp_path / "kvm", modules)["accelerated"] == ""


def test_three_instructions(modules: Path) -> None:
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"{DEVICE} cannot be used here")
    said = run_guest(DEVICE)
    assert said == "" or said.startswith("KVM ")
    assert kvm_facts(modules=modules)["error"] == said
