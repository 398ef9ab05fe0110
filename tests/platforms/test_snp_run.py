# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of platform snp as far as it goes without the hardware: until QEMU asks KVM for an SNP guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.check import Check, CheckStatus
from snp_harness.debian.qemu_bundle import cached_qemu
from snp_harness.errors import EXIT_ENVIRONMENT, BrokenEnvironmentError, LackingHostError
from snp_harness.firmware_run import RunSpec, run
from snp_harness.platforms import snp
from snp_harness.platforms.host_facts import host_facts
from snp_harness.platforms.svsm_console import NoAlternateInjectionError, SvsmPanicError, SvsmWatch
from snp_harness.svsm.config_files import load_config
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import QemuLaunchError
from tests.platforms.snp_guests import BANNER, LACKS, PANIC, spec
from tests.platforms.snp_hosts import host
from tests.vm.wire import Wire

#: What QEMU says where KVM has no SEV-SNP, and where there is no KVM.
NO_HARDWARE = r"vm-type SEV-SNP not supported by KVM|access KVM kernel module"


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    made = Wire(tmp_path)
    yield made
    made.close()


@pytest.fixture
def watch(wire: Wire) -> SvsmWatch:
    """Looks at what the SVSM prints there."""
    made = SvsmWatch("use another kernel")
    made.watch(wire.console)
    return made


@pytest.mark.parametrize("pieces", [1, 7, 60])
def test_an_svsm_without_alternate_injection_is_an_environment_that_lacks_it(
    wire: Wire, watch: SvsmWatch, pieces: int
) -> None:
    text = BANNER + LACKS
    step = -(-len(text) // pieces)
    for at in range(0, len(text), step):
        wire.prints(text[at : at + step])
    assert isinstance(watch.error, NoAlternateInjectionError)
    assert isinstance(watch.error, LackingHostError)
    assert watch.error.exit_status == EXIT_ENVIRONMENT
    assert watch.error.hint == "use another kernel"


def test_any_other_panic_of_the_svsm_is_told_in_its_words(wire: Wire, watch: SvsmWatch) -> None:
    wire.prints(BANNER + PANIC)
    assert isinstance(watch.error, SvsmPanicError)
    assert not isinstance(watch.error, LackingHostError)
    assert watch.error.message == "the SVSM panicked: Failed to launch FW: Firmware, at kernel/src/svsm.rs:402:9"


def test_what_a_guest_prints_is_no_panic_of_the_svsm(wire: Wire, watch: SvsmWatch) -> None:
    wire.prints("thread 'main' panicked at src/main.rs:2:5:\r\nindex out of bounds\r\n")
    assert watch.error is None


@pytest.fixture
def lookalike_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine passes for an SNP host; its QEMU is the one it is."""
    facts = host_facts(host(qemu__objects=["sev-snp-guest"], qemu__help={}))
    monkeypatch.setattr(snp, "facts_of", lambda *_: facts)
    monkeypatch.setattr(
        "snp_harness.platforms.kvm.trace_check", lambda *_: Check("trace events", CheckStatus.OK, "all")
    )


@pytest.mark.usefixtures("lookalike_host")
def test_the_run_gets_as_far_as_the_hardware(trixie_path: Path, tmp_path: Path) -> None:
    bundle = cached_qemu("sid")
    if bundle is None:
        pytest.skip("the QEMU of sid is not fetched: snp-harness fetch qemu sid")
    spec = RunSpec(trixie_path, svsm=load_config("no-svsm"), qemu=bundle.directory, memory_mib=256, timeout_s=120)
    with pytest.raises(QemuLaunchError, match=NO_HARDWARE) as raised:
        run(spec, "snp", tmp_path / "out")
    assert raised.value.exit_status == EXIT_ENVIRONMENT
    command = (tmp_path / "out" / rundir.COMMAND_LINE).read_text()
    assert "sev-snp-guest,id=sev0,cbitpos=51" in command
    assert f"-bios {rundir.ROM}" in command
    assert (tmp_path / "out" / rundir.ROM).stat().st_size == trixie_path.stat().st_size


@pytest.mark.usefixtures("lookalike_host")
def test_an_svsm_needs_a_qemu_with_igvm(tmp_path: Path) -> None:
    with pytest.raises(BrokenEnvironmentError, match="no igvm-cfg"):
        run(spec(tmp_path), "snp", tmp_path / "out")


def test_without_the_hardware_a_run_says_what_is_missing(trixie_path: Path, tmp_path: Path) -> None:
    if snp.PLATFORM.probe()[0].status is CheckStatus.OK:
        pytest.skip("this may be an SNP host")
    with pytest.raises(BrokenEnvironmentError, match=r"local.* cannot run this: processor: "):
        run(RunSpec(trixie_path, svsm=load_config("no-svsm")), "snp", tmp_path / "out")
