# SPDX-License-Identifier: GPL-2.0-or-later
"""The layout and the numbers of the hypervisor's log, as in harness/emulator/include/record.h.

tests/capture/test_layout.py compares this file with the header, field by field.
"""

from __future__ import annotations

import enum
import operator
import struct
from typing import NamedTuple

from snp_harness.launch.ring import RECORD_SIZE

#: struct record, in the order of HostRecord's fields.
RECORD = struct.Struct("<QQQQQQIHBBBBBBI")
#: Offsets in struct record, bytes.
RECORD_OFFSETS = {
    "seq": 0,
    "time_ns": 8,
    "rip": 16,
    "address": 24,
    "value": 32,
    "extra": 40,
    "check": 48,
    "kind": 52,
    "vcpu": 54,
    "vmpl": 55,
    "size": 56,
    "path": 57,
    "outcome": 58,
    "flags": 59,
    "aux": 60,
}

FLAG_WRITE = 0x01
FLAG_CR0_PE = 0x02
FLAG_CR0_PG = 0x04
FLAG_EFER_LMA = 0x08
FLAG_CPL_SHIFT = 4
FLAG_VALUE = 0x40

#: In aux of APIC and APIC_BASE: the low bits of the number of the ACCESS record that they answer, 0 for none.
ANSWERS_SHIFT = 2
ANSWERS_BITS = 30


class HostRecord(NamedTuple):
    """struct record."""

    seq: int
    time_ns: int
    rip: int
    address: int
    value: int
    extra: int
    check: int
    kind: int
    vcpu: int
    vmpl: int
    size: int
    path: int
    outcome: int
    flags: int
    aux: int


class RecordPath(enum.IntEnum):
    """enum record_path."""

    NONE = 0
    MMIO = 1
    MSR = 2
    SVSM = 3


class RecordOutcome(enum.IntEnum):
    """enum record_outcome, without the prefix."""

    OK = 0
    GP = 1
    NOT_CLAIMED = 2
    ERROR = 3


class RecordKind(enum.IntEnum):
    """enum record_kind."""

    START = 1
    END = 2
    APIC = 3
    APIC_BASE = 4
    MSR = 5
    MODULE = 6
    BYTES = 7
    VC = 8
    NAE = 9
    GHCB_MSR = 10
    SVSM_CALL = 11
    SVSM_RESULT = 12
    RMP_VIOLATION = 13
    RMP_CHANGE = 14
    VMPL_SWITCH = 15
    INTERRUPT = 16
    STATS = 17
    TEXT = 18
    VMSA = 19
    IO = 20
    MMIO = 21
    DOORBELL = 22
    ALTERNATE = 23
    REFUSED = 24
    ACCESS = 25
    LAUNCH = 26
    EXIT = 27
    CONSOLE = 28


#: aux of a LAUNCH record: the end of the launch.
LAUNCH_FINISH = 0


class RecordEnd(enum.IntEnum):
    """enum record_end: why the hypervisor stopped."""

    SHUTDOWN = 1
    VMRUN = 2
    TERMINATE = 3
    UNKNOWN_EXIT = 4
    VC = 5
    HOST_FAULT = 6
    ASSERT = 7
    INSTRUCTION = 8
    PRIVATE_MMIO = 9
    CONFIG = 10
    NO_VMSA = 11
    NAE = 12
    VMPL = 13
    GHCB = 14
    INIT = 15
    SUSPEND = 16
    BREAKPOINT = 17
    NOT_SNP = 18
    DEBUG_EXIT = 19
    GUEST_REQUEST = 20
    LAUNCH = 21
    RESET = 22
    POWER_OFF = 23


class RecordRefused(enum.IntEnum):
    """enum record_refused: what a write to a device would have reached."""

    WINDOW = 0
    PORT = 1
    A20 = 2
    SMI = 3
    EJECT = 4
    MESSAGE = 5
    DMA = 6


class RecordViolation(enum.IntEnum):
    """enum record_violation."""

    NOT_VALIDATED = 1
    SHARED = 2
    PRIVATE = 3
    VMPL = 4
    PVALIDATE = 5
    GHCB = 6
    MMIO = 7


class RecordRmpOp(enum.IntEnum):
    """enum record_rmp_op."""

    PVALIDATE = 1
    RESCIND = 2
    PSC_PRIVATE = 3
    PSC_SHARED = 4
    RMPADJUST = 5
    IMPLICIT = 6


class RecordIrqSource(enum.IntEnum):
    """enum record_irq_source."""

    IOAPIC = 1
    PIC = 2
    TIMER = 3
    IPI = 4
    SVSM = 5


#: struct record_account, and its fields in order.
ACCOUNT = struct.Struct("<9Q")
ACCOUNT_MAGIC = 0x31434341504E53
ACCOUNT_SLOTS = 4
ACCOUNT_OFFSETS = {"magic": 0, "count": 8, "lost": 16, "accesses": 24, "recorded": 32, "digest": 40}
DIGEST_MODULUS = (1 << 61) - 1

_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619
_WORDS = RECORD_SIZE // 4
_CHECK_WORD = RECORD_OFFSETS["check"] // 4
_LOW_32 = 0xFFFFFFFF


def record_check(record: bytes) -> int:
    """record_check() of record.h for one record: FNV-1a over its 32-bit words, with 0 for the check word."""
    value = _FNV_OFFSET
    for number, word in enumerate(struct.unpack("<16I", record)):
        value = (value ^ (0 if number == _CHECK_WORD else word)) * _FNV_PRIME & _LOW_32
    return value


def checks_fit(batch: bytes) -> bool:
    """True if every record of a batch has the correct check word.

    All records at once: column k of the batch (the k-th word of each record) is one long integer with a 64-bit lane for
    each record. An exclusive or, and a product of 32 by 25 bits, stay inside their lanes. 0.2 us a record, where
    `record_check` takes 3.
    """
    count = len(batch) // RECORD_SIZE
    if count == 0:
        return True
    ones = int.from_bytes(b"\x01\0\0\0\0\0\0\0" * count, "little")
    low = ones * _LOW_32
    columns = memoryview(batch).cast("Q")
    value = ones * _FNV_OFFSET
    stored = 0
    for pair in range(_WORDS // 2):
        column = int.from_bytes(columns[pair :: _WORDS // 2].tobytes(), "little")
        words = [column & low, column >> 32 & low]
        if pair == _CHECK_WORD // 2:
            stored = words[_CHECK_WORD % 2]
            words[_CHECK_WORD % 2] = 0
        for word in words:
            value = (value ^ word) * _FNV_PRIME & low
    return value == stored


class Digest:
    """The digest of a sequence of records at a key, as record_digest() of record.h. key: below DIGEST_MODULUS."""

    #: Words that are added up before a division.
    _BLOCK = 64 * _WORDS

    def __init__(self, key: int) -> None:
        self.value = 0
        powers = [1]
        for _ in range(self._BLOCK):
            powers.append(powers[-1] * key % DIGEST_MODULUS)
        self._powers = powers[::-1]

    def add(self, batch: bytes) -> None:
        """Add whole records."""
        words = memoryview(batch).cast("I")
        for start in range(0, len(words), self._BLOCK):
            block = words[start : start + self._BLOCK]
            powers = self._powers[-len(block) :]
            shifted = self.value * self._powers[-len(block) - 1]
            self.value = (shifted + sum(map(operator.mul, block, powers))) % DIGEST_MODULUS
