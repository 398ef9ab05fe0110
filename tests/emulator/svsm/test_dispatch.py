# SPDX-License-Identifier: GPL-2.0-or-later
"""Which calls exist, QUERY_PROTOCOL and CONFIGURE_VTOM."""

from __future__ import annotations

import pytest

from snp_harness.svsm.protocol import CoreCall, Protocol, Result
from tests.emulator.svsm.driver import Answer, Svsm


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5, 0xFFFFFFFF])
def test_protocol_that_is_not_there(svsm: Svsm, protocol: int) -> None:
    assert svsm.call(protocol, 0, 1, 2, 3) == Answer(Result.UNSUPPORTED_PROTOCOL, 1, 2, 3)


@pytest.mark.parametrize("call", [CoreCall.DEPOSIT_MEM, CoreCall.WITHDRAW_MEM, 8, 0xFFFFFFFF])
def test_core_call_that_is_not_there(svsm: Svsm, call: int) -> None:
    assert svsm.call(Protocol.CORE, call, 1, 2, 3) == Answer(Result.UNSUPPORTED_CALL, 1, 2, 3)


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (Protocol.CORE << 32 | 1, 1 << 32 | 1),
        (Protocol.CORE << 32 | 0, 0),
        (Protocol.CORE << 32 | 2, 0),
        (Protocol.APIC << 32 | 1, 0),
        (Protocol.VTPM << 32 | 1, 0),
        (0xFFFFFFFF << 32 | 1, 0),
    ],
)
def test_query_protocol(svsm: Svsm, query: int, answer: int) -> None:
    assert svsm.core(CoreCall.QUERY_PROTOCOL, query, 5, 6) == Answer(Result.SUCCESS, answer, 5, 6)


def test_vtom_is_not_supported(svsm: Svsm) -> None:
    assert svsm.core(CoreCall.CONFIGURE_VTOM, 1) == Answer(Result.SUCCESS, 0, 0, 0)
    assert svsm.core(CoreCall.CONFIGURE_VTOM, 0x80000000).rax == Result.INVALID_REQUEST
