# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys and certificates at a real sshd on loopback: of files, of an ssh-agent, and what is said when none is taken."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snp_harness.hosts import ssh_keys
from snp_harness.hosts.host_errors import HostKeyError, LoginError
from snp_harness.hosts.remote import RemoteHost
from tests.hosts.sshd import Sshd, make_key
from tests.hosts.test_certificates import certify

Hosts = Callable[..., RemoteHost]
Servers = Callable[..., Sshd]


@contextmanager
def ssh_agent(path: Path) -> Iterator[Callable[..., None]]:
    """An ssh-agent at a socket; adds keys to it."""

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
    """The socket is there before it can be connected to."""
    for _ in range(6000):
        assert process.poll() is None, "ssh-agent ended"
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        threading.Event().wait(0.01)
    raise AssertionError("ssh-agent does not listen")


def configure(sshd: Sshd, text: str) -> None:
    (sshd.home / ".ssh" / "config").write_text(f"Host *\n {text}\n")


def refused(host: RemoteHost) -> LoginError:
    with pytest.raises(LoginError) as caught:
        host.link()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short name: a socket's path has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="snp-", dir="/tmp") as name:
        yield Path(name)


def test_a_key_of_the_ssh_agent(sshd: Sshd, hosts: Hosts, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = sshd.home / ".ssh" / "id_ed25519"
    with ssh_agent(short / "a") as add:
        add(key)
        key.unlink()
        key.with_name("id_ed25519.pub").unlink()
        refused(hosts(sshd.url))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(short / "a"))
        hosts(sshd.url, lock=False).link()
        # With IdentitiesOnly the agent may offer what a file names, and nothing else.
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
        assert "there is no key to offer" in str(refused(hosts(sshd.url)))
    configure(sshd, f"IdentityAgent {short}/none")
    assert f"the ssh-agent at {short}/none (does not answer: No such file" in str(refused(hosts(sshd.url)))


