# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated security processor's arithmetic as its driver runs it: bytes in, bytes out."""

from __future__ import annotations

from tests.emulator.buffers import BufferDriver

SOURCES = (
    "hardware/aes_gcm.c",
    "hardware/hmac384.c",
    "hardware/mod384.c",
    "hardware/p384.c",
    "hardware/sha384.c",
)


class Crypto(BufferDriver):
    """The driver's process."""

    def sha384(self, data: bytes, part: int) -> bytes:
        """The hash of `data`, added in parts of `part` bytes."""
        self.load(0, data)
        return bytes(self.ask("sha384", 0, part))

    def hmac384(self, key: bytes, data: bytes) -> bytes:
        """The HMAC of `data`; `key` has 128 bytes at most."""
        self.load(0, key)
        self.load(1, data)
        return bytes(self.ask("hmac384", 0, 1))

    def seal(self, key: bytes, iv: bytes, aad: bytes, text: bytes) -> tuple[bytes, bytes]:
        """The encrypted text and its tag."""
        self._cipher(key, iv, aad, text, bytes(16))
        _, *answer = self.ask("seal")
        return bytes(answer[16:]), bytes(answer[:16])

    def open(self, key: bytes, iv: bytes, aad: bytes, text: bytes, tag: bytes) -> tuple[bool, bytes]:
        """Whether the tag is right, and the text afterwards."""
        self._cipher(key, iv, aad, text, tag)
        right, *answer = self.ask("open")
        return bool(right), bytes(answer)

    def _cipher(self, *buffers: bytes) -> None:
        for number, data in enumerate(buffers):
            self.load(number, data)

    def sign(self, key: int, digest: bytes) -> tuple[int, int]:
        """The signature of a hash: r and s."""
        self.load(0, key.to_bytes(48, "big"))
        self.load(1, digest)
        answer = bytes(self.ask("sign"))
        return int.from_bytes(answer[:48], "big"), int.from_bytes(answer[48:], "big")
