# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots on the emulated host, and what is checked of each."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest

import snp_harness.firmware_run
from snp_harness.apic.access import Access, Phase
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.timeline import Timeline
from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware_run import RunResult, RunSpec
from snp_harness.hosts.host import Host
from snp_harness.hosts.local import LOCAL
from snp_harness.platforms import session
from snp_harness.platforms.platform import Progress
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config
from tests.apic.samples import SEVEN
from tests.platforms.sec import sec_accesses, told
from tests.vm.processes import children

#: Time limit of a boot that reaches its end, seconds: a machine may be ten times slower than another.
PATIENCE_S = 900.0
#: The host of all boots: --snp-host (tests/platforms/conftest.py).
_host: list[Host] = [LOCAL]


def boot(firmware: Path, out: Path, config: str | SvsmConfig = "alternate-injection", **more: object) -> RunResult:
    """One run. more: of RunSpec; a longer time limit does not make a boot longer that reaches its end.

    It is judged in each configuration.
    """
    svsm = config if isinstance(config, SvsmConfig) else load_config(config)
    more = {"timeout_s": PATIENCE_S, "as_if_active": True, **more}
    return run(RunSpec(firmware, svsm=svsm, **more), "emulated", out)  # type: ignore[arg-type]


def run(spec: RunSpec, platform: str, out: Path, progress: Progress | None = None) -> RunResult:
    """snp_harness.firmware_run.run on the session's host."""
    return snp_harness.firmware_run.run(dataclasses.replace(spec, host=_host[0]), platform, out, progress)


def use_host(host: Host) -> None:
    """Run the following boots on this host."""
    _host[0] = host


def qemus() -> set[int]:
    """The QEMUs that run now, as this machine's processes: of a host, only one of loopback has them here."""
    host = _host[0]
    if host.here:
        return set(children())
    facts = host.facts()["host_facts"]
    assert isinstance(facts, dict)
    return set(children(int(facts["pid"])))


class Clock:
    """The sessions' clock. A test uses it to end a run's time limit at a chosen moment, on a machine of any speed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead_s = 0.0
        monkeypatch.setattr(session, "time", self)

    def monotonic(self) -> float:
        """As time.monotonic."""
        return time.monotonic() + self._ahead_s

    def end(self) -> None:
        """End the time limit of all runs in progress."""
        self._ahead_s += 1e6


def toml(directory: Path, text: str) -> SvsmConfig:
    """A configuration from its text."""
    path = directory / "config.toml"
    path.write_text(text)
    return load_config(path)


def check_seven(timeline: Timeline, vmpl: int) -> list[Access]:
    """SEC's register accesses are the seven of every stock OVMF, made by SecMain through the page, and are returned."""
    accesses = sec_accesses(timeline)
    assert told(accesses) == SEVEN
    seen = {(a.phase, a.path, a.vcpu, a.vmpl, a.size, a.module) for a in accesses}
    assert seen == {(Phase.SEC, AccessPath.MMIO, 0, vmpl, 4, "SecMain")}
    return accesses


def check_places(accesses: list[Access], firmware: Path) -> None:
    """The pcs are in SecMain of the image, at the given offsets."""
    (sec,) = (module for module in FirmwareImage.open(firmware).modules if module.name == "SecMain")
    assert sec.base is not None
    for access in accesses:
        assert access.pc is not None
        assert 0 <= access.pc - sec.base < sec.size_of_image
        assert access.module_offset == access.pc - sec.base
    # One routine reads the APIC's registers, one writes them (MdePkg BaseIoLibIntrinsic, MmioRead32 and MmioWrite32).
    assert len({(access.operation, access.pc) for access in accesses}) == 2


def signal_qemu(number: signal.Signals, phase: Phase, told: list[int | None] | None = None) -> Progress:
    """A progress function that sends QEMU a signal once the guest is in `phase`. told: gets the counts of exits."""
    before = qemus()
    sent: list[int] = []

    def progress(now: Phase, _accesses: int, exits: int | None) -> None:
        if told is not None:
            told.append(exits)
        if now >= phase and not sent:
            [qemu] = qemus() - before
            os.kill(qemu, number)
            sent.append(qemu)

    return progress
