# SPDX-License-Identifier: GPL-2.0-or-later
"""How platform snp follows a run, on a real KVM: its guest is not encrypted here, but treated as encrypted.

Only QEMU's arguments are a plain guest's; files, consoles, trace, phases and verdict go the way of an SNP guest.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.contract import evaluate
from snp_harness.apic.verdict import Status
from snp_harness.check import CheckStatus
from snp_harness.firmware_run import RunSpec
from snp_harness.hosts.nested import NestedHost
from snp_harness.platforms import snp, snp_command
from snp_harness.platforms.host_facts import host_facts
from snp_harness.platforms.nested import suite
from snp_harness.platforms.platform import RunOutcome
from snp_harness.platforms.session import Session
from snp_harness.platforms.svsm_console import HostLacksInjectionError
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config
from snp_harness.svsm.sections import SvsmKind, SvsmSection
from snp_harness.tools.kvm_host.host_image import images
from snp_harness.tools.kvm_host.outer import Outer
from snp_harness.vm import rundir
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.rundir import RunDirectory
from tests.apic.samples import SEVEN
from tests.platforms.sec import sec_accesses, told
from tests.platforms.snp_guests import BANNER, LACKS
from tests.platforms.snp_hosts import host as host_values

pytestmark = [pytest.mark.nested, pytest.mark.slow]

MEMORY = 256 << 20


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "out", "snp")


@pytest.fixture
def kvm_host(directory: RunDirectory) -> Iterator[NestedHost]:
    host = NestedHost(Outer(images().image(suite()), QemuBinary.find(), MEMORY >> 20), directory, _say)
    yield host
    host.close()


@pytest.fixture
def plain_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that platform kvm has, with the SVSM's console beside the firmware's."""

    def arguments(_facts: object, *, bios: str | None, igvm: str | None, extra: Sequence[str], **_: Any) -> list[str]:
        return [
            *("-machine", "q35,smm=off", "-accel", "kvm", "-cpu", "host", "-m", f"{MEMORY >> 20}"),
            *("-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none"),
            *("-serial", "chardev:serial", "-serial", "chardev:svsm", "-bios", bios or igvm or ""),
            *extra,
        ]

    monkeypatch.setattr(snp_command, "snp_arguments", arguments)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def run(host: NestedHost, spec: RunSpec, directory: RunDirectory) -> RunOutcome:
    """Start a guest on the host, as if that had SNP, and follow it to its goal."""
    with contextlib.ExitStack() as stack:
        running = snp._start(host, host_facts(host_values()), spec, directory, stack)
        return running.finish(Session(running, spec).run(lambda *_: None))


def test_the_preflight_of_a_real_kvm_without_sev(kvm_host: NestedHost) -> None:
    """Debian's cloud kernel: kvm_amd is loaded, and has no SEV; its QEMU knows SNP, and no IGVM."""
    found = {check.name: check for check in snp.probe_checks(kvm_host, snp.facts_of(kvm_host, None))}
    assert found["processor"].status is CheckStatus.MISSING
    assert found["KVM"].status is CheckStatus.OK
    assert "built without SNP" in found["kvm_amd"].evidence
    assert found["KVM SNP guests"].evidence == "KVM_CAP_VM_TYPES 1: default"
    assert found["QEMU"].status is found["trace events"].status is CheckStatus.OK
    assert found["QEMU IGVM"].status is CheckStatus.WARN


@pytest.mark.usefixtures("plain_guest")
def test_the_same_seven_accesses_without_a_pc(kvm_host: NestedHost, directory: RunDirectory, trixie_path: Path) -> None:
    spec = RunSpec(trixie_path, svsm=load_config("no-svsm"), timeout_s=900)
    outcome = run(kvm_host, spec, directory)
    assert outcome.error is None
    timeline = outcome.timeline
    assert (timeline.platform, timeline.gaps, timeline.lost) == ("snp", (), 0)
    assert told(sec_accesses(timeline)) == SEVEN
    assert all(access.pc is None and access.module is None for access in timeline.accesses)
    assert {"pc", "module"} <= timeline.not_observed
    assert [mark.phase for mark in timeline.phases][:2] == [Phase.SEC, Phase.PEI]
    assert "fw_cfg" in timeline.phases[1].evidence
    verdict = evaluate(timeline, as_if_active=True)
    assert verdict.status is Status.VIOLATED
    assert len(verdict.result("x2apic-before-sec").offences) == 7
    assert (directory.path / rundir.SVSM).exists()


@pytest.mark.usefixtures("plain_guest")
def test_an_svsm_that_stops_ends_the_run_with_its_words(
    kvm_host: NestedHost, directory: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest of a few instructions prints on COM1 what COCONUT does, and halts."""
    monkeypatch.setattr(snp, "guest_image", lambda _: snp.GuestImage(speaking(BANNER + LACKS), is_igvm=True))
    section = SvsmSection(kind=SvsmKind.IGVM, igvm="unused")
    spec = RunSpec(tmp_path / "unused", svsm=SvsmConfig(svsm=section), timeout_s=900)
    outcome = run(kvm_host, spec, directory)
    assert isinstance(outcome.error, HostLacksInjectionError)
    assert outcome.error.exit_status >= 128
    assert outcome.timeline.accesses == ()
    assert outcome.timeline.gaps[0] == outcome.error.message
    assert evaluate(outcome.timeline, as_if_active=True).status is Status.INCONCLUSIVE
    assert BANNER.strip() in (directory.path / rundir.SERIAL).read_text()


def speaking(text: str) -> bytes:
    """A 64 KiB ROM that writes a text to COM1 and halts; 16-bit code, run in place below 1 MiB."""
    code = bytes.fromhex(
        "fa"  # cli
        "be0010"  # mov si, 1000h
        "2e8a04"  # next: mov al, cs:[si]
        "84c0"  # test al, al
        "7407"  # jz done
        "baf803"  # mov dx, 3F8h
        "ee"  # out dx, al
        "46"  # inc si
        "ebf2"  # jmp next
        "f4"  # done: hlt
        "ebfd"  # jmp done
    )
    rom = bytearray(b"\xff" * 0x10000)
    rom[0 : len(code)] = code
    rom[0x1000 : 0x1000 + len(text) + 1] = text.encode() + b"\0"
    # The reset vector: a far jump to F000:0000, where the chipset shows the ROM's last 64 KiB.
    rom[0xFFF0:0xFFF5] = bytes.fromhex("ea000000f0")
    return bytes(rom)
