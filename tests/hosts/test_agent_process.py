# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs through an agent that is a process of this machine: the same results, and cleanup whichever process dies."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.firmware_run import RunSpec, run
from snp_harness.hosts.agent_process import ProcessHost
from snp_harness.hosts.host_errors import HostLostError
from snp_harness.hosts.local import LOCAL
from snp_harness.svsm.config_files import load_config
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import QemuDiedError, QemuLaunchError, QemuMissingError, QemuTooOldError
from tests.hosts.agent_runs import boot, end_the_harness, far_qemu, untimed
from tests.platforms.conftest import trixie_path
from tests.vm.processes import wait_for_end
from tests.vm.qemus import script

__all__ = ["trixie_path"]

pytestmark = [pytest.mark.emulated, pytest.mark.tcg]


@pytest.fixture
def host(cache: Path) -> Iterator[ProcessHost]:
    made = ProcessHost()
    yield made
    made.close()
    assert list(cache.glob("runs/*")) == []


@pytest.mark.parametrize("platform", ["emulated", "tcg"])
def test_the_same_as_without_an_agent(platform: str, host: ProcessHost, trixie_path: Path, tmp_path: Path) -> None:
    near = boot(LOCAL, trixie_path, tmp_path / "near", platform)
    for name in ("far", "again"):
        far = boot(host, trixie_path, tmp_path / name, platform)
        assert far.error is None
        assert far.timeline.complete
        assert untimed(far.timeline) == untimed(near.timeline)
        assert [result.status for result in far.verdict.results] == [result.status for result in near.verdict.results]
        assert far.qemu == f"{near.qemu} on local"
        files = {path.name for path in far.directory.iterdir()}
        assert files == {path.name for path in near.directory.iterdir()}
    environment = json.loads((far.directory / rundir.ENVIRONMENT).read_text())
    assert environment["host"] == "local"
    assert environment["host_facts"]["kernel"] == os.uname().release


def test_two_witnesses(host: ProcessHost, trixie_path: Path, tmp_path: Path) -> None:
    result = boot(host, trixie_path, tmp_path / "out", svsm=load_config("two-witnesses"))
    assert result.second is not None
    assert result.timeline.complete
    assert untimed(result.second)


def test_an_argument_that_qemu_refuses(host: ProcessHost, trixie_path: Path, tmp_path: Path) -> None:
    for platform in ("tcg", "emulated"):
        with pytest.raises(QemuLaunchError, match="no-such-device"):
            boot(host, trixie_path, tmp_path / "out", platform, extra_args=("-device", "no-such-device"))


def test_no_qemu(host: ProcessHost, trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(QemuMissingError, match=r"^local: QEMU /no/qemu not found"):
        boot(host, trixie_path, tmp_path / "out", qemu=Path("/no/qemu"))


def test_a_qemu_that_is_too_old(host: ProcessHost, trixie_path: Path, tmp_path: Path) -> None:
    old = script(tmp_path / "qemu", "QEMU emulator version 6.2.0")
    with pytest.raises(QemuTooOldError, match=r"7\.2 or newer is needed"):
        boot(host, trixie_path, tmp_path / "out", qemu=old)


def agent_of(host: ProcessHost) -> int:
    facts = host.facts()["host_facts"]
    assert isinstance(facts, dict)
    return int(facts["pid"])


@pytest.mark.parametrize("platform", ["emulated", "tcg"])
@pytest.mark.parametrize("victim", ["qemu", "agent"])
def test_what_was_seen_is_kept(
    platform: str, victim: str, host: ProcessHost, trixie_path: Path, tmp_path: Path
) -> None:
    seen: list[int] = []

    def kill(phase: Phase, _accesses: int, _exits: int | None) -> None:
        if phase >= Phase.PEI and not seen:
            agent = agent_of(host)
            seen.append(far_qemu(agent))
            os.kill(seen[0] if victim == "qemu" else agent, signal.SIGKILL)

    result = run(RunSpec(trixie_path, until="shell", host=host), platform, tmp_path / "out", kill)
    assert wait_for_end(seen[0], 60)
    assert isinstance(result.error, QemuDiedError if victim == "qemu" else HostLostError)
    assert result.exit_status >= 128
    assert not result.timeline.complete
    assert len([access for access in result.timeline.accesses if access.phase is Phase.SEC]) >= 7
    assert result.verdict.result("no-refused-access").status.value == "inconclusive"
    # The next run has an agent again, which removes what the dead one left.
    again = boot(host, trixie_path, tmp_path / "again", platform)
    assert again.error is None


RUN = """
import sys
from pathlib import Path
from snp_harness.hosts.agent_process import ProcessHost
from snp_harness.firmware_run import RunSpec, run
host = ProcessHost()
def progress(phase, accesses, exits):
    print(host.facts()["host_facts"]["pid"], flush=True)
run(RunSpec(Path(sys.argv[1]), until="shell", host=host), "emulated", Path(sys.argv[2]), progress)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_harness_that_is_killed_leaves_nothing(
    number: signal.Signals, cache: Path, trixie_path: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", RUN, str(trixie_path), str(tmp_path / "out")]
    end_the_harness(command, number)
    assert list(cache.glob("runs/*")) == []