def test_a_public_key_names_the_agent_s_key(
    servers: Servers, hosts: Hosts, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one writes for keys that no file holds: of a token, or of a password manager."""
    server = servers(tries=2)
    right = server.home / ".ssh" / "id_ed25519"
    with ssh_agent(short / "a") as add:
        add(*(make_key(tmp_path / f"key{number}") for number in range(3)), right)
        right.unlink()
        named = Path(f"{right}.pub").rename(server.home / "work.pub")
        configure(server, f'IdentityAgent {short}/a\n IdentityFile "{named}"\n IdentitiesOnly yes')
        hosts(server.url, lock=False).link()
    configure(server, f'IdentityAgent none\n IdentityFile "{named}"')
    assert f"{named} (a public key, which the ssh-agent does not have)" in str(refused(hosts(server.url)))


def test_an_agent_that_hangs(sshd: Sshd, hosts: Hosts, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_keys, "AGENT_S", 0.3)
    (sshd.home / ".ssh" / "id_ed25519").unlink()
    configure(sshd, f"IdentityAgent {short}/a")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short / "a"))
        server.listen()
        assert "does not answer: timed out" in str(refused(hosts(sshd.url)))


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
        assert "ssh-agent SHA256:" in error.message
        assert "IdentitiesOnly" in error.hint
        # A key that is named is the first, whether its file is there or the agent has it.
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


def test_keys_that_only_ssh_can_use(sshd: Sshd, hosts: Hosts) -> None:
    configure(sshd, "PKCS11Provider /usr/lib/none.so\n IdentityFile none")
    assert "PKCS11Provider (not supported" in str(refused(hosts(sshd.url)))
    configure(sshd, "PKCS11Provider /usr/lib/none.so")
    hosts(sshd.url).link()


@pytest.mark.parametrize("known", ["rsa", "ecdsa", "ed25519"])
def test_a_host_with_keys_of_several_types(known: str, servers: Servers, hosts: Hosts, tmp_path: Path) -> None:
    """Known by one, it is asked for that one, whichever it would offer first."""
    more = [make_key(tmp_path / f"host-{kind}", kind=kind) for kind in ("rsa", "ecdsa")]
    server = servers(options="\n".join(f'HostKey "{key}"' for key in more))
    server.trust({"rsa": more[0], "ecdsa": more[1], "ed25519": server.host_key}[known])
    hosts(server.url).link()
    # A configuration that does not allow that type shows another key.
    configure(server, f"HostKeyAlgorithms {'ssh-ed25519' if known != 'ed25519' else 'rsa-sha2-256'}")
    with pytest.raises(HostKeyError, match="has CHANGED"):
        hosts(server.url).link()


def test_a_host_s_certificate(servers: Servers, hosts: Hosts, tmp_path: Path) -> None:
    authority = make_key(tmp_path / "ca")
    host_key = make_key(tmp_path / "host")
    certify(authority, host_key, "-n", "127.0.0.1")
    server = servers(options=f'HostKey "{host_key}"\nHostCertificate "{host_key}-cert.pub"')
    content = " ".join(Path(f"{authority}.pub").read_text().split()[:2])
    server.known_hosts.write_text(f"@cert-authority [127.0.0.1]:* {content}\n")
    hosts(server.url, lock=False).link()
    # A key of its own that is another's does not matter then, as it does not for ssh.
    other = " ".join(Path(f"{make_key(tmp_path / 'other')}.pub").read_text().split()[:2])
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}\n@cert-authority * {content}\n")
    hosts(server.url, lock=False).link()
    # Another authority, none, and a certificate that is another host's.
    server.known_hosts.write_text(f"@cert-authority * {other}\n")
    with pytest.raises(HostKeyError, match="is not known"):
        hosts(server.url).link()
    server.known_hosts.write_text(f"@cert-authority * {content}\n@revoked * {content}\n")
    with pytest.raises(HostKeyError, match="is not known"):
        hosts(server.url).link()
    server.known_hosts.write_text(f"@cert-authority * {content}\n")
    configure(server, "HostKeyAlias elsewhere")
    with pytest.raises(HostKeyError, match=r"known_hosts:1 is refused: it is for 127\.0\.0\.1"):
        hosts(server.url).link()
    # A key that is revoked is, whoever signed it.
    configure(server, "")
    revoked = " ".join(Path(f"{host_key}.pub").read_text().split()[:2])
    server.known_hosts.write_text(f"@cert-authority * {content}\n@revoked * {revoked}\n")
    with pytest.raises(HostKeyError, match="is revoked"):
        hosts(server.url).link()


def test_keys_of_hosts_that_only_a_command_knows(sshd: Sshd, hosts: Hosts) -> None:
    """A domain's configuration may name one for all hosts: what the files say counts, and the command is not run."""
    configure(sshd, f'KnownHostsCommand "/usr/bin/touch" "{sshd.home}/touched"')
    hosts(sshd.url, lock=False).link()
    sshd.known_hosts.unlink()
    with pytest.raises(HostKeyError, match="is not known") as caught:
        hosts(sshd.url).link()
    assert "KnownHostsCommand is not run" in caught.value.hint
    assert not (sshd.home / "touched").exists()


@pytest.mark.parametrize("checking", ["no", "off", "accept-new", "ask", "yes"])
def test_no_key_is_accepted_silently(checking: str, sshd: Sshd, hosts: Hosts) -> None:
    configure(sshd, f"StrictHostKeyChecking {checking}\n NoHostAuthenticationForLocalhost yes\n VerifyHostKeyDNS yes")
    sshd.known_hosts.unlink()
    with pytest.raises(HostKeyError, match="is not known"):
        hosts(sshd.url).link()
    assert not sshd.known_hosts.exists()


def test_what_no_side_can_do(sshd: Sshd, hosts: Hosts) -> None:
    configure(sshd, "Ciphers chacha20-poly1305@openssh.com")
    with pytest.raises(Exception, match="allows no ciphers that can be had") as caught:
        hosts(sshd.url).link()
    assert "aes128-gcm@openssh.com" in str(caught.value)
    configure(sshd, "Ciphers aes256-ctr\n KexAlgorithms ecdh-sha2-nistp256\n MACs hmac-sha2-512")
    hosts(sshd.url).link()
