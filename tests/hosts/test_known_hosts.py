# SPDX-License-Identifier: GPL-2.0-or-later
"""What known_hosts says of a key: names, hashes, patterns, revoked keys, and lines that say nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.hosts.known_hosts import Standing, fingerprint, host_name, judge, kinds, parse, read

KEY, OTHER = b"\0\0\0\x0bssh-ed25519key", b"\0\0\0\x0bssh-ed25519other"


def line(names: str, key: bytes = KEY, kind: str = "ssh-ed25519") -> str:
    return f"{names} {kind} {base64.b64encode(key).decode()} a comment"


def standing(text: str, name: str, key: bytes = KEY) -> Standing:
    return judge(list(parse(text.split("\n"), "file")), name, key)[0]


def hashed(name: str) -> str:
    salt = b"0123456789abcdef0123"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


@pytest.mark.parametrize(
    ("names", "name", "expected"),
    [
        ("box", "box", Standing.KNOWN),
        ("BOX", "box", Standing.KNOWN),
        ("other,box", "box", Standing.KNOWN),
        ("*.example", "box.example", Standing.KNOWN),
        ("b?x", "box", Standing.KNOWN),
        ("*,!box", "box", Standing.UNKNOWN),
        ("[box]:2222", "[box]:2222", Standing.KNOWN),
        ("box", "[box]:2222", Standing.UNKNOWN),
        ("[bo", "[bo", Standing.KNOWN),
        ("[abc]", "a", Standing.UNKNOWN),
        (hashed("box"), "box", Standing.KNOWN),
        (hashed("box"), "bax", Standing.UNKNOWN),
        (hashed("[box]:22"), "[box]:22", Standing.KNOWN),
        ("|1|nonsense", "box", Standing.UNKNOWN),
        ("|1|!|!", "box", Standing.UNKNOWN),
    ],
)
def test_names(names: str, name: str, expected: Standing) -> None:
    assert standing(line(names), name) is expected


def test_changed_revoked_and_what_decides() -> None:
    assert standing(line("box", OTHER), "box") is Standing.CHANGED
    assert standing(f"{line('box', OTHER)}\n{line('box')}", "box") is Standing.KNOWN
    assert standing(f"{line('box')}\n@revoked {line('*')}", "box") is Standing.REVOKED
    assert standing(f"@revoked {line('*', OTHER)}", "box") is Standing.UNKNOWN
    assert standing(f"@cert-authority {line('*')}", "box") is Standing.UNKNOWN
    keys = list(parse(["", "# nothing", line("box", OTHER)], "file"))
    assert judge(keys, "box", KEY) == (Standing.CHANGED, "file:3")


def test_types_that_are_known() -> None:
    keys = list(parse([line("box", kind="ssh-rsa"), line("box"), f"@revoked {line('box', kind='x')}", line("bax")]))
    assert kinds(keys, "box") == ["ssh-rsa", "ssh-ed25519"]


@given(st.text(max_size=300), st.text(max_size=20))
def test_any_text_vouches_for_nothing(text: str, name: str) -> None:
    assert standing(text, name, b"") in (Standing.UNKNOWN, Standing.CHANGED, Standing.KNOWN, Standing.REVOKED)
    assert standing(text, name, KEY) in (Standing.UNKNOWN, Standing.CHANGED)


@pytest.mark.parametrize("text", ["box ssh-ed25519", "box ssh-ed25519 ====", "@revoked box", "box", "@", "a b c"])
def test_lines_that_say_nothing(text: str) -> None:
    assert standing(text, "box") is Standing.UNKNOWN


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "known").write_text(line("box"))
    assert [key.place for key in read([tmp_path / "none", tmp_path, tmp_path / "known"])] == [f"{tmp_path}/known:1"]


def test_names_of_ports() -> None:
    assert host_name("Box", 22) == "box"
    assert host_name("Box", 2222) == "[box]:2222"


def test_fingerprint() -> None:
    # Of the empty string.
    assert fingerprint(b"") == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
