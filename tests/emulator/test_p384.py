# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated security processor's ECDSA signatures: RFC 6979's, and verified by the package cryptography."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.emulator.crypto import Crypto

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
#: RFC 6979, A.2.6.
KEY = 0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5
RFC_6979 = {
    b"sample": (
        0x94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46,
        0x99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8,
    ),
    b"test": (
        0x8203B63D3C853E8D77227FB377BCF7B7B772E97892A80F36AB775D509D7A5FEB0542A7F0812998DA8F1DD3CA3CF023DB,
        0xDDD0760448D42D8A43AF45AF836FCE4DE8BE06B485E9B61B827C2F13173923E06A739F040649A667BF3B828246BAA5A5,
    ),
}


@pytest.mark.parametrize("message", RFC_6979)
def test_vectors_of_rfc_6979(crypto: Crypto, message: bytes) -> None:
    assert crypto.sign(KEY, hashlib.sha384(message).digest()) == RFC_6979[message]


def verify(key: int, digest: bytes, signature: tuple[int, int]) -> None:
    public = ec.derive_private_key(key, ec.SECP384R1()).public_key()
    public.verify(encode_dss_signature(*signature), digest, ec.ECDSA(Prehashed(SHA384())))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.integers(1, ORDER - 1), st.binary(min_size=48, max_size=48))
@example(1, bytes(48))
@example(ORDER - 1, b"\xff" * 48)
@example(2, ORDER.to_bytes(48, "big"))
@example(1 << 383, (ORDER - 1).to_bytes(48, "big"))
def test_the_package_verifies_them(crypto: Crypto, key: int, digest: bytes) -> None:
    verify(key, digest, crypto.sign(key, digest))


def test_of_another_hash_it_does_not(crypto: Crypto) -> None:
    signature = crypto.sign(KEY, bytes(48))
    with pytest.raises(InvalidSignature):
        verify(KEY, bytes(47) + b"\x01", signature)
