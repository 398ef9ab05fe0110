# SPDX-License-Identifier: GPL-2.0-or-later
"""kvm-unit-tests on the emulated host without SEV, against a real KVM inside TCG (docs/kvm-unit-tests.md)."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import structs

from snp_harness.debian.qemu_bundle import cached_qemu
from snp_harness.errors import HarnessError
from snp_harness.firmware_run import RunSpec, run
from snp_harness.platforms.nested import SUITE_VARIABLE
from snp_harness.svsm.config_files import load_config
from snp_harness.tools.kvm_host.host_image import images
from snp_harness.vm import rundir

pytestmark = [pytest.mark.emulated, pytest.mark.nested, pytest.mark.slow]

#: The directory with the built applications, kvm-unit-tests/x86.
DIRECTORY = "SNP_HARNESS_KVM_UNIT_TESTS"
#: Debian's suite of both QEMUs and of the nested host: 7.2's emulation of SVM does not pass these suites.
SUITE = "sid"
TIMEOUT_S = 1800.0
DEVICES = ("-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "pc-testdev")


@dataclass(frozen=True, slots=True)
class Program:
    """One run. application: NAME.efi."""

    application: str
    vcpus: int = 1
    hidden: tuple[str, ...] = ()


PROGRAMS = {
    "x2apic": Program("apic", 2),
    "xapic": Program("apic", 2, ("x2apic",)),
    "ioapic": Program("ioapic", 4),
    "eventinj": Program("eventinj"),
    "idt_test": Program("idt_test"),
    "debug": Program("debug"),
    "emulator": Program("emulator"),
}


@pytest.fixture
def applications() -> Path:
    """The directory of the built applications."""
    given = os.environ.get(DIRECTORY)
    if not given:
        pytest.skip(f"{DIRECTORY} names no directory of built kvm-unit-tests: docs/kvm-unit-tests.md")
    return Path(given)


@pytest.fixture
def sid_qemu(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sid's QEMU; the nested host is sid's, too."""
    monkeypatch.setenv(SUITE_VARIABLE, SUITE)
    bundle = cached_qemu(SUITE)
    if bundle is None:
        pytest.skip(f"no QEMU of {SUITE} in the cache: snp-harness fetch qemu {SUITE}")
    try:
        images().image(SUITE)
    except HarnessError as error:
        pytest.skip(f"no image of the nested host: {error}")
    return bundle.directory


def points(directory: Path) -> Counter[tuple[str, str]]:
    """How often the console has each result of each point: "PASS" or "FAIL", without the values that follow."""
    lines = (directory / rundir.SERIAL).read_text(errors="replace").splitlines()
    results = (line.partition(": ") for line in lines if line.startswith(("PASS: ", "FAIL: ", "SKIP: ")))
    return Counter((result, name) for result, _, name in results)


def count(found: Counter[tuple[str, str]], result: str) -> int:
    return sum(number for (each, _), number in found.items() if each == result)


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_as_many_points_as_kvm(
    name: str, applications: Path, trixie_path: Path, tmp_path: Path, sid_qemu: Path
) -> None:
    program = PROGRAMS[name]
    plain = load_config("plain")
    guest = structs.replace(plain.guest, hidden_features=program.hidden)
    exits = structs.replace(plain.exits, mmio=True)  # as under KVM
    application = ("-kernel", str(applications / f"{program.application}.efi"), "-append", "x", *DEVICES)
    spec = RunSpec(
        trixie_path,
        vcpus=program.vcpus,
        svsm=structs.replace(plain, guest=guest, exits=exits),
        until="exit",
        timeout_s=TIMEOUT_S,
        qemu=sid_qemu,
        extra_args=application,
    )
    # With instructions counted, the points about time do not depend on what else the machine does.
    emulated = run(dataclasses.replace(spec, icount=True), "emulated", tmp_path / "emulated")
    kvm = run(spec, "nested", tmp_path / "kvm")
    there, here = points(kvm.directory), points(emulated.directory)
    for where, found, result in (("KVM in TCG", there, kvm), ("emulated host", here, emulated)):
        passed, failed = count(found, "PASS"), count(found, "FAIL")
        print(f"{name}, {where}: {passed} of {passed + failed}, status {result.timeline.guest_exit}")
    assert kvm.timeline.guest_exit is not None
    assert emulated.timeline.guest_exit is not None
    lacking = {point: number - here["PASS", point] for (result, point), number in there.items() if result == "PASS"}
    assert not {point for point, number in lacking.items() if number > 0}
