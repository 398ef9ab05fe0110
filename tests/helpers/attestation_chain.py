# SPDX-License-Identifier: GPL-2.0-or-later
"""The certificates of harness/snp_harness/platforms/test_chain: what is in them, and how they were made.

`python -m tests.helpers.attestation_chain DIRECTORY` makes new ones. The private keys of ARK and ASK are thrown away:
only these certificates are ever signed with them. The VCEK's is in harness/emulator/hardware/psp_keys.h.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes, CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID, ObjectIdentifier

KEYS = Path(__file__).parents[2] / "harness" / "emulator" / "hardware" / "psp_keys.h"
#: AMD publication 57230 (VCEK certificate and KDS interface), tables 8 to 11: objects of a VCEK's certificate.
AMD = "1.3.6.1.4.1.3704.1"
STRUCT_VERSION, PRODUCT_NAME, HWID = f"{AMD}.1", f"{AMD}.2", f"{AMD}.4"
#: Boot loader, TEE, SNP firmware, four reserved ones, microcode: one number each.
SPL = tuple(f"{AMD}.3.{number}" for number in range(1, 9))
PRODUCT = "snp-harness test"
#: Of the RSA keys that AMD's ARK and ASK have.
RSA_BITS = 4096
#: RSASSA-PSS as in AMD's certificates.
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
_BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2049, 12, 31, tzinfo=datetime.UTC)
ARK, ASK, VCEK = "ARK", "ASK", "VCEK"
#: Common names, each with its issuer.
NAMES = {ARK: "ARK-snp-harness test", ASK: "SEV-snp-harness test", VCEK: "SEV-VCEK snp-harness test"}
ISSUERS = {ARK: ARK, ASK: ARK, VCEK: ASK}


def constant(name: str) -> bytes:
    """A text of psp_keys.h."""
    found = re.search(rf'^#define {name}\s+"(.+)"$', KEYS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return found[1].encode("ascii")


def vcek_key() -> ec.EllipticCurvePrivateKey:
    """The key that the emulated security processor signs with."""
    return ec.derive_private_key(int.from_bytes(constant("PSP_TEST_VCEK"), "big"), ec.SECP384R1())


def _name(which: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "snp-harness test, not AMD's"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "snp-harness test, not AMD's"),
            x509.NameAttribute(NameOID.COMMON_NAME, NAMES[which]),
        ]
    )


def _vcek_extensions() -> dict[str, bytes]:
    """By object, as AMD's certificates have them: DER, but the HWID is plain bytes."""
    product = PRODUCT.encode("ascii")
    numbers = dict.fromkeys((STRUCT_VERSION, *SPL), b"\x02\x01\x00")
    return numbers | {PRODUCT_NAME: b"\x16" + bytes([len(product)]) + product, HWID: constant("PSP_TEST_CHIP_ID")}


def make(which: str, public: CertificatePublicKeyTypes, issuer: CertificateIssuerPrivateKeyTypes) -> x509.Certificate:
    """Make a certificate for a key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(which))
        .issuer_name(_name(ISSUERS[which]))
        .public_key(public)
        .serial_number(list(NAMES).index(which) + 1)
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
    )
    if which == VCEK:
        for name, value in _vcek_extensions().items():
            builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(name), value), critical=False)
    else:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(issuer, hashes.SHA384(), rsa_padding=PSS)


def _main(directory: Path) -> None:
    ark, ask = (rsa.generate_private_key(65537, RSA_BITS) for _ in range(2))
    made = {
        ARK: make(ARK, ark.public_key(), ark),
        ASK: make(ASK, ask.public_key(), ark),
        VCEK: make(VCEK, vcek_key().public_key(), ask),
    }
    for which, certificate in made.items():
        der = certificate.public_bytes(serialization.Encoding.DER)
        (directory / f"{which.lower()}.der").write_bytes(der)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
