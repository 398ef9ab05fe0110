# SPDX-License-Identifier: GPL-2.0-or-later
"""pytest with --snp-host, as a user runs it: boots over SSH, several hosts with xdist, hosts that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.hosts.remote import RemoteHost
from snp_harness.testing.hosts import names
from tests.hosts.sshd import Sshd, closed_port

Servers = Callable[..., Sshd]

BOOTS = """
import json, os, pytest
@pytest.mark.snp_emulated
@pytest.mark.parametrize("number", range(4))
def test_boot(number, snp_boot, snp_host, worker_id):
    result = snp_boot({firmware!r})
    assert result.timeline.complete
    environment = json.loads((result.directory / "environment.json").read_text())
    assert environment["host"] == snp_host.name
    with open({log!r}, "a") as log:
        log.write(f"{{worker_id}} {{snp_host.name}}\\n")
"""


def inventory(path: Path, **servers: Sshd) -> Path:
    path.write_text("".join(f'[hosts.{name}]\nurl = "{server.url}"\n' for name, server in servers.items()))
    return path


def test_names() -> None:
    assert names(["a, b", "c", "a"]) == ["a", "b", "c"]
    assert names(["", " , "]) == []


@pytest.mark.emulated
def test_one_host(pytester: pytest.Pytester, sshd: Sshd, trixie_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    pytester.makepyfile(BOOTS.format(firmware=str(trixie_path), log=str(log)))
    pytester.makeini(f"[pytest]\nsnp_host = box\nsnp_inventory = {inventory(tmp_path / 'hosts.toml', box=sshd)}\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["snp-harness: emulated: can run on box"])
    assert log.read_text().splitlines() == ["master box"] * 4
    assert sshd.logins() == 1


@pytest.mark.emulated
def test_two_hosts(pytester: pytest.Pytester, servers: Servers, trixie_path: Path, tmp_path: Path) -> None:
    first = servers()
    second = servers()
    # One home for both.
    second.known_hosts.write_text(first.known_hosts.read_text() + second.known_hosts.read_text())
    (second.directory / "authorized_keys").write_text((second.home / ".ssh" / "id_ed25519.pub").read_text())
    (first.directory / "authorized_keys").write_text((second.home / ".ssh" / "id_ed25519.pub").read_text())
    log = tmp_path / "log"
    pytester.makepyfile(BOOTS.format(firmware=str(trixie_path), log=str(log)))
    hosts = inventory(tmp_path / "hosts.toml", a=first, b=second)
    result = pytester.runpytest_subprocess("-n2", "--snp-host=a", "--snp-host=b", f"--snp-inventory={hosts}")
    result.assert_outcomes(passed=4)
    used = set(log.read_text().splitlines())
    assert used == {"gw0 a", "gw1 b"}
    assert (first.logins(), second.logins()) == (1, 1)


def test_more_hosts_than_processes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("--snp-host=ssh://a,ssh://b")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*2 hosts, but one process: use -n 2*"])


def test_more_workers_than_hosts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess("-n3", "--snp-host=ssh://a,ssh://b")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*-n 3, but 2 hosts*"])


def test_a_host_that_cannot_be_reached(pytester: pytest.Pytester, sshd: Sshd) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.snp\ndef test_it(snp_boot): pass")
    with closed_port() as port:
        result = pytester.runpytest_subprocess(f"--snp-host=ssh://me@127.0.0.1:{port}")
    assert result.ret == 128
    result.stdout.fnmatch_lines(["*snp-harness: ssh://me@127.0.0.1:*Connection refused*"])


def test_a_host_that_a_worker_cannot_reach(pytester: pytest.Pytester, sshd: Sshd) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.snp\ndef test_it(snp_boot): pass")
    with closed_port() as port:
        result = pytester.runpytest_subprocess("-n1", f"--snp-host=ssh://me@127.0.0.1:{port}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Connection refused*"])


def test_a_host_without_the_hardware(pytester: pytest.Pytester, sshd: Sshd) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.snp\ndef test_it(snp_boot): pass")
    result = pytester.runpytest_subprocess("-rs", f"--snp-host={sshd.url}")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*platform snp cannot run on *: *"])


def test_a_host_that_is_in_use(
    pytester: pytest.Pytester, sshd: Sshd, hosts: Callable[..., RemoteHost], tmp_path: Path
) -> None:
    hosts(sshd.url).link()
    pytester.makepyfile("def test_it(snp_host): pass")
    result = pytester.runpytest_subprocess(f"--snp-host={sshd.url}", "--snp-host-wait=0.2")
    assert result.ret == 128
    result.stdout.fnmatch_lines(["*the host is in use: *"])
