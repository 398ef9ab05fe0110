# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates (OpenSSH PROTOCOL.certkeys): with a host's, an authority of known_hosts vouches for the host's key."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence

import paramiko
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from snp_harness.hosts.known_hosts import KnownKey, pattern_matches

#: What the name of a key's type has more as a certificate's.
SUFFIX = "-cert-v01@openssh.com"
#: Strings of the key itself, after the nonce, by the start of the type's name.
_KEY_STRINGS = {"ssh-ed25519": 1, "ecdsa-": 2, "ssh-rsa": 2}


def authority_of(keys: Sequence[KnownKey], name: str, blob: bytes) -> KnownKey | None:
    """The authority of host `name` that signed the certificate; None if none did that is known and not revoked."""
    try:
        signer = _bytes(_load(blob).signature_key())
    # As in `fault`.
    except Exception:
        return None
    lines = [known for known in keys if known.key == signer and known.matches(name)]
    return None if any(known.revoked for known in lines) else next((line for line in lines if line.authority), None)


def fault(blob: bytes, key: bytes, name: str, now: float | None = None) -> str:
    """Why the certificate does not vouch for `key` of host `name`; "" if it does. name: without a port."""
    try:
        return _fault(blob, key, name, time.time() if now is None else now)
    # The library raises many a thing for bytes that no encoder makes, NotImplementedError among them, and some late.
    except Exception:
        return "it cannot be read"


def _fault(blob: bytes, key: bytes, name: str, now: float) -> str:
    certificate = _load(blob)
    if certificate.type is not SSHCertificateType.HOST:
        return "it is no host's"
    if _bytes(certificate.public_key()) != key:
        return "it is another key's"
    if not certificate.valid_after <= now < certificate.valid_before:
        return "it is not valid at this time"
    if certificate.critical_options:
        return "it has options that are not known"
    patterns = [principal.decode(errors="replace") for principal in certificate.valid_principals]
    if not any(pattern_matches(pattern, name.lower()) for pattern in patterns):
        return f"it is for {', '.join(patterns) or 'nobody'}"
    # SHA-1, as signatures of that name have it, vouches for nothing any more.
    if _signature_kind(blob) == b"ssh-rsa":
        return "its signature is SHA-1's"
    try:
        certificate.verify_cert_signature()
    except InvalidSignature:
        return "its signature is wrong"
    return ""


def certified_key(blob: bytes) -> bytes:
    """The key that a certificate is about. Raises ValueError."""
    try:
        return _bytes(_load(blob).public_key())
    except Exception as error:
        raise ValueError(str(error)) from None


def _load(blob: bytes) -> SSHCertificate:
    """The certificate of a key's bytes. Raises any Exception."""
    kind = paramiko.Message(blob).get_binary()
    loaded = load_ssh_public_identity(kind + b" " + base64.b64encode(blob))
    if not isinstance(loaded, SSHCertificate):
        raise ValueError("this is no certificate")
    return loaded


def _bytes(key: object) -> bytes:
    """A public key as SSH has it."""
    text: bytes = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]
    return base64.b64decode(text.split()[1])


def _signature_kind(blob: bytes) -> bytes:
    """The algorithm of a certificate's signature, its last field."""
    message = paramiko.Message(blob)
    kind = message.get_text()
    for _ in range(1 + next((count for start, count in _KEY_STRINGS.items() if kind.startswith(start)), 0)):
        message.get_binary()
    message.get_int64()
    message.get_int()
    # Key ID and principals; then the times; critical options, extensions, what is reserved, the signer's key.
    for _ in range(2):
        message.get_binary()
    for _ in range(2):
        message.get_int64()
    for _ in range(4):
        message.get_binary()
    return paramiko.Message(message.get_binary()).get_binary()
