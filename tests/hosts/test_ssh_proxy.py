# SPDX-License-Identifier: GPL-2.0-or-later
"""ssh's ProxyCommand: a program connects to a real sshd, and it has ended whichever way the harness ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.hosts import ssh
from snp_harness.hosts.host_errors import HostLostError, HostUnreachableError
from snp_harness.hosts.remote import RemoteHost
from tests.hosts.sshd import Sshd
from tests.vm.processes import wait_for_end

Hosts = Callable[..., RemoteHost]

#: Forwards bytes, as nc does. It writes its process id first; neither the end of its input nor SIGTERM ends it.
STUBBORN = """
import os, signal, socket, sys, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[3], "w").write(f"{os.getpid()} ")
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def copy():
    while data := far.recv(65536):
        os.write(1, data)
threading.Thread(target=copy, daemon=True).start()
while data := os.read(0, 65536):
    far.sendall(data)
signal.pause()
"""


@pytest.fixture
def proxy(sshd: Sshd) -> Path:
    """The file that the program writes its process id to. The host `box` is reached through the program."""
    (sshd.home / "proxy.py").write_text(STUBBORN)
    pid = sshd.home / "pid"
    configure(sshd, shlex.join([sys.executable, f"{sshd.home}/proxy.py", "%h", "%p", str(pid)]))
    return pid


def configure(sshd: Sshd, command: str) -> None:
    sshd.configure(f"Host box\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n ProxyCommand {command}\n")


def pid_of(proxy: Path) -> int:
    return int(proxy.read_text().split()[-1])


def test_a_host_by_a_program(sshd: Sshd, proxy: Path, hosts: Hosts, own_children: Callable[[], set[int]]) -> None:
    host = hosts("ssh://box")
    assert host.link().call("hello", patience_s=30)["user"] == sshd.user
    pid = pid_of(proxy)
    os.kill(pid, 0)
    host.close()
    assert wait_for_end(pid, 60)
    # ssh, which started it, is reaped.
    assert own_children() == {sshd.process.pid}


def test_a_program_that_dies_in_between(sshd: Sshd, proxy: Path, hosts: Hosts) -> None:
    host = hosts("ssh://box", lock=False)
    link = host.link()
    os.kill(pid_of(proxy), signal.SIGKILL)
    assert isinstance(link.ask("hello", patience_s=30).exception(120), HostLostError)
    host.link().call("hello", patience_s=30)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_harness_that_is_killed(number: signal.Signals, sshd: Sshd, proxy: Path) -> None:
    code = (
        "import sys\nfrom snp_harness.hosts.inventory import find_host\nfind_host('ssh://box').link()\n"
        "print('there', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.send_signal(number)
        process.wait(120)
    assert wait_for_end(pid_of(proxy), 60)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/program %h %p", r"/no/such/program: (No such file or directory|not found)\)"),
        ("sh -c 'echo no way to %h >&2; exit 3'", r"\(no way to 127\.0\.0\.1\)"),
        ("echo 'HTTP/1.1 400 Bad Request'", "Connection closed by"),
        ("true", "Connection closed by"),
    ],
)
def test_a_program_that_does_not_connect(command: str, said: str, sshd: Sshd, hosts: Hosts) -> None:
    configure(sshd, command)
    with pytest.raises(HostUnreachableError, match=said) as caught:
        hosts("ssh://box").link()
    assert "\n" not in str(caught.value)


def test_a_program_that_hangs(sshd: Sshd, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LOGIN_S", 1.0)
    pid = sshd.home / "pid"
    # What it starts is ended with it.
    configure(sshd, f"sh -c 'sleep 600 & echo $! > \"$0\"; wait' {shlex.quote(str(pid))}")
    with pytest.raises(HostUnreachableError, match="no shell there in 1 s"):
        hosts("ssh://box").link()
    # It may have been ended before it wrote its process id.
    started = pid.read_text().split() if pid.exists() else []
    assert all(wait_for_end(int(one), 60) for one in started)


def test_a_command_for_a_shell(sshd: Sshd, proxy: Path, hosts: Hosts) -> None:
    """ssh passes it to the program."""
    sshd.configure((sshd.home / ".ssh" / "config").read_text().rstrip("\n") + ' 2>"$HOME/said"\n')
    hosts("ssh://box").link()
    assert (sshd.home / "said").exists()


def test_the_first_host_on_the_way_by_a_program(servers: Callable[..., Sshd], hosts: Hosts) -> None:
    far = servers()
    first = servers(forwarding=True)
    (far.directory / "authorized_keys").write_text(Path(f"{first.home}/.ssh/id_ed25519.pub").read_text())
    (first.home / "proxy.py").write_text(STUBBORN)
    configure(first, shlex.join([sys.executable, f"{first.home}/proxy.py", "%h", "%p", f"{first.home}/pid"]))
    with (first.home / ".ssh" / "config").open("a") as file:
        file.write(f"Host far\n HostName 127.0.0.1\n Port {far.port}\n User {far.user}\n ProxyJump box\n")
    first.known_hosts.write_text(first.known_hosts.read_text() + far.known_hosts.read_text())
    host = hosts("ssh://far")
    host.link()
    assert [server.logins() for server in (first, far)] == [1, 1]
    host.close()
    assert wait_for_end(pid_of(first.home / "pid"), 60)
