# SPDX-License-Identifier: GPL-2.0-or-later
"""The golden form of a timeline: what `difference` compares, as JSON Lines for a repository, and nothing else.

The first line is a header. Each other line is an access, in the order of vCPUs and modules, so that a diff of two files
shows what changed in the firmware and not how the vCPUs were scheduled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from snp_harness.apic import jsonfield
from snp_harness.apic.access import ACCESS_KEYS, Access, Phase
from snp_harness.apic.difference import event_kinds, last_phase, phase_names, steady
from snp_harness.apic.timeline import LINE_MAX, LINES_MAX, LIST_MAX, Event, PhaseMark, Timeline, TimelineError

#: Name and version of the format, in the header line.
FORMAT = "snp-harness-golden"
VERSION = 1
#: Fields of an access that differ from build to build or from boot to boot.
_MOVING = ("index", "pc", "module_offset", "time_ns")
_FIRST = ("vcpu", "module", "phase")


def golden_lines(timeline: Timeline) -> Iterator[str]:
    """Yield the golden form of a timeline as lines with their newlines."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "platform": timeline.platform,
        "until": timeline.until,
        "phases": phase_names(timeline, last_phase(timeline)),
        "events": event_kinds(timeline, last_phase(timeline)),
    }
    yield json.dumps(header) + "\n"
    groups: dict[tuple[int | None, str | None], list[Access]] = {}
    for access in steady(timeline):
        groups.setdefault((access.vcpu, access.module), []).append(access)
    # Modules in the order of their first access; the order between vCPUs would be chance.
    for _, accesses in sorted(groups.items(), key=lambda entry: -1 if entry[0][0] is None else entry[0][0]):
        for access in accesses:
            fields = access.to_json()
            ordered = {name: fields[name] for name in (*_FIRST, *fields) if name not in _MOVING}
            yield json.dumps(ordered) + "\n"


def read_golden(lines: Iterable[str], name: str) -> Timeline:
    """Read a golden timeline. lines: with their newlines (`bounded_lines` of an open file). name: the file's.

    Raises TimelineError for anything that `golden_lines` would not write.
    """
    header: dict[str, Any] | None = None
    accesses: list[Access] = []
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            data = _parse(number, line)
            if header is None:
                header = _header(data)
            else:
                accesses.append(_access(data, len(accesses)))
        except jsonfield.FieldError as error:
            raise _wrong(name, number, str(error)) from None
    if header is None:
        raise _wrong(name, number, "no header line")
    return Timeline(
        accesses=tuple(accesses),
        phases=tuple(PhaseMark(phase, 0, None, "") for phase in header["phases"]),
        events=tuple(Event(kind, None, None, "", {}) for kind in header["events"]),
        witness="golden timeline",
        platform=header["platform"],
        complete=True,
        gaps=(),
        not_observed=frozenset(),
        reached=max((phase for phase in header["phases"] if phase is not Phase.UNKNOWN), default=Phase.UNKNOWN),
        alternate_injection=False,
        svsm=False,
        until=header["until"],
    )


def _wrong(name: str, number: int, what: str) -> TimelineError:
    return TimelineError(f"{name}, line {number}: {what}", "write it again with pytest --snp-update-golden")


def _parse(number: int, line: str) -> dict[str, Any]:
    if number > LINES_MAX:
        raise jsonfield.FieldError(f"more than {LINES_MAX} lines")
    if len(line) > LINE_MAX:
        raise jsonfield.FieldError(f"longer than {LINE_MAX} characters")
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise jsonfield.FieldError("not JSON") from None
    if not isinstance(data, dict):
        raise jsonfield.FieldError("not an object")
    return data


def _header(data: dict[str, Any]) -> dict[str, Any]:
    if (data.get("format"), data.get("version")) != (FORMAT, VERSION):
        raise jsonfield.FieldError(f"not {FORMAT} version {VERSION}")
    jsonfield.require_keys(data, frozenset({"format", "version", "platform", "until", "phases", "events"}))
    for key in ("phases", "events"):
        if not isinstance(data[key], list) or len(data[key]) > LIST_MAX:
            raise jsonfield.FieldError(f'"{key}" is not a list of at most {LIST_MAX} names')
    return {
        "platform": jsonfield.text(data, "platform"),
        "until": jsonfield.text(data, "until"),
        "phases": [jsonfield.member({"phases": name}, "phases", Phase) for name in data["phases"]],
        "events": [jsonfield.text({"events": kind}, "events") for kind in data["events"]],
    }


def _access(data: dict[str, Any], index: int) -> Access:
    jsonfield.require_keys(data, ACCESS_KEYS - set(_MOVING))
    return Access.from_json({**data, **dict.fromkeys(_MOVING), "index": index})
