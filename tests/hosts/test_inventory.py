# SPDX-License-Identifier: GPL-2.0-or-later
"""The inventory file, and the values of --host."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.errors import UsageError
from snp_harness.hosts.agent_process import ProcessHost
from snp_harness.hosts.inventory import HostEntry, default_path, find_host, parse_inventory, read_inventory
from snp_harness.hosts.ssh import SshHost
from snp_harness.hosts.ssh_url import SshAddress, parse_url

FULL = b"""
[hosts.genoa]
url = "ssh://me@genoa.example:2222"
qemu = "/opt/qemu/bin/qemu-system-x86_64"
igvm = "/igvm/coconut.igvm"
python = "python3.11"
sudo = true
known_hosts = "/lab/known_hosts"
identity = "/lab/key"
lock = "/run/lock/lab"
notes = "EPYC 9124"
[hosts."ssh-1"]
url = "ssh://turin"
"""


def test_every_key() -> None:
    hosts = parse_inventory(FULL, "hosts.toml")
    assert list(hosts) == ["genoa", "ssh-1"]
    assert hosts["genoa"] == HostEntry(
        "genoa",
        "ssh://me@genoa.example:2222",
        Path("/opt/qemu/bin/qemu-system-x86_64"),
        Path("/igvm/coconut.igvm"),
        "python3.11",
        True,
        Path("/lab/known_hosts"),
        Path("/lab/key"),
        "/run/lock/lab",
        "EPYC 9124",
    )
    assert hosts["ssh-1"] == HostEntry("ssh-1", "ssh://turin")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts = 3", "only tables"),
        ("[host.a]\nurl = 'ssh://a'", "only tables"),
        ("[hosts.a]", "hosts.a has no url"),
        ("hosts.a = 1", "hosts.a is not a table"),
        ("[hosts.a]\nurl = 3", "hosts.a.url is not a string"),
        ("[hosts.a]\nurl = 'ssh://a'\nsudo = 'yes'", "hosts.a.sudo is neither"),
        ("[hosts.a]\nurl = ''", "hosts.a.url is not a string"),
        ('[hosts.a]\nurl = "ssh://a"\nnotes = "a\\n"', "hosts.a.notes is not a string"),
        ("[hosts.a]\nurl = 'ssh://a'\nqemo = 'x'", "no key is named 'qemo'"),
        ("[hosts.a]\nurl = 'http://a'", "hosts.a: 'http://a' is not a host"),
        ("[hosts.a]\nurl = 'ssh://a:b@c'", "holds a password"),
        ("[hosts.a", "hosts.toml: "),
        ("\xff", "hosts.toml: "),
    ],
)
def test_what_cannot_be(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_inventory(text.encode("latin-1"), "hosts.toml")
    assert said in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_text_with_a_backslash() -> None:
    assert parse_inventory(b"[hosts.a]\nurl = 'ssh://a'\nnotes = 'a\\n'", "hosts.toml")["a"].notes == "a\\n"


@given(st.binary(max_size=200))
def test_any_file(data: bytes) -> None:
    with contextlib.suppress(UsageError):
        parse_inventory(data, "hosts.toml")


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path() == tmp_path / "snp-harness" / "hosts.toml"
    assert read_inventory() == {}
    with pytest.raises(UsageError, match="there is no inventory"):
        read_inventory(tmp_path / "none")
    (tmp_path / "snp-harness").mkdir()
    default_path().write_bytes(FULL)
    assert set(read_inventory()) == {"genoa", "ssh-1"}
    with pytest.raises(UsageError, match="cannot read"):
        read_inventory(tmp_path)


def test_what_a_name_means(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(FULL)
    genoa = find_host("genoa", inventory=path)
    assert isinstance(genoa, SshHost)
    assert (genoa.name, genoa.igvm) == ("genoa", Path("/igvm/coconut.igvm"))
    assert isinstance(find_host("local"), ProcessHost)
    assert find_host("ssh://me@box").name == "ssh://me@box"
    with pytest.raises(UsageError, match=r"no host is named 'genoah': .*did you mean genoa\?"):
        find_host("genoah", inventory=path)
    with pytest.raises(UsageError, match="no host is named 'milan'"):
        find_host("milan", inventory=path)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ssh://box", SshAddress("box", None, None)),
        ("ssh://me@box", SshAddress("box", "me", None)),
        ("ssh://me@box:2222/", SshAddress("box", "me", 2222)),
        ("ssh://[::1]:22", SshAddress("::1", None, 22)),
        ("ssh://me@fe80::1%25eth0", None),
    ],
)
def test_urls(url: str, address: SshAddress | None) -> None:
    if address is None:
        with pytest.raises(UsageError):
            parse_url(url)
    else:
        assert parse_url(url) == address


@given(st.text(max_size=60))
def test_any_url(text: str) -> None:
    with contextlib.suppress(UsageError):
        found = parse_url("ssh://" + text)
        assert not found.host.startswith("-")
        assert found.user is None or not found.user.startswith("-")
