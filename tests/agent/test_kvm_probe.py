# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts of a KVM: absent, forbidden, of another kind, one that hangs or makes guests that do not run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from snp_harness.agent import kvm_probe
from snp_harness.agent.kvm_probe import DEVICE, kvm_facts, run_guest


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


def test_beside_other_threads(tmp_path: Path, modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kvm").write_bytes(b"")
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert (
            kvm_facts(tmp_path / "kvm", modules)["error"] == "KVM does not run a guest: Inappropriate ioctl for device"
        )
        monkeypatch.setattr(kvm_probe, "_PROGRAM", "import time; time.sleep(600)")
        late = kvm_facts(tmp_path / "kvm", modules, timeout_s=0.2)
    finally:
        stop.set()
        thread.join()
    assert late["error"] == "KVM did not run three instructions in 0.2 s"


def test_a_kvm_of_another_kind(tmp_path: Path, modules: Path) -> None:
    (modules / "kvm_amd").rename(modules / "kvm_other")
    (tmp_path / "kvm").write_bytes(b"")
    facts = kvm_facts(tmp_path / "kvm", modules)
    assert facts["error"] == "neither kvm_amd nor kvm_intel is loaded, but kvm, kvm_other"


HANGS = """
import sys
from pathlib import Path
from snp_harness.agent import kvm_probe
device, modules = map(Path, sys.argv[1:])
kvm_probe.run_guest = lambda device: device.read_text()
print(kvm_probe.kvm_facts(device, modules, timeout_s=0.2)["error"])
"""


def test_one_that_hangs(tmp_path: Path, modules: Path) -> None:
    # A FIFO can be opened for reading and writing, and ioctls fail; opening it only for reading blocks.
    os.mkfifo(tmp_path / "kvm")
    # In a separate process, which has no threads, like an agent.
    argv = [sys.executable, "-c", HANGS, str(tmp_path / "kvm"), str(modules)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "KVM did not run three instructions in 0.2 s\n"


def test_a_processor_that_serves_the_apic(tmp_path: Path, modules: Path) -> None:
    parameter = modules / "kvm_intel" / "parameters" / "enable_apicv"
    parameter.parent.mkdir(parents=True)
    parameter.write_text("Y\n")
    assert kvm_facts(tmp_path / "kvm", modules)["accelerated"] == "kvm_intel.enable_apicv"
    parameter.write_text("N\n")
    assert kvm_facts(tmp_path / "kvm", modules)["accelerated"] == ""


def open_descriptors() -> list[str]:
    return [path.name for path in Path("/proc/self/fd").iterdir()]


def test_three_instructions(modules: Path) -> None:
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"{DEVICE} cannot be used here")
    said = kvm_facts(modules=modules)["error"]
    if "three instructions" in said:
        pytest.skip(said)
    before = open_descriptors()
    assert said == run_guest(DEVICE)
    assert said == "" or said.startswith("KVM ")
    # For any number of guests.
    assert open_descriptors() == before
