# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs over SSH: the same results as here, and the errors if the connection or the host fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.verdict import Status
from snp_harness.cli import main as cli
from snp_harness.firmware_run import RunSpec, run
from snp_harness.hosts import link, remote
from snp_harness.hosts.host_errors import HostDiskError, HostLockedError, HostLostError
from snp_harness.hosts.local import LOCAL
from snp_harness.hosts.remote import RemoteHost
from snp_harness.vm.qemu_errors import QemuMissingError
from tests.hosts.agent_runs import boot, end_the_harness, far_qemu, untimed
from tests.hosts.relay import Relay
from tests.hosts.sshd import Sshd, closed_port
from tests.platforms.boots import Clock
from tests.vm.processes import wait_for_end

pytestmark = [pytest.mark.emulated, pytest.mark.tcg]

Hosts = Callable[..., RemoteHost]
Servers = Callable[..., Sshd]


def agent_pid(host: RemoteHost) -> int:
    """The agent's process; the server runs on this machine."""
    return int(host.link().call("hello", patience_s=30)["pid"])


@pytest.mark.parametrize("platform", ["emulated", "tcg"])
def test_the_same_as_here(platform: str, sshd: Sshd, hosts: Hosts, trixie_path: Path, tmp_path: Path) -> None:
    host = hosts(sshd.url)
    near = boot(LOCAL, trixie_path, tmp_path / "near", platform)
    for name in ("far", "again"):
        far = run(RunSpec(trixie_path, host=host), platform, tmp_path / name)
        assert far.error is None
        assert far.timeline.complete
        assert untimed(far.timeline) == untimed(near.timeline)
        assert [result.status for result in far.verdict.results] == [result.status for result in near.verdict.results]
    # One connection for all runs of a process; only the store remains.
    assert sshd.logins() == 1
    host.close()
    assert list((sshd.cache / "snp-harness" / "runs").iterdir()) == []
    store = list((sshd.cache / "snp-harness" / "store").iterdir())
    assert store
    assert {path.stat().st_mode & 0o777 for path in store} == {0o600}


def test_only_what_changed_is_sent_again(sshd: Sshd, hosts: Hosts, trixie_path: Path, tmp_path: Path) -> None:
    host = hosts(sshd.url)
    store = sshd.cache / "snp-harness" / "store"
    boot(host, trixie_path, tmp_path / "first")
    first = {path.name for path in store.iterdir()}
    boot(host, trixie_path, tmp_path / "second", icount=True, memory_mib=1024)
    # Another configuration changes a page of the ROM, and other memory a parameter in the launch list.
    assert len({path.name for path in store.iterdir()} - first) == 2


