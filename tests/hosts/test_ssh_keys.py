# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and certificates at a real sshd on loopback: in files, in an ssh-agent, and the errors if none is accepted."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snp_harness.hosts import ssh
from snp_harness.hosts.host_errors import HostKeyError, HostUnreachableError, LoginError
from snp_harness.hosts.remote import RemoteHost
from tests.hosts.sshd import Sshd, certify, make_key

Hosts = Callable[..., RemoteHost]
Servers = Callable[..., Sshd]


@contextmanager
def ssh_agent(path: Path) -> Iterator[Callable[..., None]]:
    """Start an ssh-agent at a socket and add keys to it."""

    def add(*keys: Path) -> None:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", *map(str, keys)], env=environment, check=True)

    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        _wait_until_it_listens(path, process)
        try:
            yield add
        finally:
            process.terminate()


def _wait_until_it_listens(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until the socket accepts connections: it exists earlier."""
    for _ in range(6000):
        assert process.poll() is None, "ssh-agent ended"
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        threading.Event().wait(0.01)
    raise AssertionError("ssh-agent does not listen")


def configure(sshd: Sshd, text: str) -> None:
    sshd.configure(f"Host *\n {text}\n")


def refused(host: RemoteHost) -> LoginError:
    with pytest.raises(LoginError) as caught:
        host.link()
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_key_of_the_ssh_agent(sshd: Sshd, hosts: Hosts, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = sshd.home / ".ssh" / "id_ed25519"
    with ssh_agent(short / "a") as add:
        add(key)
        key.unlink()
        key.with_name("id_ed25519.pub").unlink()
        refused(hosts(sshd.url))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(short / "a"))
        hosts(sshd.url, lock=False).link()
        # With IdentitiesOnly the agent may offer only keys that a file names.
        configure(sshd, "IdentitiesOnly yes")
        refused(hosts(sshd.url))
        key.with_name("id_ed25519.pub").write_text((sshd.directory / "authorized_keys").read_text())
        hosts(sshd.url, lock=False).link()


def test_the_agent_that_the_configuration_names(
    sshd: Sshd, hosts: Hosts, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = sshd.home / ".ssh" / "id_ed25519"
    with ssh_agent(short / "a") as add, ssh_agent(short / "b"):
        add(key)
        key.unlink()
        key.with_name("id_ed25519.pub").unlink()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(short / "b"))
        refused(hosts(sshd.url))
        configure(sshd, f"IdentityAgent {short}/a")
        hosts(sshd.url, lock=False).link()
        configure(sshd, "IdentityAgent none")
        refused(hosts(sshd.url))
    configure(sshd, f"IdentityAgent {short}/none")
    refused(hosts(sshd.url))


def test_a_public_key_names_the_agent_s_key(
    servers: Servers, hosts: Hosts, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration for keys without a file: of a token, or of a password manager."""
    server = servers(tries=2)
    right = server.home / ".ssh" / "id_ed25519"
    with ssh_agent(short / "a") as add:
        add(*(make_key(tmp_path / f"key{number}") for number in range(3)), right)
        right.unlink()
        named = Path(f"{right}.pub").rename(server.home / "work.pub")
        configure(server, f'IdentityAgent {short}/a\n IdentityFile "{named}"\n IdentitiesOnly yes')
        hosts(server.url, lock=False).link()
    configure(server, f'IdentityAgent none\n IdentityFile "{named}"')
    refused(hosts(server.url))


def test_an_agent_that_hangs(sshd: Sshd, hosts: Hosts, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "LOGIN_S", 2.0)
    (sshd.home / ".ssh" / "id_ed25519").unlink()
    configure(sshd, f"IdentityAgent {short}/a")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short / "a"))
        server.listen()
        with pytest.raises(HostUnreachableError, match="no shell there in 2 s"):
            hosts(sshd.url).link()


def test_an_agent_with_more_keys_than_the_host_lets_try(
    servers: Servers, hosts: Hosts, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers(tries=3)
    right = server.home / ".ssh" / "id_ed25519"
    right.rename(server.home / "right")
    Path(f"{right}.pub").rename(server.home / "right.pub")
    with ssh_agent(short / "a") as add:
        add(*(make_key(tmp_path / f"key{number}") for number in range(4)), server.home / "right")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(short / "a"))
        error = refused(hosts(server.url))
        assert "Too many authentication failures" in error.message
        assert "IdentitiesOnly" in error.hint
        # A named key is offered first, whether it is in its file or in the agent.
        configure(server, f'IdentityFile "{server.home}/right"')
        hosts(server.url, lock=False).link()
        (server.home / "right").unlink()
        hosts(server.url, lock=False).link()


