# SPDX-License-Identifier: GPL-2.0-or-later
"""The log is compared with what the hypervisor itself counted: whatever is missing or changed is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.capture.host_account import HostAccount, Seen
from snp_harness.capture.record import (
    ACCOUNT_MAGIC,
    ACCOUNT_SLOTS,
    DIGEST_MODULUS,
    RECORD,
    Digest,
    HostRecord,
    RecordKind,
    record_check,
)
from snp_harness.launch.ring import RECORD_SIZE
from tests.launch.ring import make_record

KEY = 0xABCDEF987654321


def digest(records: list[bytes]) -> int:
    found = Digest(KEY)
    found.add(b"".join(records))
    return found.value


def account(records: list[bytes], accesses: int = 0, recorded: int | None = None, lost: int = 0) -> HostAccount:
    """What a hypervisor that has written these records says."""
    digests = [0] * ACCOUNT_SLOTS
    for number in range(max(0, len(records) - 1), len(records) + 1):
        digests[number % ACCOUNT_SLOTS] = digest(records[:number])
    recorded = accesses if recorded is None else recorded
    return HostAccount(len(records), lost, accesses, recorded, tuple(digests))


def seen(records: list[bytes], accesses: int = 0, dropped: int = 0) -> Seen:
    return Seen(len(records), digest(records), dropped, accesses)


def renumbered(records: list[bytes]) -> list[bytes]:
    """The records with numbers without a gap and right check words: as somebody writes who can write the ring."""
    found = []
    for number, record in enumerate(records, start=1):
        fields = HostRecord(*RECORD.unpack(record))._replace(seq=number, check=0)
        found.append(RECORD.pack(*fields._replace(check=record_check(RECORD.pack(*fields)))))
    return found


#: One of each kind, and one more: the last record may not be in the ring yet.
KINDS = [*RecordKind, RecordKind.END]
LOG = [make_record(number, kind=kind, value=number) for number, kind in enumerate(KINDS, start=1)]


def test_a_whole_log_agrees() -> None:
    assert not list(account(LOG, 5).differences(seen(LOG, 5)))
    assert not list(account([]).differences(seen([])))


@pytest.mark.parametrize("kind", RecordKind)
def test_any_record_that_is_removed_is_missed(kind: RecordKind) -> None:
    rest = LOG.copy()
    del rest[KINDS.index(kind)]
    for log in (rest, renumbered(rest)):
        assert list(account(LOG).differences(seen(log)))
    # Another one in its place does not help.
    assert list(account(LOG).differences(seen(renumbered([*rest, LOG[0]]))))


@given(st.integers(0, len(LOG) * RECORD_SIZE - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    raw = bytearray(b"".join(LOG))
    raw[position] ^= change
    log = [bytes(raw[at : at + RECORD_SIZE]) for at in range(0, len(raw), RECORD_SIZE)]
    assert list(account(LOG).differences(seen(log)))
    assert list(account(LOG).differences(seen(renumbered(log)))) or renumbered(log) == LOG


def test_the_record_that_was_being_written_is_not_missing() -> None:
    assert not list(account(LOG, 3, 2).differences(seen(LOG[:-1], 2)))
    assert list(account(LOG).differences(seen(LOG[:-2])))
    assert list(account(LOG[:-1]).differences(seen(LOG)))


def test_an_access_that_was_not_recorded_is_noticed() -> None:
    assert list(account(LOG, 3).differences(seen(LOG, 2)))
    assert not list(account(LOG, 3, 2).differences(seen(LOG, 2)))
    assert list(account(LOG, 4, 3).differences(seen(LOG, 2)))
    assert list(account(LOG, 2).differences(seen(LOG, 3)))


def test_dropped_records_are_counted_twice() -> None:
    assert list(account(LOG, lost=1).differences(seen(LOG)))
    assert not list(account(LOG, lost=1).differences(seen(LOG, dropped=1)))


def test_the_monitors_answer_is_read() -> None:
    words = [ACCOUNT_MAGIC, 7, 1, 2, 3, 10, 11, 12, 13]
    text = "".join(f"{0x1000 + 8 * i:016x}: 0x{word:016x}\r\n" for i, word in enumerate(words))
    assert HostAccount.parse(text) == HostAccount(7, 1, 2, 3, (10, 11, 12, 13))


@pytest.mark.parametrize("text", ["", None, "Cannot access memory", "0x" + "f" * 16, f"{' 0x' + 'f' * 16}" * 9])
def test_what_is_not_an_account_agrees_with_no_log(text: object) -> None:
    assert list(HostAccount.parse(text).differences(seen(LOG)))


@given(st.lists(st.binary(min_size=RECORD_SIZE, max_size=RECORD_SIZE), max_size=150), st.integers(0, 150))
def test_batches_do_not_matter(records: list[bytes], cut: int) -> None:
    parts = Digest(KEY)
    parts.add(b"".join(records[:cut]))
    parts.add(b"".join(records[cut:]))
    assert parts.value == digest(records) < DIGEST_MODULUS
