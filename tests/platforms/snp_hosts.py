# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts of hosts, as probe returns them. No SNP host was available: GOOD follows the documents that probe.py names."""

from __future__ import annotations

import copy
from typing import Any

GOOD: dict[str, Any] = {
    "version": 1,
    "machine": "x86_64",
    "kernel": "6.17.0-svsm",
    "python": "3.11.2",
    "uid": 0,
    "cpu": {
        "vendor": "AuthenticAMD",
        "model": "AMD EPYC 9354 32-Core Processor",
        # APM volume 3, E.4.17: SME, SEV, SEV-ES, SNP, VMPL and more; 4 VMPLs, 5 bits less, C-bit 51.
        "sev_leaf": {"eax": 0x0101FD3F, "ebx": 0x4173, "ecx": 0x3EE, "edx": 0x64},
        "sev_leaf_how": "device",
    },
    "parameters": {
        "sev": "Y",
        "sev_es": "Y",
        "sev_snp": "Y",
        "sev_supported_vmsa_features": None,
        "avic": "N",
        "npt": "Y",
    },
    "kvm": {
        "present": True,
        "error": None,
        "vm_types": 0x1D,
        "api": 12,
        "vmsa_features": 0x39,
        "created": {"default": "ok", "sev": "ok", "sev-es": "ok", "sev-snp": "ok"},
    },
    "sev": {
        "present": True,
        "error": None,
        "api": "1.55",
        "build": 21,
        "initialized": True,
        "rmp": True,
        "guests": 0,
        "tcb": "0xd315000000000004",
        "reported_tcb": "0xd315000000000004",
    },
    "qemu": {
        "path": "/opt/qemu-svsm/bin/qemu-system-x86_64",
        "version": "11.0.1",
        "error": None,
        "objects": ["igvm-cfg", "memory-backend-memfd", "sev-guest", "sev-snp-guest"],
        "snp_options": ["policy", "kernel-hashes"],
        "machine_options": ["confidential-guest-support", "igvm-cfg", "memory-backend"],
        "help": {"device-plane": True, "igvm-cfg": True},
        "cpu_models": ["EPYC-v3", "EPYC-v4"],
    },
    "memory": {"total_kb": 263_000_000, "available_kb": 250_000_000},
    "disk": {"path": "/var/tmp", "free": 100 << 30, "error": None},
}


def host(**changes: Any) -> dict[str, Any]:
    """GOOD with other values: host(kvm__vm_types=1) is that of facts["kvm"]["vm_types"]."""
    facts = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parts, last = path.split("__")
        entry = facts
        for part in parts:
            entry = entry[part]
        entry[last] = value
    return facts