def test_the_command(sshd: Sshd, trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(f'[hosts.box]\nurl = "{sshd.url}"\nnotes = "a box"\n')
    command = ["run", "--firmware", str(trixie_path), "--host", "box", "--hosts", str(inventory), "--json", "--quiet"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"]["status"] == "violated"
    environment = json.loads((tmp_path / "out" / "environment.json").read_text())
    assert environment["host"] == "box"
    # On a busy machine an interrupt may come too late for a point.
    assert cli.main(["conformance", "--host", sshd.url, "--quiet", "--out", str(tmp_path / "conformance")]) in (0, 1)
    assert " on ssh://" in capsys.readouterr().out


def test_exit_statuses_of_the_command(
    sshd: Sshd, trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(host: str, *more: str) -> tuple[int, str]:
        command = ["run", "--firmware", str(trixie_path), "--quiet", "--out", str(tmp_path / "out"), "--host", host]
        ended = cli.main([*command, *more])
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("snp-harness: error: ")
        assert said.err.count("\n") == 1
        return ended, said.err

    assert status("ssh://me:secret@box") == (2, status("ssh://me:other@box")[1])
    for usage in ("milan", "http://box", "ssh://me@box/x"):
        assert status(usage)[0] == 2
    assert status(sshd.url, "--qemu", "debian:sid")[0] == 2
    assert status("box", "--hosts", str(tmp_path / "none"))[0] == 2
    with closed_port() as port:
        assert status(f"ssh://me@127.0.0.1:{port}")[0] == 128
    assert status(sshd.url, "--qemu", "/no/qemu")[0] == 128
    sshd.known_hosts.unlink()
    ended, said = status(sshd.url)
    assert (ended, "host key is known for" in said) == (128, True)


def test_a_host_that_is_in_use(
    sshd: Sshd, hosts: Hosts, trixie_path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = hosts(sshd.url)
    first.link()
    with pytest.raises(HostLockedError, match=r"the host is in use: .+@.+ \(process \d+\), since 20"):
        hosts(sshd.url).link()
    with pytest.raises(HostLockedError):
        hosts(sshd.url, wait_s=0.2).link()
    command = ["run", "--firmware", str(trixie_path), "--host", sshd.url, "--quiet", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 128
    assert "is in use" in capsys.readouterr().err
    # A waiting process gets the lock as soon as it is free.
    waiting = hosts(sshd.url, wait_s=600)
    timer = threading.Timer(0.3, first.close)
    timer.start()
    waiting.link()
    timer.join()
    # A killed process does not hold the lock.
    os.kill(agent_pid(waiting), signal.SIGKILL)
    hosts(sshd.url, wait_s=600).link()


def test_no_qemu_there(servers: Servers, hosts: Hosts, trixie_path: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    server = servers(path=tmp_path / "bin")
    with pytest.raises(QemuMissingError, match=r"^ssh://.*: qemu-system-x86_64 is not installed: "):
        boot(hosts(server.url), trixie_path, tmp_path / "out")


def test_a_quota_there(servers: Servers, hosts: Hosts, trixie_path: Path, tmp_path: Path) -> None:
    server = servers(file_size=100_000)
    with pytest.raises(HostDiskError, match=r"the host's disk is full: cannot write .*/store/"):
        boot(hosts(server.url), trixie_path, tmp_path / "out")
    assert list((server.cache / "snp-harness" / "store").glob(".*")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_there(
    small_disk: Path, servers: Servers, trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = servers(environment={"XDG_CACHE_HOME": str(small_disk)})
    command = ["run", "--firmware", str(trixie_path), "--host", server.url, "--quiet", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 128
    said = capsys.readouterr().err
    assert "the host's disk is full" in said
    assert "make room on the host" in said
    assert list(small_disk.glob("snp-harness/store/.*")) == []
    assert list(small_disk.glob("snp-harness/runs/*")) == []


def interrupted(
    host: RemoteHost, platform: str, firmware: Path, out: Path, cut: Callable[[int], None]
) -> tuple[int, int]:
    """Start a run that `cut`, called with the agent's process, breaks in PEI; return QEMU's and the agent's process."""
    seen: list[int] = []
    agent = agent_pid(host)

    def progress(phase: Phase, _accesses: int, _exits: int | None) -> None:
        if phase >= Phase.PEI and not seen:
            seen.append(far_qemu(agent))
            cut(agent)

    result = run(RunSpec(firmware, until="shell", host=host), platform, out, progress)
    assert isinstance(result.error, HostLostError)
    assert result.exit_status >= 128
    # What was observed before is kept and judged, and marked as incomplete.
    assert not result.timeline.complete
    assert result.error.message in result.timeline.gaps[0]
    assert len([access for access in result.timeline.accesses if access.phase is Phase.SEC]) >= 7
    assert result.verdict.result("no-refused-access").status is Status.INCONCLUSIVE
    assert (out / "verdict.json").is_file()
    return seen[0], agent


@pytest.mark.parametrize("platform", ["emulated", pytest.param("tcg", marks=pytest.mark.slow)])
@pytest.mark.parametrize("victim", ["agent", "session", "server"])
def test_a_connection_that_breaks(
    platform: str, victim: str, sshd: Sshd, hosts: Hosts, trixie_path: Path, tmp_path: Path
) -> None:
    def cut(agent: int) -> None:
        if victim == "agent":
            os.kill(agent, signal.SIGKILL)
        elif victim == "session":
            sshd.cut()
        else:
            sshd.stop()

    host = hosts(sshd.url)
    for process in interrupted(host, platform, trixie_path, tmp_path / "out", cut):
        assert wait_for_end(process, 60)
    if victim != "server":
        assert boot(host, trixie_path, tmp_path / "again", platform).error is None
        host.close()
        assert list((sshd.cache / "snp-harness" / "runs").iterdir()) == []


@pytest.mark.parametrize("platform", ["emulated", pytest.param("tcg", marks=pytest.mark.slow)])
def test_a_network_that_is_gone(
    platform: str, sshd: Sshd, hosts: Hosts, trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "PING_S", 0.3)
    # The agent's patience; a busy machine must not look like a lost network.
    monkeypatch.setattr(remote, "PATIENCE_S", 6.0)
    relay = Relay(sshd)
    relay.trust()
    host = hosts(relay.url)
    host.link()
    seen: list[int] = []
    facts = host.facts()["host_facts"]
    assert isinstance(facts, dict)
    agent = int(facts["pid"])

    def progress(phase: Phase, _accesses: int, _exits: int | None) -> None:
        if phase >= Phase.PEI and not seen:
            seen.append(far_qemu(agent))
            relay.stall()
            monkeypatch.setattr(link, "PATIENCE_S", 1.0)

    result = run(RunSpec(trixie_path, until="shell", host=host), platform, tmp_path / "out", progress)
    assert isinstance(result.error, HostLostError)
    assert "nothing was received for" in result.error.message
    assert not result.timeline.complete
    # The agent does not learn that the connection is lost: it ends because it receives nothing.
    assert wait_for_end(seen[0], 60)
    assert wait_for_end(agent, 60)
    assert list((sshd.cache / "snp-harness" / "runs").iterdir()) == []
    relay.close()


@pytest.mark.slow
def test_a_network_that_is_gone_when_the_time_is_over(
    sshd: Sshd, hosts: Hosts, trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snp_harness.vm.machine_base.STOP_TIMEOUT_S", 0.2)
    monkeypatch.setattr(link, "PING_S", 0.3)
    clock = Clock(monkeypatch)
    relay = Relay(sshd)
    relay.trust()
    host = hosts(relay.url)

    def progress(phase: Phase, _accesses: int, _exits: int | None) -> None:
        if phase >= Phase.PEI:
            relay.stall()
            monkeypatch.setattr(link, "PATIENCE_S", 1.0)
            clock.end()

    spec = RunSpec(trixie_path, until="shell", host=host)
    result = run(spec, "emulated", tmp_path / "out", progress)
    # The run's own timeout is first, and QEMU cannot be stopped: what was observed is kept all the same.
    assert result.timeline.gaps[0].startswith("the firmware's prompt was not reached in 120 s")
    assert len([access for access in result.timeline.accesses if access.phase is Phase.SEC]) >= 7
    assert result.verdict.result("no-refused-access").status is Status.INCONCLUSIVE
    relay.close()


RUN = """
import sys
from pathlib import Path
from snp_harness.hosts.inventory import find_host
from snp_harness.firmware_run import RunSpec, run
host = find_host(sys.argv[1])
host.link()
def progress(phase, accesses, exits):
    print(host.facts()["host_facts"]["pid"], flush=True)
run(RunSpec(Path(sys.argv[2]), until="shell", host=host), "emulated", Path(sys.argv[3]), progress)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_harness_that_is_killed(number: signal.Signals, sshd: Sshd, trixie_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, sshd.url, str(trixie_path), str(tmp_path / "out")]
    end_the_harness(command, number)
    assert list((sshd.cache / "snp-harness" / "runs").iterdir()) == []


def test_no_secret_is_written(
    sshd: Sshd, trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = (sshd.home / ".ssh" / "id_ed25519").read_text().splitlines()[2]
    out = tmp_path / "out"
    command = ["run", "--firmware", str(trixie_path), "--host", sshd.url, "--out", str(out)]
    assert cli.main(command) == 1
    (sshd.directory / "authorized_keys").write_text("")
    assert cli.main([*command[:-1], str(tmp_path / "refused")]) == 128
    said = capsys.readouterr()
    written = [path.read_bytes() for path in out.iterdir()]
    assert secret not in said.out + said.err + caplog.text
    assert not any(secret.encode() in data for data in written)
