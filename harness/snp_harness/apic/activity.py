# SPDX-License-Identifier: GPL-2.0-or-later
"""What happened in a run between its APIC accesses: spans of time, and counts that grow. A witness may see none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Something with a begin and an end. track: what it is a part of, such as "SVSM calls" or "VMPL 2"."""

    vcpu: int
    track: str
    name: str
    begin_ns: int
    end_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Counts since the beginning of the run, at a time."""

    time_ns: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Activity:
    """spans: in the order of their ends. title: what is counted. samples: in their order."""

    spans: tuple[Span, ...]
    title: str
    samples: tuple[Sample, ...]
