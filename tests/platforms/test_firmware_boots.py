# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock OVMF of three Debian releases on the emulated host: what it does in SEC, and how far it runs on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.verdict import Status
from snp_harness.errors import EXIT_USAGE, EXIT_VIOLATED, UsageError
from snp_harness.firmware.metadata import FOUR_GIB
from snp_harness.firmware_run import RunResult
from snp_harness.vm import rundir
from tests.platforms.boots import boot, check_places, check_seven, toml

pytestmark = pytest.mark.emulated

ALL_PHASES = [Phase.RESET, Phase.SEC, Phase.PEI, Phase.DXE, Phase.BDS]
#: The end of the console of a boot without an operating system.
PROMPT = {"trixie_path": b"Shell> ", "amdsev_path": b"No bootable option"}
#: no-svsm.toml, with violations completed.
LENIENT = """
[svsm]
present = false
alternate_injection = false
[hypervisor]
features = ["snp", "ap-creation", "apic-id-list"]
[exits]
ioio = false
mmio = false
[memory]
strict = false
"""


def check_violated(result: RunResult, firmware: Path, vmpl: int) -> None:
    check_places(check_seven(result.timeline, vmpl), firmware)
    assert result.exit_status == EXIT_VIOLATED
    found = result.verdict.result("x2apic-before-sec")
    assert found.status is Status.VIOLATED
    assert [access.index for access in found.offences] == [
        access.index for access in result.timeline.accesses if not access.is_base and access.phase is Phase.SEC
    ]


@pytest.mark.parametrize("firmware", ["trixie_path", "amdsev_path"])
def test_alternate_injection_is_violated_in_sec(
    firmware: str, request: pytest.FixtureRequest, qemu: Path | None, tmp_path: Path
) -> None:
    path = request.getfixturevalue(firmware)
    result = boot(path, tmp_path / "out", qemu=qemu)
    check_violated(result, path, 2)
    assert result.timeline.complete
    assert result.timeline.svsm
    assert result.timeline.alternate_injection
    assert result.verdict.result("sec-apic-page-shared").status is Status.HOLDS
    assert (result.directory / rundir.HOST_LOG).stat().st_size % 64 == 0


@pytest.mark.parametrize("firmware", [pytest.param("trixie_path", marks=pytest.mark.slow), "amdsev_path"])
def test_it_runs_on_to_the_prompt(
    firmware: str, request: pytest.FixtureRequest, qemu: Path | None, tmp_path: Path
) -> None:
    path = request.getfixturevalue(firmware)
    result = boot(path, tmp_path / "out", "alternate-injection-off", until="shell", qemu=qemu)
    check_violated(result, path, 2)
    assert [mark.phase for mark in result.timeline.phases] == ALL_PHASES
    assert result.timeline.complete
    assert result.timeline.lost == 0
    modules = {access.module for access in result.timeline.accesses}
    assert modules >= {"SecMain", "CpuMpPei", "LocalApicTimerDxe"}
    assert None not in modules
    # The variable store in the image is read without C-bit by the amdsev build; nothing else is touched wrongly.
    violations = [event for event in result.timeline.events if event.kind in ("rmp-violation", "private-mmio")]
    flash = FOUR_GIB - path.stat().st_size
    assert all(int(event.fields["gpa"]) >= flash and "shared access" in event.text for event in violations)
    assert bool(violations) == (firmware == "amdsev_path")
    assert PROMPT[firmware] in (result.directory / rundir.SERIAL).read_bytes()
    assert (result.directory / rundir.SVSM).read_bytes()


@pytest.mark.parametrize("config", ["alternate-injection", "plain"])
def test_the_code_half_runs_alone(trixie_path: Path, config: str, qemu: Path | None, tmp_path: Path) -> None:
    """As with QEMU's -bios: no VARS image is needed."""
    code = tmp_path / "OVMF_CODE_4M.fd"
    shutil.copy(trixie_path.parents[1] / "OVMF" / code.name, code)
    result = boot(code, tmp_path / "out", config, qemu=qemu)
    check_seven(result.timeline, 2 if config == "alternate-injection" else 0)
    assert result.timeline.reached is not None
    assert result.timeline.reached >= Phase.PEI


def test_2022_11_without_an_svsm_makes_the_same_accesses_privately(
    bookworm_path: Path, qemu: Path | None, tmp_path: Path
) -> None:
    result = boot(bookworm_path, tmp_path / "out", "no-svsm", qemu=qemu)
    check_violated(result, bookworm_path, 0)
    assert not result.timeline.svsm
    assert not result.timeline.alternate_injection
    # Its SEC maps the APIC page with the C-bit set.
    shared = result.verdict.result("sec-apic-page-shared")
    assert shared.status is Status.VIOLATED
    assert len(shared.events) == 7
    assert {event.kind for event in shared.events} == {"private-mmio"}


def test_2022_11_with_an_svsm_is_refused_before_qemu_starts(bookworm_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no SVSM CAA section.*use --svsm-config no-svsm, or a newer OVMF") as caught:
        boot(bookworm_path, tmp_path / "out")
    assert caught.value.exit_status == EXIT_USAGE
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / rundir.COMMAND_LINE).exists()


def test_2022_11_ends_itself_in_pei_where_the_rmp_is_strict(
    bookworm_path: Path, qemu: Path | None, tmp_path: Path
) -> None:
    """PlatformInitEmuVariableNvStore writes the variable store before AmdSevInitialize has validated the memory.

    Its #VC handler does not handle 404 (page not validated), reports it with NAE 8000FFFF and stops.
    """
    result = boot(bookworm_path, tmp_path / "out", "no-svsm", until="shell", qemu=qemu)
    check_violated(result, bookworm_path, 0)
    timeline = result.timeline
    assert timeline.reached is Phase.PEI
    assert not timeline.complete
    [gap] = timeline.gaps
    assert "the firmware reported an exit that it does not support, 404 (#VC for a page that is not validated)" in gap
    assert ", after private access to a page that is not validated: GPA 1F" in gap
    assert " in PlatformPei+" in gap
    [end] = [event for event in timeline.events if event.kind == "host-end"]
    assert end.text in gap
    [violation] = [event for event in timeline.events if event.kind == "rmp-violation"]
    assert violation.text.startswith("private access to a page that is not validated: GPA 1F")
    assert "PlatformPei+" in violation.text
    # Rules that SEC's end does not decide stay open.
    assert result.verdict.result("no-refused-access").status is Status.INCONCLUSIVE


@pytest.mark.slow
def test_2022_11_reaches_the_shell_where_it_is_not(bookworm_path: Path, qemu: Path | None, tmp_path: Path) -> None:
    # Instructions are counted, so that ticks come at the same places: in the #VC of its first MMIO this firmware lets
    # interrupts in, and a tick there nests more #VCs than it has GHCBs for: it hangs.
    config = toml(tmp_path, LENIENT)
    result = boot(bookworm_path, tmp_path / "out", config, until="shell", qemu=qemu, icount=True)
    check_violated(result, bookworm_path, 0)
    assert result.timeline.complete
    assert [mark.phase for mark in result.timeline.phases] == ALL_PHASES
    violations = [event for event in result.timeline.events if event.kind == "rmp-violation"]
    assert any("PlatformPei+" in event.text for event in violations)
    assert b"Shell> " in (result.directory / rundir.SERIAL).read_bytes()


def test_a_plain_guest_on_the_same_apic(trixie_path: Path, tmp_path: Path) -> None:
    check_seven(boot(trixie_path, tmp_path / "out", "plain").timeline, 0)
