# SPDX-License-Identifier: GPL-2.0-or-later
"""Interrupts that a vCPU sends: the encoding of the ICR and SELF_IPI (APM volume 2, sections 16.5 and 16.14)."""

from __future__ import annotations

import enum

from snp_harness.apic.access import Access, Operation
from snp_harness.apic.registers import Register, by_msr

ICR = by_msr(0x830)
SELF_IPI = by_msr(0x83F)
#: ICR and SELF_IPI bits 7:0.
VECTOR_MASK = 0xFF
#: ICR bits 10:8.
DELIVERY_MODE_SHIFT = 8
DELIVERY_MODE_MASK = 0x7


class DeliveryMode(enum.IntEnum):
    """Message types of the ICR that the SVSM sends; others, such as INIT and STARTUP, are the hypervisor's."""

    FIXED = 0
    NMI = 4


def request(operation: Operation, register: Register, value: int | None) -> int | None:
    """Return vector and delivery mode of the interrupt that a write sends (ICR bits 10:0); None if it sends none."""
    if operation is not Operation.WRITE or value is None:
        return None
    if register == ICR:
        return value & (DELIVERY_MODE_MASK << DELIVERY_MODE_SHIFT | VECTOR_MASK)
    return value & VECTOR_MASK if register == SELF_IPI else None


def vector(access: Access) -> int | None:
    """Return the vector of the fixed interrupt that an access sends, None if it sends none."""
    sent = request(access.operation, access.register, access.value)
    return sent if sent is not None and sent >> DELIVERY_MODE_SHIFT == DeliveryMode.FIXED else None


def served_by_svsm(access: Access) -> bool | None:
    """Return whether the SVSM APIC protocol serves the register in this direction, and for the ICR this delivery mode.

    None if that depends on the value and the value was not observed.
    """
    direction = "w" if access.operation is Operation.WRITE else "r"
    if direction not in access.register.svsm:
        return False
    if access.register != ICR or access.operation is Operation.READ:
        return True
    sent = request(access.operation, access.register, access.value)
    return None if sent is None else sent >> DELIVERY_MODE_SHIFT in tuple(DeliveryMode)
