# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated security processor's answers to a guest's messages: hardware/psp_message.c and psp_report.c."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snp_harness.platforms import certificates
from tests.emulator.native import compile_driver
from tests.emulator.psp_messages import (
    AEAD_OFLOW,
    BAD_MEASUREMENT,
    INVALID_GUEST_STATE,
    INVALID_KEY,
    INVALID_PARAM,
    KEY_REQUEST,
    KEY_RESPONSE,
    PAGE,
    REPORT_REQUEST,
    REPORT_RESPONSE,
    SOURCES,
    SUCCESS,
    Finish,
    Message,
    Psp,
    key_request,
    open_message,
    report_request,
)
from tests.helpers import attestation_chain, snp_report

UNTOUCHED = b"\xee" * PAGE
COUNT_MAX = (1 << 64) - 2
CHAIN = {name: certificates.pem(name) for name in certificates.NAMES}
_driver = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Psp]:
    with Psp(compile_driver(tmp_path_factory.mktemp("messages"), "message_driver.c", *SOURCES)) as running:
        yield running


@pytest.fixture
def psp(process: Psp) -> Psp:
    """A new guest, without an ID block."""
    process.begin()
    return process


def report_of(answer: Message) -> bytes:
    """The report in an answer."""
    status, size = struct.unpack_from("<II", answer.payload)
    assert (answer.type, len(answer.payload), status, size) == (REPORT_RESPONSE, 0x4C0, SUCCESS, snp_report.SIZE)
    assert not any(answer.payload[8:32])
    return answer.payload[32:]


def refused(answer: Message) -> int:
    """The status of an answer without a report or key."""
    (status,) = struct.unpack_from("<I", answer.payload)
    assert answer.type in (KEY_RESPONSE, REPORT_RESPONSE)
    assert not any(answer.payload[8:])
    return int(status)


def derived(answer: Message) -> bytes:
    """The key in an answer."""
    assert (answer.type, len(answer.payload)) == (KEY_RESPONSE, 64)
    assert not any(answer.payload[:32])
    return answer.payload[32:]


def test_a_report_says_what_was_launched(process: Psp) -> None:
    data, digest = bytes(range(64)), bytes(range(100, 148))
    process.begin(seed=7, policy=0xB0000, digest=digest)
    report = snp_report.verify(report_of(process.call(Message(REPORT_REQUEST, report_request(data)))), CHAIN)
    assert (report.version, report.vmpl, report.guest_svn, report.policy) == (2, 0, 0, 0xB0000)
    assert (report.report_data, report.measurement) == (data, digest)
    assert (report.current_tcb, report.committed_tcb, report.launch_tcb) == (0, 0, 0)
    assert report.current == report.committed == (1, 55, 0)
    assert (report.platform_info, report.flags) == (0, 0)
    assert report.report_id_ma == b"\xff" * 32
    assert not any((*report.family_id, *report.image_id, *report.host_data, *report.id_key_digest))


def test_a_report_is_marked_as_a_test_s(psp: Psp) -> None:
    report = snp_report.parse(report_of(psp.call(Message(REPORT_REQUEST, report_request()))))
    assert report.chip_id.startswith(b"snp-harness test chip, not AMD's")
    assert report.report_id.startswith(b"snp-harness test")
    assert any(report.report_id[16:])


def test_the_guest_owner_s_id_block_is_in_it(process: Psp) -> None:
    finish = Finish(5, 0x30000, b"f" * 16, b"i" * 16, b"k" * 48, b"a" * 48, b"h" * 32, True, True)
    process.begin(finish=finish)
    report = snp_report.verify(report_of(process.call(Message(REPORT_REQUEST, report_request()))), CHAIN)
    assert (report.guest_svn, report.family_id, report.image_id) == (5, b"f" * 16, b"i" * 16)
    assert (report.id_key_digest, report.author_key_digest, report.host_data) == (b"k" * 48, b"a" * 48, b"h" * 32)
    assert report.flags == 1
    process.begin(finish=dataclasses.replace(finish, author=False))
    report = snp_report.parse(report_of(process.call(Message(REPORT_REQUEST, report_request()))))
    assert (report.flags, report.author_key_digest) == (0, bytes(48))


