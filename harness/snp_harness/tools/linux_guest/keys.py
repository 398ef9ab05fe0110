# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys of a run: one of the client's and one of the guest's, and the archive that takes them into the guest.

They are made for one run and known on both sides before it, so neither side has to trust what it sees first.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from snp_harness.tools.initramfs.cpio import CpioWriter

USER = "root"
_HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An Ed25519 key pair. private: in OpenSSH's format. public: "ssh-ed25519 AAAA..."."""

    private: bytes = field(repr=False)
    public: str

    @classmethod
    def make(cls) -> KeyPair:
        """Return a new pair."""
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        return cls(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), public.decode())


@dataclass(frozen=True, slots=True)
class RunKeys:
    """client: whoever has it may log in as USER. host: the guest's."""

    client: KeyPair = field(default_factory=KeyPair.make)
    host: KeyPair = field(default_factory=KeyPair.make)

    def write(self, directory: Path, port: int) -> tuple[str, ...]:
        """Write the client's key to a directory; returns the `ssh` command that uses it and knows the guest's key."""
        key, known = directory / "ssh-key", directory / "ssh-known-hosts"
        key.touch(0o600)
        key.write_bytes(self.client.private)
        known.write_text(f"[127.0.0.1]:{port} {self.host.public}\n", encoding="ascii")
        options = {"UserKnownHostsFile": str(known), "GlobalKnownHostsFile": "/dev/null", "IdentitiesOnly": "yes"}
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ("ssh", "-F", "none", "-i", str(key), "-p", str(port), *settings, f"{USER}@127.0.0.1")

    def archive(self) -> bytes:
        """Return the archive that has the keys in the guest; the kernel unpacks it behind the image's."""
        content = io.BytesIO()
        writer = CpioWriter(content)
        writer.directory(USER, 0o700)
        writer.directory(f"{USER}/.ssh", 0o700)
        writer.add(f"{USER}/.ssh/authorized_keys", f"{self.client.public}\n".encode(), 0o600)
        writer.add(_HOST_KEY, self.host.private, 0o600)
        writer.add(f"{_HOST_KEY}.pub", f"{self.host.public}\n".encode())
        writer.finish()
        return content.getvalue()
