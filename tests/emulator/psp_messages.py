# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's messages to the security processor, by the package cryptography (AMD publication 56860, chapter 7)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.emulator import crypto
from tests.emulator.buffers import BufferDriver

SOURCES = (
    *crypto.SOURCES,
    "hardware/psp_guest.c",
    "hardware/psp_launch.c",
    "hardware/psp_message.c",
    "hardware/psp_report.c",
)
PAGE = 4096
KEY_REQUEST, KEY_RESPONSE, REPORT_REQUEST, REPORT_RESPONSE = 3, 4, 5, 6
SUCCESS, INVALID_GUEST_STATE, BAD_MEASUREMENT, INVALID_PARAM, AEAD_OFLOW, INVALID_KEY = 0, 2, 0x0B, 0x16, 0x1D, 0x27
_HEADER = struct.Struct("<32sQ8sBBHBBHIB35s")
_AAD = 0x30


@dataclass(slots=True)
class Message:
    """A message in plain text. The defaults are those of a sound request."""

    type: int
    payload: bytes
    sequence: int = 1
    vmpck: int = 0
    algorithm: int = 1
    header_version: int = 1
    header_size: int = _HEADER.size
    version: int = 1
    size: int | None = None
    reserved: bytes = field(default=bytes(35))

    def header(self, tag: bytes = b"") -> bytes:
        """The header with a tag."""
        size = len(self.payload) if self.size is None else self.size
        return _HEADER.pack(
            tag,
            self.sequence,
            bytes(8),
            self.algorithm,
            self.header_version,
            self.header_size,
            self.type,
            self.version,
            size,
            0,
            self.vmpck,
            self.reserved,
        )

    def seal(self, key: bytes) -> bytes:
        """The page that is sent."""
        encrypted = AESGCM(key).encrypt(_iv(self.sequence), self.payload, self.header()[_AAD:])
        return (self.header(encrypted[-16:]) + encrypted[:-16]).ljust(PAGE, b"\0")[:PAGE]


def open_message(key: bytes, page: bytes) -> Message:
    """Decrypt a page. Raises InvalidTag."""
    tag, sequence, reserved1, *numbers, vmpck, reserved = _HEADER.unpack_from(page)
    algorithm, header_version, header_size, kind, version, size, reserved2 = numbers
    assert not any((*tag[16:], *reserved1, reserved2, *reserved))
    encrypted = page[header_size : header_size + size]
    payload = AESGCM(key).decrypt(_iv(sequence), encrypted + tag[:16], page[_AAD : _HEADER.size])
    return Message(kind, payload, sequence, vmpck, algorithm, header_version, header_size, version, size)


def _iv(sequence: int) -> bytes:
    return sequence.to_bytes(8, "little") + bytes(4)


def report_request(data: bytes = bytes(64), vmpl: int = 0, select: int = 0, reserved: bytes = bytes(24)) -> bytes:
    """The payload of MSG_REPORT_REQ."""
    return struct.pack("<64sII24s", data, vmpl, select, reserved)


def key_request(root: int = 0, fields: int = 0, vmpl: int = 0, svn: int = 0, tcb: int = 0, reserved: int = 0) -> bytes:
    """The payload of MSG_KEY_REQ."""
    return struct.pack("<IIQIIQ", root, reserved, fields, vmpl, svn, tcb)


@dataclass(frozen=True, slots=True)
class Finish:
    """What SNP_LAUNCH_FINISH was given (include/psp.h, struct psp_finish)."""

    svn: int = 0
    policy: int = 0
    family: bytes = bytes(16)
    image: bytes = bytes(16)
    id_key: bytes = bytes(48)
    author_key: bytes = bytes(48)
    host_data: bytes = bytes(32)
    id_block: bool = False
    author: bool = False

    def pack(self) -> bytes:
        """The structure."""
        block = struct.pack("<48s16s16sIIQ", bytes(48), self.family, self.image, 1, self.svn, self.policy)
        return struct.pack(
            "<96s48s48s32sII", block, self.id_key, self.author_key, self.host_data, self.id_block, self.author
        )


class Psp(BufferDriver):
    """The driver's process: one guest. keys: its VMPCKs."""

    keys: tuple[bytes, ...] = ()

    def begin(
        self, seed: int = 1, policy: int = 0x30000, digest: bytes = bytes(48), finish: Finish | None = None
    ) -> None:
        """Launch a new guest."""
        self.load(0, (finish or Finish()).pack())
        self.load(1, digest)
        keys = bytes(self.ask("begin", seed, policy))
        self.keys = tuple(keys[at : at + 32] for at in range(0, 128, 32))

    def send(self, page: bytes) -> tuple[int, bytes]:
        """The status, and the response page, which was EEh before."""
        self.load(2, page)
        status, *response = self.ask("request")
        return status, bytes(response)

    def call(self, message: Message) -> Message:
        """The answer to a request that is accepted."""
        status, page = self.send(message.seal(self.keys[message.vmpck]))
        assert status == SUCCESS
        return open_message(self.keys[message.vmpck], page)
