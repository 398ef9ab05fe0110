# SPDX-License-Identifier: GPL-2.0-or-later
"""The platforms: how a guest is run. Each is a module that is registered here, with a Platform that probes and runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from snp_harness.errors import UsageError

if TYPE_CHECKING:
    from snp_harness.platforms.platform import Platform

#: Name and module; the module has a PLATFORM. It is imported by find_platform.
_MODULES = {
    "emulated": "snp_harness.platforms.emulated",
    "tcg": "snp_harness.platforms.tcg",
    "kvm": "snp_harness.platforms.kvm",
    "nested": "snp_harness.platforms.nested",
    "snp": "snp_harness.platforms.snp",
}


def platform_names() -> tuple[str, ...]:
    """The names of all platforms, the default one first."""
    return tuple(_MODULES)


def find_platform(name: str) -> Platform:
    """The platform of that name. Raises UsageError."""
    if name not in _MODULES:
        from snp_harness.nearest import known_names

        raise UsageError(f"no platform is named {name!a}", known_names(name, _MODULES))
    platform: Platform = import_module(_MODULES[name]).PLATFORM
    return platform
