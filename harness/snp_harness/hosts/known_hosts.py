# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of hosts as OpenSSH keeps them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): hashed names, patterns, revoked keys.

A line that cannot be read vouches for nothing. An authority's key is no host's own (host_certificate.py).
"""

from __future__ import annotations

import base64
import binascii
import enum
import fnmatch
import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Bytes of a file that are read, and characters of a line.
FILE_MAX = 16 << 20
LINE_MAX = 32 << 10
REVOKED = "@revoked"
AUTHORITY = "@cert-authority"
_DEFAULT_PORT = 22


class Standing(enum.Enum):
    """What the files say of a host's key."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line. names: patterns of names, or one hash. place: file and line. authority: it signs keys of hosts."""

    names: tuple[str, ...]
    kind: str
    key: bytes
    revoked: bool
    place: str
    authority: bool = False

    def matches(self, name: str) -> bool:
        """The line is about the host of that name ("box", "[box]:2222")."""
        found = False
        for pattern in self.names:
            if pattern.startswith("|"):
                found = found or _hash_matches(pattern, name)
            elif pattern.startswith("!"):
                if pattern_matches(pattern[1:], name):
                    return False
            else:
                found = found or pattern_matches(pattern, name)
        return found


def host_name(host: str, port: int) -> str:
    """The name under which the keys of a host and port are kept."""
    return host.lower() if port == _DEFAULT_PORT else f"[{host.lower()}]:{port}"


def fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def read(paths: Sequence[Path]) -> list[KnownKey]:
    """All lines of the files; one that is not there, or cannot be read, holds none."""
    keys: list[KnownKey] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                text = file.read(FILE_MAX).decode(errors="replace")
        except OSError:
            continue
        keys += parse(text.split("\n"), str(path))
    return keys


def parse(lines: Iterable[str], name: str = "") -> Iterator[KnownKey]:
    """The keys that lines hold."""
    for number, line in enumerate(lines, 1):
        fields = line[:LINE_MAX].split()
        if not fields or fields[0].startswith("#"):
            continue
        marker = fields.pop(0) if fields[0].startswith("@") else ""
        if marker not in ("", REVOKED, AUTHORITY) or len(fields) < 3:
            continue
        try:
            key = base64.b64decode(fields[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        names, place = tuple(fields[0].split(",")), f"{name}:{number}"
        yield KnownKey(names, fields[1], key, marker == REVOKED, place, authority=marker == AUTHORITY)


def judge(keys: Sequence[KnownKey], name: str, key: bytes) -> tuple[Standing, str]:
    """What the lines say of the key that host `name` has, and the line that decides, "" if none does."""
    lines = [known for known in keys if not known.authority and known.matches(name)]
    same = [known for known in lines if known.key == key]
    for known in same:
        if known.revoked:
            return Standing.REVOKED, known.place
    if same:
        return Standing.KNOWN, same[0].place
    others = [known for known in lines if not known.revoked]
    return (Standing.CHANGED, others[0].place) if others else (Standing.UNKNOWN, "")


def kinds(keys: Sequence[KnownKey], name: str) -> list[str]:
    """The types of the keys that are known of host `name`: what to ask it for."""
    return [known.kind for known in keys if not known.revoked and not known.authority and known.matches(name)]


def has_authority(keys: Sequence[KnownKey], name: str) -> bool:
    """Some authority may vouch for host `name`: ask it for a certificate."""
    return any(known.authority and known.matches(name) for known in keys)


def pattern_matches(pattern: str, name: str) -> bool:
    """A pattern of names, with * and ?. name: in lower case."""
    # Brackets stand for themselves there: "[box]:2222".
    escaped = pattern.lower().replace("[", "[[]")
    return fnmatch.fnmatchcase(name, escaped)


def _hash_matches(pattern: str, name: str) -> bool:
    parts = pattern.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, expected = (base64.b64decode(part, validate=True) for part in parts[2:])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), expected)
