# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from snp_harness.apic import ipi
from snp_harness.apic.access import Access
from tests.apic.samples import READ, WRITE, x2apic, xapic


@pytest.mark.parametrize(
    ("access", "vector"),
    [
        (x2apic(WRITE, 0x83F, 0x41), 0x41),
        (x2apic(WRITE, 0x830, 0x3_0000_0042), 0x42),
        (xapic(WRITE, 0x300, 0xC0042), 0x42),
        (x2apic(WRITE, 0x830, 0x442), None),  # an NMI has no vector
        (x2apic(WRITE, 0x830, 0x500), None),
        (x2apic(READ, 0x830, 0x42), None),
        (x2apic(WRITE, 0x830, None), None),
        (x2apic(WRITE, 0x80B, 0), None),
        (xapic(WRITE, 0x310, 0x1000000), None),
    ],
)
def test_the_vector_that_an_access_sends(access: Access, vector: int | None) -> None:
    assert ipi.vector(access) == vector


@pytest.mark.parametrize(
    ("access", "served"),
    [
        (x2apic(READ, 0x802), True),
        (x2apic(WRITE, 0x802), False),
        (x2apic(READ, 0x80B), False),
        (x2apic(WRITE, 0x80B), True),
        (x2apic(READ, 0x803), False),
        (x2apic(WRITE, 0x832), False),
        (x2apic(READ, 0x830, None), True),
        (x2apic(WRITE, 0x830, 0x0040), True),  # Fixed
        (x2apic(WRITE, 0x830, 0x0400), True),  # NMI
        (x2apic(WRITE, 0x830, 0x0140), False),  # lowest priority
        (x2apic(WRITE, 0x830, 0x0500), False),  # INIT
        (x2apic(WRITE, 0x830, 0x0608), False),  # STARTUP
        (x2apic(WRITE, 0x830, None), None),
        (xapic(WRITE, 0x300, 0x608), False),
        (xapic(WRITE, 0x310, 0), False),
    ],
)
def test_what_the_svsm_serves(access: Access, served: bool | None) -> None:
    assert ipi.served_by_svsm(access) is served
