# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that runs on another host, over SSH."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.guest.guest import boot
from snp_harness.guest.guest_errors import GuestEndedError
from snp_harness.hosts.host_errors import HostLostError
from snp_harness.hosts.remote import RemoteHost
from snp_harness.vm import rundir
from tests.guest.inside import look_inside
from tests.guest.methods import use_all
from tests.hosts.conftest import hosts, own_children, servers, sshd
from tests.hosts.sshd import Sshd

__all__ = ["hosts", "own_children", "servers", "sshd"]

Hosts = Callable[..., RemoteHost]


@pytest.mark.parametrize(
    ("platform", "config"),
    [
        pytest.param("emulated", "plain", marks=pytest.mark.emulated),
        pytest.param("tcg", None, marks=pytest.mark.tcg),
    ],
)
def test_a_guest_over_ssh(
    platform: str, config: str | None, sshd: Sshd, hosts: Hosts, echo_firmware: Path, tmp_path: Path
) -> None:
    host, out = hosts(sshd.url), tmp_path / "out"
    with boot(echo_firmware, platform=platform, config=config, out=out, timeout_s=300, host=host) as guest:
        look_inside(guest)
        use_all(guest, "QEMU runs on another host")
    assert [(result.directory / rundir.VERDICT).is_file() for result in guest.boots] == [True, True]


@pytest.mark.tcg
def test_a_connection_that_is_lost_ends_the_guest(
    sshd: Sshd, hosts: Hosts, echo_firmware: Path, tmp_path: Path
) -> None:
    host = hosts(sshd.url)

    def lost() -> None:
        with boot(echo_firmware, platform="tcg", out=tmp_path / "out", timeout_s=300, host=host) as guest:
            guest.wait_for("ready")
            os.kill(int(host.link().call("hello", patience_s=30)["pid"]), signal.SIGKILL)
            with pytest.raises(GuestEndedError):
                guest.wait_for(lambda _: False)

    with pytest.raises(HostLostError):
        lost()
    assert (tmp_path / "out" / rundir.VERDICT).is_file()
