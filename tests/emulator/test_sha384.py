# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated security processor's SHA-384 and HMAC beside Python's."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulator.crypto import Crypto

#: FIPS 180-4's examples (NIST, "SHA384.pdf").
ABC = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
TWO_BLOCKS = "09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712fcc7c71a557e2db966c3e9fa91746039"


def test_examples_of_the_standard(crypto: Crypto) -> None:
    assert crypto.sha384(b"abc", 3).hex() == ABC
    message = b"".join(bytes(range(start, start + 8)) for start in range(ord("a"), ord("o")))
    assert crypto.sha384(message, len(message)).hex() == TWO_BLOCKS


@pytest.mark.parametrize("size", [0, 1, 110, 111, 112, 113, 119, 120, 127, 128, 129, 239, 240, 256, 4095, 4096])
def test_the_end_of_a_block(crypto: Crypto, size: int) -> None:
    data = bytes(7 * i & 0xFF for i in range(size))
    assert crypto.sha384(data, 4096) == hashlib.sha384(data).digest()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.binary(max_size=600), part=st.integers(1, 300))
def test_any_data_in_any_parts(crypto: Crypto, data: bytes, part: int) -> None:
    assert crypto.sha384(data, part) == hashlib.sha384(data).digest()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(key=st.binary(max_size=128), data=st.binary(max_size=300))
def test_hmac(crypto: Crypto, key: bytes, data: bytes) -> None:
    assert crypto.hmac384(key, data) == hmac.digest(key, data, "sha384")
