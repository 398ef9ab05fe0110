# SPDX-License-Identifier: GPL-2.0-or-later
"""The points as the conformance guest's sources have them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "guests" / "svsm_apic_conformance"
_POINT = re.compile(r'^\t\{ "([a-z0-9-]+/[a-z0-9-]+)", ', re.MULTILINE)
_GROUP = re.compile(r"&(\w+)_group")
_FILES = {"level": "level.c", "timer": "timer_points.c"}

#: Points that only an SVSM without the APIC protocol has, and those of timers that are offered by configuration.
WITHOUT_PROTOCOL = ("core/query-protocol-without-apic", "core/calls-without-apic-refused")
CORE = (
    "core/query-protocol-core",
    "core/query-protocol-unknown",
    "core/unknown-call-and-protocol",
    "core/call-needs-pending",
    "core/pvalidate",
)


def all_points() -> list[str]:
    """Their names, in the order they run in."""
    main = (SOURCES / "main.c").read_text(encoding="utf-8")
    names: list[str] = []
    for group in _GROUP.findall(main):
        names += _POINT.findall((SOURCES / _FILES.get(group, f"{group}.c")).read_text(encoding="utf-8"))
    return names


def points_of(configuration: str) -> list[str]:
    """The points that run, and are not skipped, under one of the harness's configurations."""
    names = all_points()
    if configuration in ("plain", "no-svsm"):
        return [name for name in names if name.startswith("apic-base/")]
    if configuration in ("no-apic-protocol", "alternate-injection-off"):
        return [name for name in names if name.startswith("apic-base/") or name in CORE + WITHOUT_PROTOCOL]
    timers = {"timer-hv-timer": ("svsm-timer/",), "timer-svsm": ("hv-timer/",)}
    absent = timers.get(configuration, ("svsm-timer/", "hv-timer/"))
    return [name for name in names if not name.startswith(absent) and name not in WITHOUT_PROTOCOL]