def test_the_verifier_refuses_a_changed_report(psp: Psp) -> None:
    report = bytearray(report_of(psp.call(Message(REPORT_REQUEST, report_request()))))
    report[0x90] ^= 1
    with pytest.raises(InvalidSignature):
        snp_report.verify(bytes(report), CHAIN)


@pytest.mark.parametrize("vmpck", range(4))
@pytest.mark.parametrize("vmpl", [0, 1, 2, 3, 4, 0xFFFFFFFF])
def test_a_key_reports_its_own_vmpl_and_those_below(psp: Psp, vmpck: int, vmpl: int) -> None:
    answer = psp.call(Message(REPORT_REQUEST, report_request(vmpl=vmpl), vmpck=vmpck))
    if vmpck <= vmpl <= 3:
        assert snp_report.parse(report_of(answer)).vmpl == vmpl
    else:
        assert refused(answer) == INVALID_PARAM


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (report_request(select=1), SUCCESS),
        (report_request(select=2), INVALID_KEY),  # VLEK
        (report_request(select=3), INVALID_KEY),
        (report_request(select=4), INVALID_PARAM),
        (report_request(reserved=bytes(23) + b"\x01"), INVALID_PARAM),
    ],
)
def test_key_selection_and_reserved_fields_of_a_report(psp: Psp, payload: bytes, status: int) -> None:
    answer = psp.call(Message(REPORT_REQUEST, payload))
    assert (SUCCESS if report_of_or_none(answer) else refused(answer)) == status


def report_of_or_none(answer: Message) -> bytes | None:
    return report_of(answer) if not any(answer.payload[:4]) else None


def test_a_guest_s_keys_follow_from_the_seed(process: Psp) -> None:
    keys = []
    for seed in (0, 0, 1, 1 << 63):
        process.begin(seed=seed)
        keys.append(process.keys)
    assert keys[0] == keys[1]
    assert len({key for each in keys for key in each}) == 12


def test_messages_are_counted_for_each_key(psp: Psp) -> None:
    for sequence in (1, 3, 5):
        answer = psp.call(Message(KEY_REQUEST, key_request(vmpl=2), sequence=sequence, vmpck=2))
        assert (answer.sequence, answer.vmpck) == (sequence + 1, 2)
    assert psp.call(Message(KEY_REQUEST, key_request(vmpl=1), vmpck=1)).sequence == 2


@pytest.mark.parametrize("sequence", [0, 1, 2, 4, 5, (1 << 64) - 1])
def test_another_sequence_number_is_refused(psp: Psp, sequence: int) -> None:
    psp.call(Message(KEY_REQUEST, key_request()))
    page = Message(KEY_REQUEST, key_request(), sequence=sequence).seal(psp.keys[0])
    assert psp.send(page) == (AEAD_OFLOW, UNTOUCHED)
    psp.call(Message(KEY_REQUEST, key_request(), sequence=3))


def test_a_message_cannot_be_sent_again(psp: Psp) -> None:
    page = Message(KEY_REQUEST, key_request()).seal(psp.keys[0])
    assert psp.send(page)[0] == SUCCESS
    assert psp.send(page) == (AEAD_OFLOW, UNTOUCHED)


def test_the_count_does_not_overflow(psp: Psp) -> None:
    psp.ask("count", 0, COUNT_MAX - 2)
    assert psp.call(Message(KEY_REQUEST, key_request(), sequence=COUNT_MAX - 1)).sequence == COUNT_MAX
    page = Message(KEY_REQUEST, key_request(), sequence=COUNT_MAX + 1).seal(psp.keys[0])
    assert psp.send(page) == (AEAD_OFLOW, UNTOUCHED)


@pytest.mark.parametrize(
    "fault",
    [
        {"algorithm": 0},
        {"algorithm": 2},
        {"header_version": 0},
        {"header_version": 2},
        {"header_size": 0x5F},
        {"header_size": 0},
        {"size": 0},
        {"size": 31},
        {"size": PAGE - 0x60 + 16},
        {"size": 0xFFF0},
        {"version": 0},
        {"version": 2},
        {"type": 0},
        {"type": 1},  # CPUID
        {"type": KEY_RESPONSE},
        {"type": 7},  # export
        {"type": 17},  # TSC
        {"type": 255},
    ],
    ids=str,
)
def test_unsound_and_unsupported_messages_are_refused(psp: Psp, fault: dict[str, Any]) -> None:
    message = dataclasses.replace(Message(KEY_REQUEST, key_request()), **fault)
    assert psp.send(message.seal(psp.keys[0])) == (INVALID_PARAM, UNTOUCHED)
    psp.call(Message(KEY_REQUEST, key_request()))


