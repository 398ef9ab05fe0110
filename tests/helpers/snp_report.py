# SPDX-License-Identifier: GPL-2.0-or-later
"""Attestation reports as a verifier sees them (AMD publication 56860, table "ATTESTATION_REPORT"), and their chain.

Written without the emulator's headers: the tests compare both.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier

SIZE = 0x4A0
_SIGNED = 0x2A0
#: GHCB publication 56421, 4.1.8.1.
_GUIDS = {
    "63da758de6644564adc5f4b93be8accd": "vcek",
    "4ab7b379bbac4fe4a02f05aef327c782": "ask",
    "c0b406a4a803495297433fb6014cd0ae": "ark",
}
_AMD = "1.3.6.1.4.1.3704.1"
#: By the byte of a TCB version: boot loader, TEE, four reserved ones, SNP firmware, microcode.
_SPL = (1, 2, 4, 5, 6, 7, 3, 8)


@dataclass(frozen=True, slots=True)
class Report:
    """The fields of a report, by the specification's names; numbers of the TCBs are little-endian."""

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algo: int
    current_tcb: int
    platform_info: int
    flags: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: int
    chip_id: bytes
    committed_tcb: int
    current: tuple[int, int, int]
    committed: tuple[int, int, int]
    launch_tcb: int


def parse(data: bytes) -> Report:
    """Read a report. Its reserved fields are zero."""
    assert len(data) == SIZE
    fields = struct.unpack_from("<IIQ16s16sIIQQII64s48s32s48s48s32s32sQ24s64sQ", data)
    numbers = struct.unpack_from("<8BQ168s", data, 0x1E8)
    reserved = (fields[10], *fields[19], numbers[3], numbers[7], *numbers[9], *data[_SIGNED + 144 :])
    assert not any(reserved)
    values = [value for at, value in enumerate(fields) if at not in (10, 19)]
    build, minor, major, _, *committed, _, launch = numbers[:9]
    values += [(major, minor, build), tuple(reversed(committed)), launch]
    return Report(*values)


def verify(data: bytes, chain: Mapping[str, bytes]) -> Report:
    """Verify a report with the certificates "ark", "ask" and "vcek", PEM. Raises InvalidSignature or AssertionError."""
    ark, ask, vcek = (x509.load_pem_x509_certificate(chain[name]) for name in ("ark", "ask", "vcek"))
    for certificate, issuer in ((ark, ark), (ask, ark), (vcek, ask)):
        certificate.verify_directly_issued_by(issuer)
    report = parse(data)
    assert report.signature_algo == 1
    r, s = (int.from_bytes(data[at : at + 72], "little") for at in (_SIGNED, _SIGNED + 72))
    key = vcek.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP384R1)
    key.verify(encode_dss_signature(r, s), data[:_SIGNED], ec.ECDSA(hashes.SHA384()))
    assert _extension(vcek, "4") == report.chip_id
    tcb = report.reported_tcb.to_bytes(8, "little")
    assert [_extension(vcek, f"3.{number}") for number in _SPL] == [b"\x02\x01" + bytes([value]) for value in tcb]
    return report


def certificate_table(data: bytes) -> dict[str, bytes]:
    """The certificates of a table, as PEM: entries of GUID, offset and size, then one of zeros."""
    found = {}
    for at in range(0, len(data), 24):
        guid, offset, size = struct.unpack_from("<16sII", data, at)
        if not any(guid):
            assert (offset, size) == (0, 0)
            break
        certificate = x509.load_der_x509_certificate(data[offset : offset + size])
        found[_GUIDS[guid.hex()]] = certificate.public_bytes(Encoding.PEM)
    return found


def _extension(certificate: x509.Certificate, name: str) -> bytes:
    value = certificate.extensions.get_extension_for_oid(ObjectIdentifier(f"{_AMD}.{name}")).value
    assert isinstance(value, x509.UnrecognizedExtension)
    return value.value
