# SPDX-License-Identifier: GPL-2.0-or-later
"""snp-harness: boots SEV-SNP firmware under an SVSM and checks when it accesses the local APIC.

The names in `__all__` are the public API; all others may change. Each is imported at its first use: `import
snp_harness` alone loads no other module, which keeps the command's start fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snp_harness.apic.access import Access, Phase
    from snp_harness.apic.timeline import Timeline
    from snp_harness.apic.verdict import Status, Verdict
    from snp_harness.conformance.guest_run import ConformanceResult
    from snp_harness.conformance.series import run_conformance
    from snp_harness.errors import (
        BrokenEnvironmentError,
        HarnessError,
        MemoryAccessError,
        UnsupportedError,
        UsageError,
    )
    from snp_harness.firmware.find import find_firmware
    from snp_harness.firmware_run import RunResult, run
    from snp_harness.guest.guest import Guest, boot
    from snp_harness.guest.guest_errors import GuestError
    from snp_harness.guest.linux import LinuxGuest, boot_linux
    from snp_harness.guest.snapshot import Snapshot
    from snp_harness.platforms.platform import RunSpec
    from snp_harness.svsm.config import SvsmConfig
    from snp_harness.svsm.config_files import load_config
    from snp_harness.testing.assertions import assert_holds, assert_violated
    from snp_harness.testing.boot import SnpBoot
    from snp_harness.testing.golden import SnpGolden
    from snp_harness.testing.guest import SnpGuest
    from snp_harness.testing.linux import SnpLinux

    __version__: str

__all__ = [
    "Access",
    "BrokenEnvironmentError",
    "ConformanceResult",
    "Guest",
    "GuestError",
    "HarnessError",
    "LinuxGuest",
    "MemoryAccessError",
    "Phase",
    "RunResult",
    "RunSpec",
    "Snapshot",
    "SnpBoot",
    "SnpGolden",
    "SnpGuest",
    "SnpLinux",
    "Status",
    "SvsmConfig",
    "Timeline",
    "UnsupportedError",
    "UsageError",
    "Verdict",
    "__version__",
    "assert_holds",
    "assert_violated",
    "boot",
    "boot_linux",
    "find_firmware",
    "load_config",
    "run",
    "run_conformance",
]

#: The modules of the names.
_HOMES = {
    "Access": "apic.access",
    "BrokenEnvironmentError": "errors",
    "ConformanceResult": "conformance.guest_run",
    "Guest": "guest.guest",
    "GuestError": "guest.guest_errors",
    "HarnessError": "errors",
    "LinuxGuest": "guest.linux",
    "MemoryAccessError": "errors",
    "Phase": "apic.access",
    "RunResult": "firmware_run",
    "RunSpec": "platforms.platform",
    "SnpBoot": "testing.boot",
    "SnpGolden": "testing.golden",
    "SnpGuest": "testing.guest",
    "SnpLinux": "testing.linux",
    "Snapshot": "guest.snapshot",
    "Status": "apic.verdict",
    "SvsmConfig": "svsm.config",
    "Timeline": "apic.timeline",
    "UnsupportedError": "errors",
    "UsageError": "errors",
    "Verdict": "apic.verdict",
    "assert_holds": "testing.assertions",
    "assert_violated": "testing.assertions",
    "boot": "guest.guest",
    "boot_linux": "guest.linux",
    "find_firmware": "firmware.find",
    "load_config": "svsm.config_files",
    "run": "firmware_run",
    "run_conformance": "conformance.series",
}


if not TYPE_CHECKING:  # A type checker knows the names above, and would take any other for one of these.

    def __getattr__(name: str) -> object:
        """Import a public name's module when the name is first used (PEP 562)."""
        if name == "__version__":
            return import_module(f"{__name__}.version").build().version
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