def test_a_guest_whose_launch_is_not_finished_is_refused(psp: Psp) -> None:
    psp.ask("unfinished")
    page = Message(KEY_REQUEST, key_request()).seal(psp.keys[0])
    assert psp.send(page) == (INVALID_GUEST_STATE, UNTOUCHED)


@pytest.mark.parametrize("vmpck", [4, 255])
def test_there_are_four_keys(psp: Psp, vmpck: int) -> None:
    page = Message(KEY_REQUEST, key_request(), vmpck=vmpck).seal(psp.keys[0])
    assert psp.send(page) == (INVALID_PARAM, UNTOUCHED)


@pytest.mark.parametrize(("kind", "payload"), [(KEY_REQUEST, key_request()), (REPORT_REQUEST, report_request())])
def test_a_payload_that_is_too_short_is_refused(psp: Psp, kind: int, payload: bytes) -> None:
    assert psp.send(Message(kind, payload[:-16]).seal(psp.keys[0])) == (INVALID_PARAM, UNTOUCHED)
    assert psp.call(Message(kind, payload + bytes(16))).type == kind + 1


def test_the_key_of_another_vmpl_does_not_open_it(psp: Psp) -> None:
    page = Message(KEY_REQUEST, key_request(), vmpck=0).seal(psp.keys[1])
    assert psp.send(page) == (BAD_MEASUREMENT, UNTOUCHED)


@_driver
@given(st.data())
def test_no_changed_bit_of_a_message_is_accepted(process: Psp, data: st.DataObject) -> None:
    """But for what is not authenticated: the rest of the tag's field, the reserved field, and what follows."""
    process.begin()
    page = bytearray(Message(KEY_REQUEST, key_request()).seal(process.keys[0]))
    at = data.draw(st.sampled_from([*range(16), *range(0x20, 0x28), *range(0x30, 0x80)]))
    page[at] ^= 1 << data.draw(st.integers(0, 7))
    status, response = process.send(bytes(page))
    assert status in (BAD_MEASUREMENT, INVALID_PARAM)
    assert response == UNTOUCHED


@_driver
@given(
    page=st.binary(max_size=PAGE),
    header=st.fixed_dictionaries(
        {
            "type": st.integers(0, 255),
            "vmpck": st.integers(0, 5),
            "size": st.integers(0, 0xFFFF),
            "sequence": st.integers(0, (1 << 64) - 1),
        }
    ),
)
def test_random_messages_are_refused(process: Psp, page: bytes, header: dict[str, Any]) -> None:
    process.begin()
    start = Message(payload=b"", **header).header(page[:16])
    status, response = process.send((start + page).ljust(PAGE, b"\0")[:PAGE])
    assert status in (BAD_MEASUREMENT, INVALID_PARAM)
    assert response == UNTOUCHED


FIELDS = {"policy": 1, "image": 2, "family": 4, "measurement": 8, "svn": 16, "tcb": 32}


def test_a_derived_key_is_the_same_again_and_of_another_guest(process: Psp) -> None:
    keys = []
    for seed in (1, 1, 2):
        process.begin(seed=seed)
        keys.append(derived(process.call(Message(KEY_REQUEST, key_request()))))
    assert keys[0] == keys[1] == keys[2]