def test_several_key_files(sshd: Sshd, hosts: Hosts, tmp_path: Path) -> None:
    others = [make_key(tmp_path / f"key{number}", kind=kind) for number, kind in enumerate(("rsa", "ecdsa", "ed25519"))]
    named = "\n ".join(f'IdentityFile "{path}"' for path in (*others, sshd.home / ".ssh" / "id_ed25519"))
    configure(sshd, named)
    hosts(sshd.url).link()
    assert sshd.logins() == 1


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("place", ["beside", "named", "agent"])
def test_a_user_s_certificate(
    kind: str, place: str, servers: Servers, hosts: Hosts, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make_key(tmp_path / "ca")
    server = servers(options=f'TrustedUserCAKeys "{authority}.pub"')
    (server.directory / "authorized_keys").write_text("")
    key = make_key(server.home / "key", kind=kind)
    certify(authority, key, "-n", server.user, host=False)
    certificate = server.home / "key-cert.pub"
    if place == "beside":
        configure(server, f'IdentityFile "{key}"')
        hosts(server.url).link()
    elif place == "named":
        moved = certificate.rename(server.home / "elsewhere.pub")
        configure(server, f'IdentityFile "{key}"\n CertificateFile "{server.home}/none"\n CertificateFile "{moved}"')
        hosts(server.url).link()
    else:
        with ssh_agent(short / "a") as add:
            add(key)
            for file in (key, certificate, Path(f"{key}.pub")):
                file.unlink()
            configure(server, f"IdentityAgent {short}/a\n IdentityFile none")
            hosts(server.url).link()
    assert "Accepted certificate" in server.log.read_text() or "CERT" in server.log.read_text()


@pytest.mark.parametrize("known", ["rsa", "ecdsa", "ed25519"])
def test_a_host_with_keys_of_several_types(known: str, servers: Servers, hosts: Hosts, tmp_path: Path) -> None:
    """If one of the host's keys is known, ssh requests that one, whichever the host prefers."""
    more = [make_key(tmp_path / f"host-{kind}", kind=kind) for kind in ("rsa", "ecdsa")]
    server = servers(options="\n".join(f'HostKey "{key}"' for key in more))
    server.trust({"rsa": more[0], "ecdsa": more[1], "ed25519": server.host_key}[known])
    hosts(server.url).link()
    # If the configuration does not allow that type, the host sends another key.
    configure(server, f"HostKeyAlgorithms {'ssh-ed25519' if known != 'ed25519' else 'rsa-sha2-256'}")
    with pytest.raises(HostKeyError, match="has changed"):
        hosts(server.url).link()


def test_a_host_s_certificate(servers: Servers, hosts: Hosts, tmp_path: Path) -> None:
    authority = make_key(tmp_path / "ca")
    host_key = make_key(tmp_path / "host")
    certify(authority, host_key, "-n", "127.0.0.1")
    server = servers(options=f'HostKey "{host_key}"\nHostCertificate "{host_key}-cert.pub"')
    content = " ".join(Path(f"{authority}.pub").read_text().split()[:2])
    server.known_hosts.write_text(f"@cert-authority [127.0.0.1]:* {content}\n")
    hosts(server.url, lock=False).link()
    # A changed key of the host does not matter then, as in ssh itself.
    other = " ".join(Path(f"{make_key(tmp_path / 'other')}.pub").read_text().split()[:2])
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}\n@cert-authority * {content}\n")
    hosts(server.url, lock=False).link()
    # Another authority, and a revoked one.
    server.known_hosts.write_text(f"@cert-authority * {other}\n")
    with pytest.raises(HostKeyError, match="host key is known for"):
        hosts(server.url).link()
    server.known_hosts.write_text(f"@cert-authority * {content}\n@revoked * {content}\n")
    with pytest.raises(HostKeyError, match="revoked"):
        hosts(server.url).link()
    # A revoked key is rejected, whoever signed it.
    revoked = " ".join(Path(f"{host_key}.pub").read_text().split()[:2])
    server.known_hosts.write_text(f"@cert-authority * {content}\n@revoked * {revoked}\n")
    with pytest.raises(HostKeyError, match="revoked"):
        hosts(server.url).link()
    assert server.logins() == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-n", "elsewhere"), "Certificate invalid: name is not a listed principal"),
        (("-n", "127.0.0.1", "-V", "-2h:-1h"), "Certificate invalid: expired"),
        (("-n", "127.0.0.1", "-V", "+1h:+2h"), "Certificate invalid: not yet valid"),
        (("-n", "127.0.0.1", "-O", "critical:x@y=z"), "Certificate"),
        (("-n", "127.0.0.1", "-t", "ssh-rsa"), "host key"),
    ],
)
def test_a_host_s_certificate_that_is_refused(
    options: tuple[str, ...], said: str, servers: Servers, hosts: Hosts, tmp_path: Path
) -> None:
    kind = "rsa" if "ssh-rsa" in options else "ed25519"
    authority, host_key = make_key(tmp_path / "ca", kind=kind), make_key(tmp_path / "host")
    certify(authority, host_key, *options)
    server = servers(options=f'HostKey "{host_key}"\nHostCertificate "{host_key}-cert.pub"')
    content = " ".join(Path(f"{authority}.pub").read_text().split()[:2])
    server.known_hosts.write_text(f"@cert-authority * {content}\n")
    with pytest.raises(HostKeyError) as caught:
        hosts(server.url).link()
    assert said in caught.value.message
    assert server.logins() == 0


def test_keys_of_hosts_that_a_command_knows(sshd: Sshd, hosts: Hosts) -> None:
    known = sshd.known_hosts.rename(sshd.home / "known")
    configure(sshd, f"KnownHostsCommand /bin/cat {known}")
    hosts(sshd.url).link()
