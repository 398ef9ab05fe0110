# SPDX-License-Identifier: GPL-2.0-or-later
"""`Timeline`: everything a run's witness saw, in order, and its form as JSON Lines.

The file is a header line, one line for each access, phase and event, and an end line that states whether the whole run
was observed. A file without an end line, or with a partial last line (its writer was killed), is read as an incomplete
timeline and is not an error.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

from snp_harness.apic import jsonfield
from snp_harness.apic.access import Access, Phase
from snp_harness.apic.event_kinds import GUEST_EXIT, LAUNCH, SVSM_KINDS
from snp_harness.errors import UsageError

#: Name and version of the format, in the header line.
FORMAT = "snp-harness-timeline"
VERSION = 1
#: Bounds on untrusted files: characters of a line, and lines.
LINE_MAX = 1 << 16
LINES_MAX = 1 << 22
#: Bound on the entries of "gaps", "not_observed" and an event's fields.
LIST_MAX = 256
#: The gap of a file without an end line.
NO_END = "the timeline has no end line: its writer was stopped"


class TimelineError(UsageError):
    """A timeline file cannot be read; the message names the line."""


class Known(enum.Enum):
    """How a phase is known to have begun.

    PROVEN: the bytes that were executed are those of a module of that phase. LOCATED: the address is of such a module,
    whose bytes were not compared. INFERRED: the guest did what firmware does in that phase. CONSOLE: a line of the
    console names it.
    """

    PROVEN = "proven"
    LOCATED = "located"
    INFERRED = "inferred"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class PhaseMark:
    """A boot phase began. index: accesses before it. time_ns: since the witness's start. evidence: what showed it."""

    phase: Phase
    index: int
    time_ns: int | None
    evidence: str
    known: Known = Known.INFERRED

    def to_json(self) -> dict[str, Any]:
        """Return the mark as JSON values."""
        return {
            "phase": self.phase.name,
            "index": self.index,
            "time_ns": self.time_ns,
            "evidence": self.evidence,
            "known": self.known.value,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PhaseMark:
        """Rebuild a mark. Raises FieldError."""
        data = {"known": Known.INFERRED.value, **data}  # older files lack it
        jsonfield.require_keys(data, frozenset({"phase", "index", "time_ns", "evidence", "known"}))
        return cls(
            jsonfield.member(data, "phase", Phase),
            jsonfield.integer(data, "index", jsonfield.COUNT_MAX),
            jsonfield.optional_integer(data, "time_ns", jsonfield.TIME_MAX),
            jsonfield.text(data, "evidence"),
            jsonfield.choice(data, "known", Known),
        )


#: Phases that show, once they have begun, that SEC is over.
AFTER_SEC = frozenset({Phase.PEI, Phase.DXE, Phase.BDS, Phase.OS})


def sec_is_over(marks: Iterable[PhaseMark]) -> bool:
    """Return whether these marks show that SEC has ended.

    PEI must have been seen, by its code. One thing that firmware usually does later does not show it, two later phases
    do; what a console says never does.
    """
    later = [mark for mark in marks if mark.phase in AFTER_SEC]
    if any(mark.phase is Phase.PEI and mark.known in (Known.PROVEN, Known.LOCATED) for mark in later):
        return True
    return sum(mark.known is Known.INFERRED for mark in later) > 1


@dataclass(frozen=True, slots=True)
class Event:
    """Something other than an APIC access: an RMP violation, the guest's termination, the hypervisor's end.

    kind: stable name, such as "rmp-violation" or "private-mmio" (docs/json.md). text: a description for reports.
    fields: details by name; addresses are integers.
    """

    kind: str
    time_ns: int | None
    vcpu: int | None
    text: str
    fields: dict[str, int | str]

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Event:
        """Rebuild an event. Raises FieldError."""
        jsonfield.require_keys(data, frozenset({"kind", "time_ns", "vcpu", "text", "fields"}))
        fields = data["fields"]
        if not isinstance(fields, dict) or len(fields) > LIST_MAX:
            raise jsonfield.FieldError(f'"fields" is not an object of at most {LIST_MAX} entries')
        for name, value in fields.items():
            jsonfield.text({"name of a field": name}, "name of a field")
            if isinstance(value, str):
                jsonfield.text(fields, name)
            else:
                jsonfield.integer(fields, name, jsonfield.U64_MAX)
        return cls(
            jsonfield.text(data, "kind"),
            jsonfield.optional_integer(data, "time_ns", jsonfield.TIME_MAX),
            jsonfield.optional_integer(data, "vcpu", jsonfield.VCPU_MAX),
            jsonfield.text(data, "text"),
            fields,
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    """What one witness saw of one run.

    witness: its description, such as "emulated host log". platform: its name, such as "emulated".
    complete: everything requested was observed; False if records were lost or the run ended early, with the reasons in
    `gaps`. not_observed: what the witness cannot see ("pc", "vmpl", "outcome", "page-state", "apic-base" ...).
    reached: the furthest phase seen. alternate_injection, svsm: the configuration of the run.
    lost: records known to be lost (they may have been accesses). apic_protocol: the SVSM offers the APIC protocol.
    faults: the faults that the configuration injects, each in words. defects: the parts of the firmware's image that
    could not be read; their modules are unknown. until: where the run was to end, such as "sec" or "shell"; "" if that
    is not known.
    """

    accesses: tuple[Access, ...]
    phases: tuple[PhaseMark, ...]
    events: tuple[Event, ...]
    witness: str
    platform: str
    complete: bool
    gaps: tuple[str, ...]
    not_observed: frozenset[str]
    reached: Phase
    alternate_injection: bool
    svsm: bool
    lost: int = 0
    apic_protocol: bool = False
    faults: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    until: str = ""

    def __repr__(self) -> str:
        return f"<Timeline of {self.platform}: {len(self.accesses)} accesses, reached {self.reached.name}>"

    @property
    def guest_exit(self) -> int | None:
        """The lower seven bits of what the guest wrote to isa-debug-exit, if that has ended the run; else None."""
        for event in reversed(self.events):
            if event.kind == GUEST_EXIT and isinstance(status := event.fields.get("status"), int):
                return status
        return None

    @property
    def svsm_seen(self) -> bool:
        """Whether an SVSM was seen: something that it did, or the guest at a VMPL below its own."""
        return any(event.kind in SVSM_KINDS for event in self.events) or any(access.vmpl for access in self.accesses)

    @property
    def launch_digest(self) -> str | None:
        """The launch digest of an SNP guest, hexadecimal; None if it was not observed."""
        digests = (event.fields.get("digest") for event in self.events if event.kind == LAUNCH)
        return next((digest for digest in digests if isinstance(digest, str)), None)

    def lines(self) -> Iterator[str]:
        """Yield the JSON Lines with their newlines: header; phases, accesses and events in order; end."""
        header = {
            "format": FORMAT,
            "version": VERSION,
            "witness": self.witness,
            "platform": self.platform,
            "not_observed": sorted(self.not_observed),
            "alternate_injection": self.alternate_injection,
            "svsm": self.svsm,
            "apic_protocol": self.apic_protocol,
            "faults": list(self.faults),
            "defects": list(self.defects),
            "until": self.until,
        }
        yield _line("timeline", header)
        marks, events = list(self.phases[::-1]), list(self.events[::-1])
        for position, access in enumerate(self.accesses):
            while marks and marks[-1].index <= position:
                yield _line("phase", marks.pop().to_json())
            while events and (time := events[-1].time_ns) is not None and time <= (access.time_ns or 0):
                yield _line("event", events.pop().to_json())
            yield _line("access", access.to_json())
        for mark in reversed(marks):
            yield _line("phase", mark.to_json())
        for event in reversed(events):
            yield _line("event", event.to_json())
        end = {"complete": self.complete, "gaps": list(self.gaps), "lost": self.lost, "reached": self.reached.name}
        yield _line("end", end)

    def to_jsonl(self) -> str:
        """Return the JSON Lines as one string."""
        return "".join(self.lines())

    @classmethod
    def from_jsonl(cls, source: str | Iterable[str], name: str = "timeline") -> Timeline:
        """Read JSON Lines from a string or an iterable of lines with their newlines (`bounded_lines` of an open file).

        name: the file's, for messages. Raises TimelineError for anything that `lines` would not write.
        """
        lines = bounded_lines(io.StringIO(source)) if isinstance(source, str) else source
        reader = _Reader(name)
        for number, line in enumerate(lines, start=1):
            reader.take(number, line)
        return reader.finish()


def bounded_lines(stream: TextIO) -> Iterator[str]:
    """Yield a text file's lines, each cut into pieces of at most `LINE_MAX` + 1 characters."""
    while line := stream.readline(LINE_MAX + 1):
        yield line


def _line(kind: str, data: dict[str, Any]) -> str:
    return json.dumps({kind: data}, separators=(",", ":")) + "\n"


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _strings(data: dict[str, Any], key: str) -> tuple[str, ...]:
    values = data[key]
    if not isinstance(values, list) or len(values) > LIST_MAX:
        raise jsonfield.FieldError(f'"{key}" is not a list of at most {LIST_MAX} strings')
    return tuple(jsonfield.text({key: value}, key) for value in values)


class _Reader:
    """Reads a timeline's lines one at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.header: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.accesses: list[Access] = []
        self.phases: list[PhaseMark] = []
        self.events: list[Event] = []

    def fail(self, what: str) -> TimelineError:
        return TimelineError(f"{self.name}, line {self.number}: {what}", "it is not a timeline of this version")

    def take(self, number: int, line: str) -> None:
        self.number = number
        if number > LINES_MAX:
            raise self.fail(f"more than {LINES_MAX} lines")
        if len(line) > LINE_MAX:
            raise self.fail(f"longer than {LINE_MAX} characters")
        try:
            entry = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            if not line.endswith("\n") and self.header is not None:
                return  # the writer was stopped in the middle of its last line
            raise self.fail("not JSON") from None
        if not isinstance(entry, dict) or len(entry) != 1:
            raise self.fail("not an object with one entry")
        ((kind, data),) = entry.items()
        if not isinstance(data, dict):
            raise self.fail(f"{jsonfield.shown(kind)} is not an object")
        try:
            self.entry(kind, data)
        except jsonfield.FieldError as error:
            raise self.fail(str(error)) from None

    def entry(self, kind: str, data: dict[str, Any]) -> None:
        if (self.header is None) != (kind == "timeline"):
            raise jsonfield.FieldError("the header must be the first line, and no other")
        if self.end is not None:
            raise jsonfield.FieldError("a line after the end line")
        match kind:
            case "timeline":
                self.take_header(data)
            case "access":
                access = Access.from_json(data)
                if access.index != len(self.accesses):
                    raise jsonfield.FieldError(f"access {access.index} where {len(self.accesses)} is due")
                self.accesses.append(access)
            case "phase":
                self.phases.append(PhaseMark.from_json(data))
            case "event":
                self.events.append(Event.from_json(data))
            case "end":
                self.take_end(data)
            case _:
                raise jsonfield.FieldError(f"unknown entry {jsonfield.shown(kind)}")

    def take_header(self, data: dict[str, Any]) -> None:
        if (data.get("format"), data.get("version")) != (FORMAT, VERSION):
            raise jsonfield.FieldError(f"not {FORMAT} version {VERSION}")
        # Older files lack these fields: no SVSM had an APIC protocol then, and no faults were injected.
        data = {"apic_protocol": False, "faults": [], "defects": [], "until": "", **data}
        keys = {"format", "version", "witness", "platform", "not_observed", "alternate_injection", "svsm"}
        jsonfield.require_keys(data, frozenset(keys | {"apic_protocol", "faults", "defects", "until"}))
        self.header = {
            "witness": jsonfield.text(data, "witness"),
            "platform": jsonfield.text(data, "platform"),
            "not_observed": frozenset(_strings(data, "not_observed")),
            "alternate_injection": jsonfield.boolean(data, "alternate_injection"),
            "svsm": jsonfield.boolean(data, "svsm"),
            "apic_protocol": jsonfield.boolean(data, "apic_protocol"),
            "faults": _strings(data, "faults"),
            "defects": _strings(data, "defects"),
            "until": jsonfield.text(data, "until"),
        }

    def take_end(self, data: dict[str, Any]) -> None:
        jsonfield.require_keys(data, frozenset({"complete", "gaps", "lost", "reached"}))
        self.end = {
            "complete": jsonfield.boolean(data, "complete"),
            "gaps": _strings(data, "gaps"),
            "lost": jsonfield.integer(data, "lost", jsonfield.U64_MAX),
            "reached": jsonfield.member(data, "reached", Phase),
        }

    def finish(self) -> Timeline:
        if self.header is None:
            raise self.fail("no header line")
        known = [mark.phase for mark in self.phases if mark.phase is not Phase.UNKNOWN]
        reached = max(known, default=Phase.UNKNOWN)
        end = self.end or {"complete": False, "gaps": (NO_END,), "lost": 0, "reached": reached}
        return Timeline(tuple(self.accesses), tuple(self.phases), tuple(self.events), **self.header, **end)
