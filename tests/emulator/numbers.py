# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of specifications that only these tests need. test_headers.py compares them with the C headers."""

from __future__ import annotations

#: The #HV doorbell page (ghcb.h): the entry of VMPL2, bits of an entry's status, bits of the page's first word.
ENTRY = 64 + 64
NMI = 1 << 8
LEVEL = 1 << 10
MULTIPLE = 1 << 14
VECTOR31 = 1 << 31
NO_FURTHER_SIGNAL = 1 << 15
NO_EOI = 1 << 16

#: EVENTINJ and the VMSA's field of that name (svm.h, vmsa.h): a valid interrupt, an NMI, a #HV.
EVENT_VALID = 1 << 31
EVENT_KIND = EVENT_VALID | 7 << 8
EVENT_INTERRUPT = EVENT_VALID
EVENT_NMI = EVENT_VALID | 2 << 8
EVENT_HV = EVENT_VALID | 3 << 8 | 28

#: Other fields of a VMSA (vmsa.h).
VMSA_VINTR_CTRL = 0x3B8
VMSA_EVENT_INJ = 0x3E0
VMSA_EXIT_INT_INFO = 0x3A0
V_IRQ = 1 << 8
V_GIF = 1 << 9
V_SHADOW = 1 << 10
V_BUSY = 1 << 63
EFER_SVME = 1 << 12
RFLAGS_IF = 1 << 9

#: An entry of the core protocol's PVALIDATE (svsm.h).
LARGE = 1
VALIDATE = 1 << 2
IGNORE_CF = 1 << 3

#: LVT timer (apic.h).
MASKED = 1 << 16
PERIODIC = 1 << 17
DEADLINE = 1 << 18
