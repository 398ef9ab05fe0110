# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run directory says of a run, for tests of what reads it."""

from __future__ import annotations

from typing import Any

RUN: dict[str, Any] = {
    "version": 1,
    "platform": "emulated",
    "firmware": {"path": "OVMF.fd", "offset": 0, "size": 4096},
    "vcpus": 1,
    "guest_vmpl": 2,
    "alternate_injection": True,
    "svsm": True,
    "apic_protocol": True,
    "faults": ["busy"],
}
