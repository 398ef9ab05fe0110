# SPDX-License-Identifier: GPL-2.0-or-later
"""The difference of two timelines as text and as JSON (docs/json.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from snp_harness.apic.access import Access
from snp_harness.apic.difference import FIELDS, Difference, Entry, Kind, observed
from snp_harness.apic.timeline import Timeline
from snp_harness.data import json_head
from snp_harness.report.text import INDENT, NAME_MAX, NOT_OBSERVED, escape, number, place, register
from snp_harness.version import build

#: Fields whose values do not say what they are.
_NAMES = {"path": "path ", "mode": "mode ", "outcome": "outcome ", "phase": "phase ", "value": "value "}
_SIGNS = {Kind.CAME: "+", Kind.WENT: "-", Kind.CHANGED: "~"}


def summary(difference: Difference) -> str:
    """Return the difference in one sentence."""
    counts = {kind: len(difference.of_kind(kind)) for kind in Kind}
    parts = [f"{counts[kind]} {kind.value}" for kind in (Kind.CAME, Kind.WENT, Kind.CHANGED) if counts[kind]]
    if difference.empty:
        return f"no difference: all {counts[Kind.SAME]} accesses that are compared are the same"
    marks = len(difference.marks)
    more = f", and {marks} phases or kinds of events" if marks else ""
    return f"accesses: {', '.join([*parts, f'{counts[Kind.SAME]} the same'])}{more}"


def same(count: int) -> str:
    """Return how many accesses in a row are the same, in words."""
    return f"{count} {'is' if count == 1 else 'are'} the same"


def not_compared(difference: Difference) -> str:
    """Return what was not compared, in a sentence; empty if everything was."""
    fields = ", ".join(difference.not_compared)
    return f"not compared, because one run did not observe it: {fields}" if fields else ""


def lines(difference: Difference) -> Iterator[str]:
    """Yield the difference as lines of text: "+" came, "-" went, "~" changed, below a heading for each module."""
    for (vcpu, module), entries in groupby(difference.entries, key=lambda entry: entry.group):
        listed = list(entries)
        if all(entry.kind is Kind.SAME for entry in listed):
            continue
        shown = NOT_OBSERVED if module is None else escape(module, NAME_MAX)
        yield f"{shown}, vCPU {'?' if vcpu is None else vcpu}"
        for kind, run in groupby(listed, key=lambda entry: entry.kind):
            if kind is Kind.SAME:
                yield f"{INDENT}... {same(len(list(run)))}"
            else:
                yield from (f"{_SIGNS[kind]} {_line(entry)}" for entry in run)
    yield from (f"{_SIGNS[kind]} {what} {escape(name, 40)}" for kind, what, name in difference.marks)
    if sentence := not_compared(difference):
        yield sentence
    yield from (escape(doubt, 200) for doubt in difference.doubts)


def _line(entry: Entry) -> str:
    access = entry.access
    at = place(access)
    where = "" if access.module_offset is None else f" at {at}"
    what = f"{access.operation.value} {register(access.register, access.path)}"
    if entry.kind is not Kind.CHANGED:
        parts = [_field(access, field) for field in FIELDS if field not in ("value", "size")]
        shown = ", ".join(part for part in parts if part != NOT_OBSERVED)
        return f"{what} = {number(access.value)} ({shown}){where}"
    assert entry.before is not None
    changes = [
        f"{_NAMES.get(field, '')}{_field(entry.before, field)} -> {_field(access, field)}" for field in entry.fields
    ]
    return f"{what}: {', '.join(changes)}{where}"


def _field(access: Access, field: str) -> str:
    """Return a field's value as text, with what it is where that is not plain."""
    value = getattr(access, field)
    if not observed(value):
        return NOT_OBSERVED
    match field:
        case "phase":
            return str(value.name)
        case "value":
            return number(value)
        case "vmpl":
            return f"VMPL {value}"
        case "size":
            return f"{value} bytes"
        case "served_by":
            return f"served by {value.value}"
    return str(value.value)


def to_json(difference: Difference, before: Timeline, after: Timeline, names: tuple[str, str]) -> dict[str, Any]:
    """Return the difference as JSON values. names: of the two runs."""
    return {
        **json_head("diff"),
        "harness": build().version,
        "summary": summary(difference),
        "before": _run(before, names[0]),
        "after": _run(after, names[1]),
        "equal": difference.empty,
        "same": len(difference.of_kind(Kind.SAME)),
        "came": [entry.access.to_json() for entry in difference.of_kind(Kind.CAME)],
        "went": [entry.access.to_json() for entry in difference.of_kind(Kind.WENT)],
        "changed": [
            {"before": entry.before.to_json(), "after": entry.access.to_json(), "fields": list(entry.fields)}
            for entry in difference.of_kind(Kind.CHANGED)
            if entry.before is not None
        ],
        "phases": {"came": list(difference.phases_came), "went": list(difference.phases_went)},
        "events": {"came": list(difference.events_came), "went": list(difference.events_went)},
        "not_compared": list(difference.not_compared),
        "doubts": list(difference.doubts),
    }


def _run(timeline: Timeline, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "platform": timeline.platform,
        "witness": timeline.witness,
        "complete": timeline.complete,
        "reached": timeline.reached.name,
        "accesses": len(timeline.accesses),
    }


def render_json(difference: Difference, before: Timeline, after: Timeline, names: tuple[str, str]) -> str:
    """Return the difference as a JSON text of ASCII characters, with a newline at its end."""
    return json.dumps(to_json(difference, before, after, names), indent=2) + "\n"
