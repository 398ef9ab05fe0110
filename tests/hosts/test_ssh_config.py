# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's ssh configuration at a real sshd on loopback: what it can change and what it cannot."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snp_harness.errors import EXIT_USAGE, UsageError
from snp_harness.hosts import ssh
from snp_harness.hosts.host_errors import HostKeyError, HostLostError, HostUnreachableError
from snp_harness.hosts.remote import RemoteHost
from tests.hosts.sshd import Sshd, free_port
from tests.vm.processes import is_running, wait_for_end

Hosts = Callable[..., RemoteHost]
Servers = Callable[..., Sshd]


def test_parts_of_the_url_come_first(sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure(f"Host *\n User nobody\n Port {free_port()}\n HostName 127.0.0.1\n")
    hosts(f"ssh://{sshd.user}@box:{sshd.port}", lock=False).link()
    with pytest.raises(HostUnreachableError, match="Connection refused"):
        hosts(f"ssh://{sshd.user}@box").link()


@pytest.mark.parametrize("checking", ["no", "off", "accept-new", "ask", "yes"])
def test_no_key_is_accepted_silently(checking: str, sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure(
        f"StrictHostKeyChecking {checking}\nNoHostAuthenticationForLocalhost yes\nVerifyHostKeyDNS yes\nBatchMode no\n"
    )
    sshd.known_hosts.unlink()
    with pytest.raises(HostKeyError, match="host key is known for"):
        hosts(sshd.url).link()
    assert not sshd.known_hosts.exists()
    assert sshd.logins() == 0


@pytest.mark.parametrize("file", [os.devnull, "none"])
def test_a_configuration_that_knows_no_keys(file: str, sshd: Sshd, hosts: Hosts) -> None:
    """A common configuration for the hosts of a lab: ssh accepts any key."""
    sshd.configure(f"StrictHostKeyChecking no\nUserKnownHostsFile {file}\n")
    with pytest.raises(HostKeyError):
        hosts(sshd.url).link()
    assert sshd.logins() == 0


def test_a_known_host_s_other_keys_are_not_added(sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure("UpdateHostKeys yes\n")
    before = sshd.known_hosts.read_bytes()
    hosts(sshd.url).link()
    assert sshd.known_hosts.read_bytes() == before


def test_what_is_for_a_terminal_or_another_program(sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure(
        f"RequestTTY force\nRemoteCommand ls\nLogLevel DEBUG3\nForwardX11 yes\nForwardAgent yes\n"
        f"LocalForward {sshd.port} 127.0.0.1:1\nExitOnForwardFailure yes\n"
    )
    assert hosts(sshd.url).link().call("hello", patience_s=30)["user"] == sshd.user


def test_a_configuration_that_says_nothing_of_failures(sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure("LogLevel QUIET\n")
    sshd.known_hosts.unlink()
    with pytest.raises(HostKeyError, match="host key is known for"):
        hosts(sshd.url).link()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Nonsense yes", "line 1: Bad configuration option: nonsense"),
        ("Match exec", "exec"),
        ("Port x", "line 1"),
        ("Include [", None),
    ],
)
def test_a_configuration_that_ssh_refuses(text: str, said: str | None, sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure(f"{text}\n")
    if said is None:
        hosts(sshd.url).link()
        return
    with pytest.raises(UsageError) as caught:
        hosts(sshd.url).link()
    assert caught.value.exit_status == EXIT_USAGE
    assert said in caught.value.message
    assert "\n" not in str(caught.value)


def test_algorithms(sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure("Ciphers aes256-cbc\n")
    with pytest.raises(HostUnreachableError, match="no matching cipher found"):
        hosts(sshd.url).link()
    sshd.configure("Ciphers aes256-ctr\nKexAlgorithms ecdh-sha2-nistp256\nMACs hmac-sha2-512\nCompression yes\n")
    hosts(sshd.url).link()


def test_a_match_that_runs_a_program(sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure(f'Match exec "true"\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n')
    hosts("ssh://box").link()
    assert sshd.logins() == 1


def test_a_match_that_runs_for_long(sshd: Sshd, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LOGIN_S", 0.5)
    fifo = sshd.home / "fifo"
    os.mkfifo(fifo)
    sshd.configure(f'Match exec "cat {shlex.quote(str(fifo))}"\n User x\n')
    with pytest.raises(HostUnreachableError, match=r"no shell there in 0\.5 s"):
        hosts(sshd.url).link()
    # The processes that it started end: the other end is closed.
    with contextlib.suppress(OSError), os.fdopen(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), "wb") as writer:
        poll = select.poll()
        poll.register(writer, 0)
        assert poll.poll(60_000)


def test_addresses(sshd: Sshd, hosts: Hosts) -> None:
    sshd.configure("Host box\n HostName localhost\n AddressFamily inet\n BindAddress 127.0.0.1\n HostKeyAlias key\n")
    sshd.known_hosts.write_text(sshd.known_hosts.read_text().replace(f"[127.0.0.1]:{sshd.port}", "key"))
    hosts(f"ssh://{sshd.user}@box:{sshd.port}").link()
    assert sshd.logins() == 1


@pytest.fixture
def shared(sshd: Sshd, short: Path) -> Path:
    """The socket of a connection that its user shares, as the configuration has it."""
    sshd.configure(f"ControlMaster auto\nControlPath {short}/shared\nControlPersist 600\n")
    return short / "shared"


@pytest.fixture
def master(sshd: Sshd, shared: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Such a connection."""
    command = ["ssh", "-M", "-N", "-o", "ControlPersist=no", "-p", str(sshd.port), f"{sshd.user}@127.0.0.1"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        for _ in range(6000):
            assert process.poll() is None
            if shared.exists():
                break
            threading.Event().wait(0.01)
        try:
            yield process
        finally:
            process.terminate()


def test_no_connection_stays_behind_to_be_shared(sshd: Sshd, shared: Path, hosts: Hosts) -> None:
    host = hosts(sshd.url)
    host.link()
    assert not shared.exists()
    host.close()
    assert all(wait_for_end(process, 60) for process in sshd.sessions())


def test_a_connection_that_is_shared(sshd: Sshd, hosts: Hosts, master: subprocess.Popen[bytes]) -> None:
    # No key is needed for another login.
    (sshd.directory / "authorized_keys").write_text("")
    host = hosts(sshd.url, lock=False)
    host.link()
    assert sshd.logins() == 1
    host.close()
    assert is_running(master.pid)
    link = host.link()
    master.terminate()
    assert isinstance(link.ask("find", qemu="/no/qemu").exception(60), HostLostError)
