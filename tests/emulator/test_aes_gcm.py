# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated security processor's AES-256-GCM beside that of the package cryptography."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulator.crypto import Crypto

#: McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, which NIST's vectors repeat: cases 13, 14, 16.
KEY = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
IV = "cafebabefacedbaddecaf888"
AAD = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
TEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
ENCRYPTED = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
)
VECTORS = [
    ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    ("00" * 32, "00" * 12, "", "00" * 16, "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"),
    (KEY, IV, AAD, TEXT, ENCRYPTED, "76fc6ece0f4e1768cddf8853bb2d551b"),
]
_driver = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.mark.parametrize(("key", "iv", "aad", "text", "encrypted", "tag"), VECTORS)
def test_vectors(crypto: Crypto, key: str, iv: str, aad: str, text: str, encrypted: str, tag: str) -> None:
    inputs = (bytes.fromhex(key), bytes.fromhex(iv), bytes.fromhex(aad))
    assert crypto.seal(*inputs, bytes.fromhex(text)) == (bytes.fromhex(encrypted), bytes.fromhex(tag))


@_driver
@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=12, max_size=12),
    st.binary(max_size=80),
    st.binary(max_size=200),
)
def test_as_the_package(crypto: Crypto, key: bytes, iv: bytes, aad: bytes, text: bytes) -> None:
    encrypted = AESGCM(key).encrypt(iv, text, aad)
    assert crypto.seal(key, iv, aad, text) == (encrypted[:-16], encrypted[-16:])
    assert crypto.open(key, iv, aad, encrypted[:-16], encrypted[-16:]) == (True, text)


def test_a_whole_page(crypto: Crypto) -> None:
    key, iv, aad, text = bytes(range(32)), bytes(range(12)), bytes(48), bytes(i & 0xFF for i in range(4000))
    encrypted, tag = crypto.seal(key, iv, aad, text)
    assert AESGCM(key).decrypt(iv, encrypted + tag, aad) == text


@_driver
@given(st.data(), st.binary(max_size=48), st.binary(max_size=80))
def test_any_changed_bit_is_refused(crypto: Crypto, data: st.DataObject, aad: bytes, text: bytes) -> None:
    """And the encrypted text stays as it was."""
    key, iv = bytes(range(32)), bytes(12)
    encrypted = AESGCM(key).encrypt(iv, text, aad)
    parts = [bytearray(iv), bytearray(aad), bytearray(encrypted[:-16]), bytearray(encrypted[-16:])]
    bit = data.draw(st.integers(0, 8 * sum(map(len, parts)) - 1))
    for part in parts:
        if bit < 8 * len(part):
            part[bit // 8] ^= 1 << bit % 8
            break
        bit -= 8 * len(part)
    assert crypto.open(key, *map(bytes, parts)) == (False, bytes(parts[2]))
