# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates of hosts, as ssh-keygen makes them: which vouch for a host's key, and why the others do not."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.hosts.certificates import authority_of, certified_key, fault
from snp_harness.hosts.known_hosts import KnownKey, Standing, has_authority, judge, kinds, parse
from tests.hosts.sshd import find_sshd, make_key


def blob(path: Path) -> bytes:
    return base64.b64decode(path.read_text().split()[1])


def certify(authority: Path, key: Path, *options: str, host: bool = True) -> bytes:
    """A certificate of a key."""
    made = key.with_name(f"{key.name}-cert.pub")
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "id", *(["-h"] if host else []), *options, f"{key}.pub"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return blob(made)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority of each kind and a host's key of each kind."""
    find_sshd()
    path = tmp_path_factory.mktemp("keys")
    for kind in ("ed25519", "ecdsa", "rsa"):
        make_key(path / f"ca-{kind}", kind=kind)
        make_key(path / f"host-{kind}", kind=kind)
    return path


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("authority", ["ed25519", "ecdsa", "rsa"])
def test_one_that_is_good(kind: str, authority: str, keys: Path) -> None:
    key = keys / f"host-{kind}"
    public = blob(Path(f"{key}.pub"))
    made = certify(keys / f"ca-{authority}", key, "-n", "other,*.example,box", "-V", "-1h:+1h")
    assert certified_key(made) == public
    assert fault(made, public, "box") == ""
    assert fault(made, public, "BOX") == ""
    assert fault(made, public, "a.example") == ""
    assert fault(made, public, "bax") == "it is for other, *.example, box"
    assert fault(made, public, "box", time.time() + 7200) == "it is not valid at this time"
    assert fault(made, public, "box", time.time() - 7200) == "it is not valid at this time"
    assert fault(made, blob(keys / "ca-ed25519.pub"), "box") == "it is another key's"
    # Any bit of the signed part, and the signature's last.
    for at in (len(made) // 2, len(made) - 1):
        broken = bytearray(made)
        broken[at] ^= 1
        assert fault(bytes(broken), public, "box") != ""


def test_those_that_are_not(keys: Path) -> None:
    key = keys / "host-ed25519"
    public = blob(keys / "host-ed25519.pub")
    authority = keys / "ca-ed25519"
    assert fault(certify(authority, key, "-n", "box", host=False), public, "box") == "it is no host's"
    assert fault(certify(authority, key), public, "box") == "it is for nobody"
    limited = certify(authority, key, "-n", "box", "-O", "critical:x@y=z")
    assert fault(limited, public, "box") == "it has options that are not known"
    assert fault(public, public, "box") == "it cannot be read"
    weak = certify(keys / "ca-rsa", key, "-n", "box", "-t", "ssh-rsa")
    assert fault(weak, public, "box") == "its signature is SHA-1's"


def known(line: str) -> list[KnownKey]:
    return list(parse(line.split("\n"), "file"))


def test_who_is_an_authority(keys: Path) -> None:
    made = certify(keys / "ca-ed25519", keys / "host-ed25519", "-n", "box")
    public = (keys / "ca-ed25519.pub").read_text()
    other = (keys / "ca-rsa.pub").read_text()
    found = authority_of(known(f"\n@cert-authority *.example,box {public}"), "box", made)
    assert found is not None
    assert found.place == "file:2"
    assert authority_of(known(f"@cert-authority *.example {public}"), "box", made) is None
    assert authority_of(known(f"@cert-authority box {other}"), "box", made) is None
    assert authority_of(known(f"box {public}"), "box", made) is None
    assert authority_of(known(f"@cert-authority box {public}\n@revoked * {public}"), "box", made) is None
    assert authority_of(known(f"@cert-authority box {public}"), "box", b"\0\0\0\3abc") is None


def test_an_authority_s_key_is_no_host_s(keys: Path) -> None:
    lines = known(f"@cert-authority box {(keys / 'ca-ed25519.pub').read_text()}")
    assert judge(lines, "box", blob(keys / "ca-ed25519.pub")) == (Standing.UNKNOWN, "")
    assert kinds(lines, "box") == []
    assert has_authority(lines, "box")
    assert not has_authority(lines, "bax")


@given(st.binary(max_size=400))
def test_any_bytes_vouch_for_nothing(content: bytes) -> None:
    assert fault(content, content, "box") != ""
    assert authority_of([KnownKey(("*",), "x", content, False, "", authority=True)], "box", content) is None


@settings(max_examples=600)
@given(data=st.data())
def test_a_certificate_with_any_change_vouches_for_nothing(data: st.DataObject, keys: Path) -> None:
    kind = data.draw(st.sampled_from(("ed25519", "ecdsa", "rsa")))
    public = blob(Path(f"{keys}/host-{kind}.pub"))
    made = _made(keys, kind)
    changed = bytearray(made)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(made) - 1), st.integers(0, 255)), min_size=1)):
        changed[at] = value
    authority = KnownKey(("*",), "x", blob(Path(f"{keys}/ca-{kind}.pub")), False, "", authority=True)
    authority_of([authority], "box", bytes(changed))
    assert (fault(bytes(changed), public, "box") != "") == (changed != made)
    assert fault(made[: data.draw(st.integers(0, len(made) - 1))], public, "box") != ""


def _made(keys: Path, kind: str) -> bytes:
    path = keys / f"made-{kind}"
    if not path.exists():
        path.write_bytes(certify(keys / f"ca-{kind}", keys / f"host-{kind}", "-n", "box"))
    return path.read_bytes()
