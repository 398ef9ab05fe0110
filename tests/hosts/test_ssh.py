# SPDX-License-Identifier: GPL-2.0-or-later
"""Logins to a real sshd on loopback: which hosts are trusted, which keys are used, and the errors of failures."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.errors import EXIT_ENVIRONMENT, BrokenEnvironmentError, HarnessError, UsageError
from snp_harness.hosts import ssh
from snp_harness.hosts.host_errors import HostKeyError, HostLostError, HostUnreachableError, LoginError, NoPythonError
from snp_harness.hosts.remote import RemoteHost
from tests.hosts.sshd import Sshd, closed_port, make_key

Hosts = Callable[..., RemoteHost]
Servers = Callable[..., Sshd]


def refused(host: RemoteHost, kind: type[HarnessError]) -> str:
    """Connect, which fails with that error; return its line."""
    with pytest.raises(kind) as caught:
        host.link()
    assert caught.value.exit_status >= EXIT_ENVIRONMENT
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_key_file(sshd: Sshd, hosts: Hosts) -> None:
    host = hosts(sshd.url)
    assert host.link().call("hello", patience_s=30)["user"] == sshd.user
    assert host.facts()["host"] == sshd.url
    host.link()
    assert sshd.logins() == 1


def test_the_user_s_ssh_configuration(sshd: Sshd, hosts: Hosts) -> None:
    key = sshd.home / ".ssh" / "id_ed25519"
    key.rename(sshd.home / "lab")
    (sshd.home / ".ssh" / "config").write_text(
        f'Include "{sshd.home}/more"\nHost lab\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n'
    )
    # An included file, a pattern with an exception, a match; tokens and variables in values.
    (sshd.home / "more").write_text(
        "Match originalhost l?b,!lob\n IdentityFile ~/%n\n"
        " UserKnownHostsFile ~/.ssh/none ~/.ssh/%n_hosts\n HostKeyAlias lab-key\n"
    )
    # ssh rejects a configuration that others may write to.
    (sshd.home / "more").chmod(0o600)
    kind, content, *_ = Path(f"{sshd.host_key}.pub").read_text().split()
    (sshd.home / ".ssh" / "lab_hosts").write_text(f"lab-key {kind} {content}\n")
    sshd.known_hosts.unlink()
    hosts("ssh://lab").link()
    assert "host key is known for" in refused(hosts(sshd.url), HostKeyError)


def test_a_host_behind_others(servers: Servers, hosts: Hosts) -> None:
    """Each jump host is verified and logged in to; the last host is reached through them."""
    far = servers()
    middle, first = (servers(forwarding=True) for _ in range(2))
    lines = [f"Host * \n User {far.user}\n UserKnownHostsFile ~/.ssh/all_hosts\n IdentityFile ~/.ssh/id_ed25519\n"]
    for name, server, way in (("first", first, ""), ("middle", middle, "first"), ("far", far, "middle")):
        lines.append(f"Host {name}\n HostName 127.0.0.1\n Port {server.port}\n")
        lines.append(f" ProxyJump {way}\n" if way else "")
        # One key for all hosts, the first one's.
        (server.directory / "authorized_keys").write_text(Path(f"{first.home}/.ssh/id_ed25519.pub").read_text())
    (first.home / ".ssh" / "config").write_text("".join(lines))
    known = first.home / ".ssh" / "all_hosts"
    known.write_text("".join(server.known_hosts.read_text() for server in (first, middle, far)))
    hosts("ssh://far", lock=False).link()
    assert [server.logins() for server in (first, middle, far)] == [1, 1, 1]

    known.write_text("".join(server.known_hosts.read_text() for server in (first, far)))
    assert "Host key verification failed" in refused(hosts("ssh://far", lock=False), HostKeyError)
    assert (middle.logins(), far.logins()) == (1, 1)
    known.write_text("".join(server.known_hosts.read_text() for server in (first, middle, far)))
    far.stop()
    text = refused(hosts("ssh://far", lock=False), HostUnreachableError)
    assert "open failed: connect failed: Connection refused" in text


def test_a_host_behind_one_that_is_not_verified(servers: Servers, hosts: Hosts) -> None:
    """The configuration sets the route to a host; the host itself is verified on every route."""
    far = servers()
    first = servers(forwarding=True)
    (far.directory / "authorized_keys").write_text(Path(f"{first.home}/.ssh/id_ed25519.pub").read_text())
    first.configure(
        f"Host first\n HostName 127.0.0.1\n Port {first.port}\n UserKnownHostsFile {os.devnull}\n"
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n ProxyJump first\n"
        f"Host *\n User {far.user}\n StrictHostKeyChecking no\n"
    )
    known = far.known_hosts.read_text()
    first.known_hosts.write_text(known)
    hosts("ssh://far", lock=False).link()
    first.known_hosts.write_text("")
    assert f"host key is known for [127.0.0.1]:{far.port}" in refused(hosts("ssh://far"), HostKeyError)
    assert far.logins() == 1
    assert first.known_hosts.read_text() == ""


def test_an_unknown_host_key(sshd: Sshd, hosts: Hosts) -> None:
    sshd.known_hosts.unlink()
    text = refused(hosts(sshd.url), HostKeyError)
    assert f"host key is known for [127.0.0.1]:{sshd.port}" in text
    assert f"let ssh add it to known_hosts: ssh -p {sshd.port} {sshd.user}@127.0.0.1" in text
    # No key is accepted automatically, and none is written.
    assert not sshd.known_hosts.exists()
    assert sshd.logins() == 0


def test_a_changed_host_key(sshd: Sshd, hosts: Hosts, tmp_path: Path) -> None:
    sshd.trust(make_key(tmp_path / "other"))
    text = refused(hosts(sshd.url), HostKeyError)
    assert f"key for [127.0.0.1]:{sshd.port} has changed" in text
    assert f"Offending ED25519 key in {sshd.known_hosts}:1" in text
    # A key of another type is a change, too.
    sshd.trust(make_key(tmp_path / "rsa", kind="rsa"))
    assert "has changed" in refused(hosts(sshd.url), HostKeyError)
    assert sshd.logins() == 0


def test_a_revoked_host_key(sshd: Sshd, hosts: Hosts) -> None:
    line = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(f"{line}@revoked * {line.split(' ', 1)[1]}")
    assert "revoked: do not use the host" in refused(hosts(sshd.url), HostKeyError)


def test_a_hashed_host_name_and_a_file_of_the_inventory_s(sshd: Sshd, hosts: Hosts, tmp_path: Path) -> None:
    sshd.known_hosts.rename(tmp_path / "hashed")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(tmp_path / "hashed")], check=True, stderr=subprocess.DEVNULL)
    assert "127.0.0.1" not in (tmp_path / "hashed").read_text()
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(f'[hosts.box]\nurl = "{sshd.url}"\nknown_hosts = "{tmp_path / "hashed"}"\n')
    host = hosts("box", inventory=inventory)
    host.link()
    assert host.facts()["host"] == "box"


def test_a_refused_key(sshd: Sshd, hosts: Hosts) -> None:
    (sshd.directory / "authorized_keys").write_text("")
    text = refused(hosts(sshd.url), LoginError)
    assert f"{sshd.user}@127.0.0.1: Permission denied (publickey)" in text


def test_no_key(sshd: Sshd, hosts: Hosts) -> None:
    (sshd.home / ".ssh" / "id_ed25519").unlink()
    assert "Permission denied" in refused(hosts(sshd.url), LoginError)


def test_a_key_with_a_passphrase(sshd: Sshd, hosts: Hosts) -> None:
    key = sshd.home / ".ssh" / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "a passphrase", "-f", key], check=True, stdout=subprocess.DEVNULL)
    assert "one with a passphrase in an ssh-agent" in refused(hosts(sshd.url), LoginError)


def test_a_key_that_cannot_be_read(sshd: Sshd, hosts: Hosts) -> None:
    (sshd.home / ".ssh" / "id_ed25519").write_text("SECRET nonsense\n")
    text = refused(hosts(sshd.url), LoginError)
    assert f'(Load key "{sshd.home}/.ssh/id_ed25519": ' in text
    assert "SECRET" not in text


def test_an_address_of_ipv6(servers: Servers, hosts: Hosts) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    server = servers(options="ListenAddress ::1")
    server.known_hosts.write_text(server.known_hosts.read_text().replace("127.0.0.1", "::1"))
    hosts(f"ssh://{server.user}@[::1]:{server.port}").link()
    (server.home / ".ssh" / "config").write_text(
        f"Host box\n HostName ::1\n AddressFamily inet6\n HostKeyAlias [::1]:{server.port}\n"
    )
    hosts(f"ssh://{server.user}@box:{server.port}", lock=False).link()
    assert server.logins() == 2


@pytest.mark.parametrize("name", ["a..b", "x" * 80])
def test_a_name_that_cannot_be(name: str, servers: Servers, hosts: Hosts) -> None:
    servers()
    assert f"Could not resolve hostname {name}" in refused(hosts(f"ssh://me@{name}"), HostUnreachableError)


def test_a_name_that_is_none(servers: Servers, hosts: Hosts) -> None:
    servers()
    assert "Could not resolve hostname host.invalid" in refused(hosts("ssh://me@host.invalid"), HostUnreachableError)


def test_a_port_that_is_closed(sshd: Sshd, hosts: Hosts) -> None:
    with closed_port() as port:
        text = refused(hosts(f"ssh://me@127.0.0.1:{port}"), HostUnreachableError)
    assert f"connect to host 127.0.0.1 port {port}: Connection refused" in text


def test_a_host_that_does_not_answer(sshd: Sshd, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ssh._OPTIONS, "ConnectTimeout", "1")
    # A listener whose queue is full does not accept a connection.
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        text = refused(hosts(f"ssh://me@127.0.0.1:{full.getsockname()[1]}"), HostUnreachableError)
    assert "Connection timed out" in text


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\xff" * 500])
def test_a_port_of_something_else(said: bytes, sshd: Sshd, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ssh._OPTIONS, "ConnectTimeout", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            # On a busy machine the other side may have ended by then.
            with connection, contextlib.suppress(OSError):
                connection.sendall(said)
                connection.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()
        refused(hosts(f"ssh://me@127.0.0.1:{server.getsockname()[1]}"), HostUnreachableError)
        thread.join(60)


def test_no_python(servers: Servers, hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    server = servers(path=tmp_path / "bin")
    assert "has no python3" in refused(hosts(server.url), NoPythonError)


def test_a_python_that_is_too_old(servers: Servers, hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin" / "python3"
    # The line that loads the agent checks the version first.
    program = "import sys; sys.version_info = (3, 8); exec(sys.argv[sys.argv.index('-c', 1) + 1])"
    # Without an interpreter line: that does not support a path with spaces.
    old.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(program)} - "$@"\n')
    old.chmod(0o755)
    server = servers(path=tmp_path / "bin")
    assert "python3 on " in refused(hosts(server.url), NoPythonError)


def test_sudo(sshd: Sshd, hosts: Hosts, tmp_path: Path) -> None:
    if (
        shutil.which("sudo") is None
        or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no sudo that asks for no password")
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(f'[hosts.box]\nurl = "{sshd.url}"\nsudo = true\n')
    assert hosts("box", inventory=inventory, lock=False).link().call("hello", patience_s=30)["user"] == "root"


@pytest.mark.parametrize("allowed", [True, False])
def test_sudo_that_is_or_is_not_allowed(allowed: bool, servers: Servers, hosts: Hosts, tmp_path: Path) -> None:
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text(
        f'#!/bin/sh\n[ "$1" = -n ] && shift && {"true" if allowed else "false"} && exec "$@"\n'
        "echo sudo: a password is required >&2\nexit 1\n"
    )
    sudo.chmod(0o755)
    (sudo.parent / "python3").symlink_to(sys.executable)
    server = servers(path=sudo.parent)
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(f'[hosts.box]\nurl = "{server.url}"\nsudo = true\n')
    host = hosts("box", inventory=inventory)
    if allowed:
        host.link()
    else:
        text = refused(host, HostLostError)
        assert "ended with status 1, its last words: sudo: a password is required" in text
        assert "sudo must work without a password there" in text


def test_a_login_shell_that_talks(servers: Servers, hosts: Hosts) -> None:
    server = servers(options='ForceCommand echo welcome to the lab; echo news >&2; eval "$SSH_ORIGINAL_COMMAND"')
    assert hosts(server.url).link().call("hello", patience_s=30)["user"] == server.user


def test_an_account_that_may_run_nothing(servers: Servers, hosts: Hosts) -> None:
    server = servers(options="ForceCommand echo This account is closed.; exit 7")
    text = refused(hosts(server.url), HostLostError)
    assert "ended with status 7" in text


def test_an_agent_that_is_killed(sshd: Sshd, hosts: Hosts) -> None:
    host = hosts(sshd.url)
    pid = host.link().call("hello", patience_s=30)["pid"]
    os.kill(pid, signal.SIGKILL)
    link = host.link()
    assert isinstance(link.ask("find", qemu="/no/qemu").exception(60), HostLostError)
    assert link.error is not None
    assert "was killed" in link.error.message
    # The next use connects again.
    assert host.link().call("hello", patience_s=30)["pid"] != pid


def test_a_killed_ssh(sshd: Sshd, hosts: Hosts, own_children: Callable[[], set[int]]) -> None:
    """The process is reaped, and the next use starts another."""
    host = hosts(sshd.url)
    link = host.link()
    [process] = own_children() - {sshd.process.pid}
    os.kill(process, signal.SIGKILL)
    assert isinstance(link.ask("find", qemu="/no/qemu").exception(60), HostLostError)
    assert link.error is not None
    assert "ssh ended with signal 9" in link.error.message
    host.link().call("hello", patience_s=30)
    assert process not in own_children()
    host.close()
    assert own_children() == {sshd.process.pid}


def test_an_account_without_a_shell_s_output(
    servers: Servers, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, own_children: Callable[[], set[int]]
) -> None:
    monkeypatch.setattr(ssh, "LOGIN_S", 3.0)
    server = servers(options="ForceCommand echo waiting for a licence >&2; read line")
    text = refused(hosts(server.url), HostUnreachableError)
    assert "no shell there in 3 s" in text
    assert f"ssh -v -p {server.port} {server.user}@127.0.0.1" in text
    assert own_children() == {server.process.pid}


def test_a_host_that_floods_stderr(servers: Servers, hosts: Hosts) -> None:
    server = servers(options='ForceCommand yes "$(printf "\\033[2J")evil" | head -c 50000000 >&2; exit 9')
    host = hosts(server.url)
    text = refused(host, HostLostError)
    assert "ended with status 9, its last words: ?[2J" in text
    assert len(text) < 1000


def test_a_host_that_writes_what_ssh_writes(servers: Servers, hosts: Hosts) -> None:
    """A host cannot report its own failure as an error of the user, which a bisection would count as a bad commit."""
    said = "/etc/ssh/ssh_config: terminating, 1 bad configuration options"
    server = servers(options=f"ForceCommand echo {said} >&2; exit 255")
    assert said in refused(hosts(server.url), HostUnreachableError)


def test_no_ssh(sshd: Sshd, hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ssh, which connects to hosts, is not installed" in refused(hosts(sshd.url), BrokenEnvironmentError)


def test_files_of_the_inventory_s_with_special_characters(sshd: Sshd, hosts: Hosts, tmp_path: Path) -> None:
    odd = tmp_path / "50% #'x $HOME; $(y)"
    odd.mkdir()
    sshd.known_hosts.rename(odd / "known")
    (sshd.home / ".ssh" / "id_ed25519").rename(odd / "key")
    inventory = tmp_path / "hosts.toml"
    files = f'known_hosts = "{odd}/known"\nidentity = "{odd}/key"'
    inventory.write_text(f'[hosts.box]\nurl = "{sshd.url}"\n{files}\n')
    hosts("box", inventory=inventory).link()
    for name in ('/a"b', "/a\\b", "/${HOME}/a"):
        with pytest.raises(UsageError, match="does not support the path"):
            ssh.SshHost("box", sshd.url, identity=Path(name))


@pytest.mark.parametrize(
    "url",
    [
        "ssh://me:secret@box",
        "ssh://me@box/path",
        "ssh://",
        "ssh://me@box:99999",
        "ssh://-oProxyCommand=x@box",
        "ssh://me@-box",
        "ssh://me@box?x=1",
        "ssh://[box",
        "box",
    ],
)
def test_what_is_no_host(url: str, hosts: Hosts, servers: Servers) -> None:
    servers()
    with pytest.raises(UsageError) as caught:
        hosts(url)
    assert "secret" not in str(caught.value)