def test_the_guest_s_own_root_key_is_not(process: Psp) -> None:
    keys = set()
    for seed in (1, 1, 2):
        process.begin(seed=seed)
        keys.add(derived(process.call(Message(KEY_REQUEST, key_request(root=1)))))
        keys.add(derived(process.call(Message(KEY_REQUEST, key_request(), sequence=3))))
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("selected", "other"),
    [
        ("policy", {"policy": 0x20000}),
        ("image", {"finish": {"image": b"I" * 16}}),
        ("family", {"finish": {"family": b"F" * 16}}),
        ("measurement", {"digest": b"d" * 48}),
    ],
)
def test_what_a_key_depends_on(process: Psp, selected: str, other: dict[str, Any]) -> None:
    """A selected field changes it, another one does not."""
    finish = Finish(svn=3, image=b"i" * 16, id_block=True)
    changed = dataclasses.replace(finish, **other.get("finish", {}))
    values = {name: value for name, value in other.items() if name != "finish"}
    for fields, same in ((FIELDS[selected], False), (0x1F & ~FIELDS[selected], True)):
        process.begin(finish=finish)
        first = derived(process.call(Message(KEY_REQUEST, key_request(fields=fields, svn=2))))
        process.begin(finish=changed, **values)
        assert (derived(process.call(Message(KEY_REQUEST, key_request(fields=fields, svn=2)))) == first) == same


@pytest.mark.parametrize(
    "finish", [{"host_data": b"H" * 32}, {"id_key": b"K" * 48}, {"author": True}, {"id_block": False}]
)
def test_what_a_key_always_depends_on(process: Psp, finish: dict[str, Any]) -> None:
    given_finish = Finish(id_key=b"k" * 48, author_key=b"a" * 48, id_block=True)
    process.begin(finish=given_finish)
    first = derived(process.call(Message(KEY_REQUEST, key_request())))
    assert derived(process.call(Message(KEY_REQUEST, key_request(vmpl=1), sequence=3))) != first
    process.begin(finish=dataclasses.replace(given_finish, **finish))
    assert derived(process.call(Message(KEY_REQUEST, key_request()))) != first


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (key_request(root=2), SUCCESS),  # VCEK
        (key_request(root=4), INVALID_KEY),  # VLEK
        (key_request(root=6), INVALID_KEY),
        (key_request(root=5), SUCCESS),  # the guest's own root: which chip key does not matter
        (key_request(root=8), INVALID_PARAM),
        (key_request(reserved=1), INVALID_PARAM),
        (key_request(fields=1 << 6), INVALID_PARAM),
        (key_request(fields=1 << 63), INVALID_PARAM),
        (key_request(fields=FIELDS["tcb"], tcb=0), SUCCESS),
        (key_request(fields=FIELDS["tcb"], tcb=1), INVALID_PARAM),
        (key_request(tcb=1), SUCCESS),
        (key_request(fields=FIELDS["svn"], svn=3), SUCCESS),
        (key_request(fields=FIELDS["svn"], svn=4), INVALID_PARAM),
    ],
)
def test_requests_for_keys_are_checked(process: Psp, payload: bytes, status: int) -> None:
    process.begin(finish=Finish(svn=3, id_block=True))
    answer = process.call(Message(KEY_REQUEST, payload))
    assert struct.unpack_from("<I", answer.payload) == (status,)
    assert any(answer.payload[32:]) == (status == SUCCESS)


def test_a_key_of_a_more_privileged_vmpl_is_refused(psp: Psp) -> None:
    assert refused(psp.call(Message(KEY_REQUEST, key_request(vmpl=1), vmpck=2))) == INVALID_PARAM


def test_the_answer_is_encrypted(psp: Psp) -> None:
    data = b"snp-harness test: this is not in the page"
    _, page = psp.send(Message(REPORT_REQUEST, report_request(data)).seal(psp.keys[0]))
    assert data not in page
    assert data in open_message(psp.keys[0], page).payload
    assert not any(page[0x60 + 0x4C0 :])


def test_the_stored_certificates_are_those_of_the_recipe() -> None:
    """All but their signatures, which are random; and those are verified by each other test."""
    issuer = rsa.generate_private_key(65537, 2048)
    for which in attestation_chain.NAMES:
        stored = x509.load_pem_x509_certificate(CHAIN[which.lower()])
        public = stored.public_key()
        made = attestation_chain.make(which, public, issuer)
        assert made.tbs_certificate_bytes == stored.tbs_certificate_bytes
        assert b"snp-harness test, not AMD's" in stored.tbs_certificate_bytes
        if isinstance(public, rsa.RSAPublicKey):
            assert public.key_size == attestation_chain.RSA_BITS
        else:
            assert public == attestation_chain.vcek_key().public_key()
