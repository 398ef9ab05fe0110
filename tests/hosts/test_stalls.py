# SPDX-License-Identifier: GPL-2.0-or-later
"""A server that stops answering at each step of SSH's own exchange: every wait has a timeout."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snp_harness.errors import EXIT_ENVIRONMENT
from snp_harness.hosts import ssh
from snp_harness.hosts.host_errors import HostUnreachableError
from snp_harness.hosts.inventory import find_host
from tests.hosts.relay import Relay
from tests.hosts.sshd import Sshd


@pytest.mark.parametrize("answers", range(6))
def test_a_server_that_stops_after(
    answers: int, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, own_children: Callable[[], set[int]]
) -> None:
    """The answers of a server: its banner, two of the key exchange, and those to the login's requests."""
    monkeypatch.setattr(ssh, "LOGIN_S", 2.0)
    relay = Relay(sshd, after=answers)
    relay.trust()
    host = find_host(relay.url, lock=False)
    with pytest.raises(HostUnreachableError, match="no shell there in 2 s") as caught:
        host.link()
    assert caught.value.exit_status >= EXIT_ENVIRONMENT
    assert "\n" not in str(caught.value)
    relay.close()
    assert own_children() == {sshd.process.pid}


@pytest.mark.parametrize("answers", [1, 4])
def test_ssh_ends_by_itself(answers: int, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    for keyword, value in (("ConnectTimeout", "1"), ("ServerAliveInterval", "1"), ("ServerAliveCountMax", "1")):
        monkeypatch.setitem(ssh._OPTIONS, keyword, value)
    relay = Relay(sshd, after=answers)
    relay.trust()
    with pytest.raises(HostUnreachableError, match="timed out"):
        find_host(relay.url, lock=False).link()
    relay.close()


def test_a_command_that_never_starts(servers: Callable[..., Sshd], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LOGIN_S", 2.0)
    server = servers(options="ForceCommand read line")
    with pytest.raises(HostUnreachableError, match="no shell there in 2 s"):
        find_host(server.url, lock=False).link()
