# SPDX-License-Identifier: GPL-2.0-or-later
"""What ssh's configuration means for a connection, asked of the real ssh; what cannot be followed is refused."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.hosts import ssh_config
from snp_harness.hosts.ssh_config import SshTarget, parse_settings, parse_url, resolve
from tests.hosts.sshd import account, find_sshd


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a directory for ssh."""
    find_sshd()
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    return tmp_path


def target(home: Path, text: str, url: str = "ssh://box") -> SshTarget:
    path = home / ".ssh" / "config"
    path.write_text(text)
    path.chmod(0o600)
    return resolve(parse_url(url))


def test_without_a_configuration(home: Path) -> None:
    found = resolve(parse_url("ssh://me@Box:2222"))
    assert (found.host, found.port, found.user) == ("box", 2222, "me")
    assert home / ".ssh" / "id_ed25519" in found.identities
    assert found.known_hosts[:2] == (home / ".ssh" / "known_hosts", home / ".ssh" / "known_hosts2")
    assert Path("/etc/ssh/ssh_known_hosts") in found.known_hosts
    assert found.agent == Path("/run/agent")
    assert found.all_agent_keys
    assert (found.jumps, found.proxy, found.key_name) == ((), (), None)
    assert resolve(parse_url("ssh://box")).user == account()
    assert resolve(parse_url("ssh://box")).port == 22


def test_what_the_url_and_the_inventory_say_comes_first(home: Path) -> None:
    text = "Host *\n User other\n Port 99\n IdentityFile ~/x\n UserKnownHostsFile /y\n"
    assert (target(home, text).user, target(home, text).port) == ("other", 99)
    found = target(home, text, "ssh://me@box:2222")
    assert (found.user, found.port, found.identities) == ("me", 2222, (home / "x",))
    given_files = resolve(parse_url("ssh://box"), known_hosts=Path("/k"), identity=Path("/i"))
    assert (given_files.known_hosts, given_files.identities) == ((Path("/k"),), (Path("/i"),))


def test_tokens_and_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", "/lab")
    found = target(
        home,
        "Host box\n HostName %h.example\n Port 23\n User me\n HostKeyAlias key\n IdentityFile %d/%n-%h-%p-%r-%u-%%\n"
        " IdentityFile ${LAB}/%k\n CertificateFile ~/%i-%l-%L\n ProxyCommand nc '%h %n' %p\n",
    )
    assert found.host == "box.example"
    user = account()
    assert found.identities == (home / f"box-box.example-23-me-{user}-%", Path("/lab/key"))
    name = socket.gethostname()
    assert found.certificates == (home / f"{os.getuid()}-{name}-{name.partition('.')[0]}",)
    assert found.proxy == ("nc", "box.example box", "23")


@pytest.mark.parametrize(
    ("value", "agent"),
    [
        ("none", None),
        ("SSH_AUTH_SOCK", "/run/agent"),
        ("$LAB_AGENT", "/run/lab"),
        ("$NOT_SET", None),
        ("${LAB_AGENT}-%n", "/run/lab-box"),
        ("/a/b", "/a/b"),
    ],
)
def test_the_agent(value: str, agent: str | None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_AGENT", "/run/lab")
    monkeypatch.delenv("NOT_SET", raising=False)
    assert target(home, f"IdentityAgent {value}\n").agent == (Path(agent) if agent else None)


def test_addresses(home: Path) -> None:
    found = target(home, "AddressFamily inet6\nBindAddress ::1\nConnectTimeout 3\n", "ssh://me@[::1]:2222")
    assert (found.host, found.family, found.bind, found.connect_s) == ("::1", socket.AF_INET6, "::1", 3.0)
    found = target(home, "ProxyJump a@b:22,[::2]:5,c\nIdentitiesOnly yes\n")
    assert [(jump.user, jump.host, jump.port) for jump in found.jumps] == [
        ("a", "b", 22),
        (None, "::2", 5),
        (None, "c", None),
    ]
    assert not found.all_agent_keys
    assert target(home, "ProxyJump none\nProxyCommand none\nIdentityFile none\nUserKnownHostsFile none\n").proxy == ()
    assert home / ".ssh" / "known_hosts" not in resolve(parse_url("ssh://box")).known_hosts
    assert resolve(parse_url("ssh://box")).identities == ()


def test_what_is_allowed(home: Path) -> None:
    found = target(home, "Ciphers aes256-ctr\nHostKeyAlgorithms ssh-ed25519\n")
    assert found.algorithms["ciphers"] == ("aes256-ctr",)
    assert found.algorithms["hostkeyalgorithms"] == ("ssh-ed25519",)


@pytest.mark.parametrize(
    "line",
    [
        "RevokedHostKeys /x",
        "ProxyUseFdpass yes",
        "BindInterface lo",
        "PubkeyAuthentication no",
        "ProxyCommand nc %h %p 2>/dev/null",
        "ProxyCommand nc %Q",
        "IdentityFile /x-%Q",
        "IdentityFile ${NOT_SET}/x",
        "ProxyJump a,b,c,d,e,f,g,h,i",
        "Nonsense yes",
        "Match exec",
        "HostName -x",
    ],
)
def test_what_is_refused(line: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(UsageError) as caught:
        target(home, f"{line}\n")
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_match_that_runs_for_long(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_config, "_READ_S", 0.3)
    fifo = home / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(UsageError, match=r"did not read its configuration of box in 0\.3 s"):
        target(home, f'Match exec "cat {shlex.quote(str(fifo))}"\n User x\n')
    # Whoever came so far ends.
    os.close(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))


def test_a_match_that_runs_a_program(home: Path) -> None:
    assert target(home, f'Match exec "{shlex.quote(sys.executable)} -c pass"\n User matched\n').user == "matched"


def test_no_ssh(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(BrokenEnvironmentError, match="ssh is not installed"):
        resolve(parse_url("ssh://box"))


@given(st.text(max_size=300))
def test_any_text_of_ssh_s(text: str) -> None:
    settings = parse_settings(text)
    assert all(keyword and values for keyword, values in settings.items())
