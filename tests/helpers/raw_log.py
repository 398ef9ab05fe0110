# SPDX-License-Identifier: GPL-2.0-or-later
"""A second reader of raw logs of the emulated host: compares `host.log` of a run with timeline and verdict.

Nothing here comes from the harness's own readers: it is written from docs/log.md, docs/contract.md, docs/json.md and
harness/emulator/include/record.h, so that an error of one of the two readers shows as a difference. The phases are
read from the timeline, because they need the firmware image; here one only has to begin at a record of the guest.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

_SIZE = 64
_LAYOUT = struct.Struct("<6Q I H 6B I")
_WORDS = struct.Struct("<16I")

_START, _END, _APIC, _APIC_BASE, _RMP_VIOLATION, _ALTERNATE, _ACCESS = 1, 2, 3, 4, 13, 23, 25
_BYTES, _MODULE, _VC, _SVSM_CALL, _SVSM_RESULT = 7, 6, 8, 11, 12
#: VMPL_SWITCH, STATS, TEXT, DOORBELL: not the guest's doing.
_NOT_THE_GUESTS = (15, 17, 18, 22)
#: `address` of an END: isa-debug-exit.
_EXIT = 19
#: RAX of QUERY_PROTOCOL, the number of the APIC protocol, RAX of its calls that read and write a register.
_QUERY, _APIC_PROTOCOL, _REGISTER_CALLS = 6, 3, (3 << 32 | 2, 3 << 32 | 3)
_VMGEXIT = 0xD9010FF3
#: An access that is open for longer than this was not cut off by the end of the run.
_CUT_OFF_NS = 200_000_000
#: Bits of a record's number in the answer to an access.
_ANSWERS = (1 << 30) - 1
_PATHS = {1: "mmio", 2: "msr", 3: "svsm"}
_OUTCOMES = {0: "ok", 1: "#GP", 2: "not claimed", 3: "error"}
#: EN << 1 | EXTD.
_MODES = ("disabled", "invalid", "xAPIC", "x2APIC")
_REPEATED = (0x80000000, 0x80000007)
_APIC_PAGE = 0xFEE00
#: Below every C-bit.
_ADDRESS = (1 << 47) - 1
_SEC = ("RESET", "SEC")
#: A timeline keeps so many accesses one by one (docs/log.md, Bounds).
_KEPT = 20_000
#: `host.log` ends here (docs/run-directory.md).
_LOG_LIMIT = 256 << 20
#: So many faults of a log are listed; a verdict lists at least so many offences of a rule.
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Record:
    """A record, in the order of struct record."""

    seq: int
    time_ns: int
    rip: int
    address: int
    value: int
    extra: int
    check: int
    kind: int
    vcpu: int
    vmpl: int
    size: int
    path: int
    outcome: int
    flags: int
    aux: int

    @property
    def write(self) -> bool:
        return bool(self.flags & 1)

    @property
    def mode(self) -> str:
        """The APIC mode before the access."""
        return _MODES[self.aux & 3]

    @property
    def is_base(self) -> bool:
        return self.kind == _APIC_BASE or (self.kind in (_APIC, _ACCESS) and self.path != 1 and self.address == 0x1B)

    @property
    def repeated(self) -> bool:
        """A call that the SVSM wants to be made again (results BUSY and INCOMPLETE)."""
        return self.path == 3 and self.extra in _REPEATED

    @property
    def ending(self) -> str:
        return "not observed" if self.kind == _ACCESS else _OUTCOMES.get(self.outcome, "error")

    def answers(self, access: Record) -> bool:
        """Whether this is the answer to an access."""
        same = (self.vcpu, self.mode) == (access.vcpu, access.mode) and self.aux >> 2 == access.seq & _ANSWERS
        return same and (self.kind == _APIC_BASE or self.address == access.address)

    def names(self) -> dict[str, Any]:
        """The access as a timeline has it."""
        mmio = self.kind in (_APIC, _ACCESS) and self.path == 1
        seen = self.kind != _ACCESS or self.flags & 0x40
        return {
            "operation": "write" if self.write else "read",
            "path": "msr" if self.is_base else _PATHS.get(self.path, "unknown"),
            "offset" if mmio else "msr": hex(self.address & 0xFF0 if mmio else 0x1B if self.is_base else self.address),
            "value": hex(self.value) if seen else None,
            "size": self.size or None,
            "vcpu": self.vcpu,
            "vmpl": self.vmpl,
            "mode": self.mode,
            "outcome": "busy" if self.repeated else self.ending,
            "pc": hex(self.rip),
            "time_ns": self.time_ns,
        }


def records(raw: bytes) -> Iterator[Record]:
    """The records of a raw log; it must be whole."""
    for fields in _LAYOUT.iter_unpack(raw):
        yield Record(*fields)


def damage(raw: bytes) -> list[str]:
    """What is wrong with a raw log by itself: a line for each missing, doubled, moved or changed record."""
    found = []
    if len(raw) % _SIZE:
        found.append(f"the log ends in the middle of a record: {len(raw)} bytes")
    expected, ended = 1, False
    for start in range(0, len(raw) - _SIZE + 1, _SIZE):
        words = _WORDS.unpack_from(raw, start)
        seq = words[0] | words[1] << 32
        hashed = 0x811C9DC5
        for position, word in enumerate(words):
            hashed = (hashed ^ (word if position != 12 else 0)) * 0x01000193 & 0xFFFFFFFF
        if hashed != words[12]:
            found.append(f"record {start // _SIZE}: wrong check word")
        if seq != expected:
            found.append(f"record {start // _SIZE}: number {seq}, not {expected}")
        if ended:
            found.append(f"record {start // _SIZE}: behind the end")
        expected = seq + 1
        ended = ended or words[13] & 0xFFFF == _END
        if len(found) >= _LISTED:
            break
    return found


def _legal(before: str, write: Record) -> bool:
    """APM volume 2, figure 16-32."""
    after = _MODES[write.value >> 10 & 3]
    if after == before:
        return True
    return {"disabled": after == "xAPIC", "xAPIC": after in ("disabled", "x2APIC"), "x2APIC": after == "disabled"}.get(
        before, False
    )


@dataclass(slots=True)
class Offences:
    """Positions, in the list of accesses, of those that break a rule."""

    x2apic_before_sec: list[int] = field(default_factory=list)
    legal_transition: list[int] = field(default_factory=list)
    no_xapic_after_x2apic: list[int] = field(default_factory=list)
    no_refused_access: list[int] = field(default_factory=list)
    no_access_outside_x2apic: list[int] = field(default_factory=list)


def judge(
    accesses: list[Record], sec: set[int], changes: dict[int, list[tuple[int, bool]]], by_policy: set[int]
) -> Offences:
    """Apply the contract's rules about accesses. sec: positions of SEC's accesses.

    changes: when Alternate Injection ended (True) or began, by vCPU. by_policy: vCPUs whose APIC_BASE the hypervisor
    changed itself.
    """
    found = Offences()
    modes: dict[int, str] = {}
    inside: set[int] = set()
    left: set[int] = set()
    for position, access in enumerate(accesses):
        vcpu, mode = access.vcpu, access.mode
        mmio = access.path == 1 and not access.is_base
        if not access.is_base and position in sec and (mmio or mode != "x2APIC"):
            found.x2apic_before_sec.append(position)
        over = [end for time_ns, end in changes.get(vcpu, ()) if time_ns <= access.time_ns][-1:] == [True]
        if not access.is_base and not over and (mmio or mode != "x2APIC"):
            found.no_access_outside_x2apic.append(position)
        if access.outcome and not (access.repeated and _made_again(accesses[position + 1 :], access)):
            found.no_refused_access.append(position)
        unexplained = mode == "x2APIC" and modes.get(vcpu, "xAPIC") != "x2APIC" and vcpu not in by_policy
        wrote = access.is_base and access.write
        if unexplained or (wrote and not _legal(mode, access)):
            found.legal_transition.append(position)
        if mode == "x2APIC":
            inside.add(vcpu)
            left.discard(vcpu)
        else:
            inside.discard(vcpu)
        if mmio and (inside or vcpu in left):
            found.no_xapic_after_x2apic.append(position)
        modes[vcpu] = mode
        if access.is_base and not access.outcome and access.kind != _ACCESS:
            modes[vcpu] = _MODES[access.value >> 10 & 3]
            if mode == "x2APIC" != modes[vcpu]:
                found.no_xapic_after_x2apic.append(position)
                inside.discard(vcpu)
                left.add(vcpu)
            elif modes[vcpu] == "x2APIC":
                inside.add(vcpu)
    return found


def _made_again(later: list[Record], call: Record) -> bool:
    """Whether the vCPU makes the call once more, or nothing at all."""
    own = [access for access in later if access.vcpu == call.vcpu]
    return not own or any((access.address, access.write) == (call.address, call.write) for access in own)


@dataclass(slots=True)
class _Timeline:
    header: dict[str, Any]
    accesses: list[dict[str, Any]]
    phases: list[dict[str, Any]]
    events: list[dict[str, Any]]
    end: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> _Timeline:
        lists: dict[str, list[dict[str, Any]]] = {"timeline": [], "access": [], "phase": [], "event": [], "end": []}
        for line in path.read_text(encoding="utf-8").splitlines():
            for kind, entry in json.loads(line).items():
                lists.setdefault(kind, []).append(entry)
        return cls(lists["timeline"][0], lists["access"], lists["phase"], lists["event"], lists["end"][0])


def is_finished(directory: Path) -> bool:
    """Whether a directory is that of a finished run of the emulated host."""
    return all((directory / name).is_file() for name in ("host.log", "timeline.jsonl", "verdict.json"))


def finished_runs(directory: Path) -> Iterator[Path]:
    """The run directories of finished runs of the emulated host below a directory."""
    for parent, _, files in os.walk(directory):
        if "host.log" in files and is_finished(Path(parent)):
            yield Path(parent)


def disagreements(directory: Path) -> list[str]:
    """Where the raw log of a finished run disagrees with its timeline or its verdict. A line each; none: they agree."""
    timeline = _Timeline.read(directory / "timeline.jsonl")
    raw = (directory / "host.log").read_bytes()
    broken = damage(raw)
    if len(raw) >= _LOG_LIMIT or any("cannot write" in gap for gap in timeline.end["gaps"]):
        return []
    if broken:
        # Damaged records are not kept; their timeline has to count them.
        return [] if timeline.end["lost"] else broken
    log = list(records(raw))
    found = _compare_account(raw, log, timeline)
    log = _until_end(log, directory)
    found += _compare_ends(log, timeline)
    accesses = _accesses(log, timeline.header["svsm"])
    found += _compare_accesses(accesses, timeline)
    found += _compare_unanswered(accesses, log, timeline)
    found += _compare_phases(log, timeline)
    if not found and len(accesses) == len(timeline.accesses):
        verdict = json.loads((directory / "verdict.json").read_text(encoding="utf-8"))
        found += _compare_verdict(accesses, log, timeline, verdict)
    return found


def _until_end(log: list[Record], directory: Path) -> list[Record]:
    """The records before the end of the run, and the answers after it to accesses before it (docs/log.md)."""
    environment = directory / "environment.json"
    told = json.loads(environment.read_text(encoding="utf-8")) if environment.is_file() else {}
    end = told.get("after_goal", {}).get("records_before")
    if end is None:
        return log
    open_at_end = {record.seq & _ANSWERS for record in log[:end] if record.kind == _ACCESS}
    answered = {record.aux >> 2 for record in log[:end] if record.kind in (_APIC, _APIC_BASE)}
    late = [record for record in log[end:] if record.kind in (_APIC, _APIC_BASE)]
    return log[:end] + [record for record in late if record.aux >> 2 in open_at_end - answered]


def _guest_vmpl(log: list[Record], svsm: bool) -> int:
    """The VMPL of the firmware: 0 without an SVSM, which is at VMPL0 itself; it may not have run."""
    others = {record.vmpl for record in log} - {0}
    return min(others, default=1) if svsm else 0


def _accesses(log: list[Record], svsm: bool) -> list[Record]:
    """The firmware's accesses to APIC_BASE and to registers. The TSC deadline is not a register of the APIC.

    Each is the record of its first answer, with the time of the access, or of the SVSM's call for it; without an
    answer it is that of the access.
    """
    vmpl = _guest_vmpl(log, svsm)
    accesses: list[Record] = []
    waiting: dict[int, int] = {}
    called: dict[int, int] = {}
    for record in log:
        if record.vmpl < vmpl:
            continue
        if record.kind == _SVSM_CALL:
            called[record.vcpu] = record.time_ns
        if record.kind == _ACCESS:
            waiting[record.seq & _ANSWERS] = len(accesses)
            accesses.append(record)
            continue
        place = waiting.get(record.aux >> 2) if record.kind in (_APIC, _APIC_BASE) and record.aux >> 2 else None
        if place is not None and record.answers(accesses[place]):
            del waiting[record.aux >> 2]
            begun_ns = accesses[place].time_ns
            accesses[place] = replace(record, time_ns=called[record.vcpu] if record.path == 3 else begun_ns)
        elif record.kind == _APIC_BASE or (
            record.kind == _APIC and (record.path == 1 or 0x800 <= record.address <= 0x8FF)
        ):
            accesses.append(record)
    return accesses


def cut_off(log: list[Record], vmpl: int) -> set[int]:
    """Numbers of the accesses whose answer the end of the log cut off. vmpl: the guest's."""
    found = set()
    for vcpu in {record.vcpu for record in log}:
        own = [record for record in log if record.vcpu == vcpu and record.vmpl >= vmpl]
        begun = max((place for place, record in enumerate(own) if record.kind == _ACCESS), default=None)
        if begun is None or log[-1].time_ns - own[begun].time_ns > _CUT_OFF_NS:
            continue
        access, later = own[begun], own[begun + 1 :]
        steps = [_step(record, access) for record in later if not _passes(record, access)]
        asked = [record for record in later if record.kind in (_SVSM_CALL, _SVSM_RESULT)]
        violated = (
            any(record.kind in (_VC, _RMP_VIOLATION) for record in later[later.index(asked[0]) :]) if asked else False
        )
        if 0 not in steps and steps == sorted(set(steps)) and not violated:
            found.add(access.seq)
    return found


def _passes(record: Record, access: Record) -> bool:
    """Whether a record after an access does not show that the guest went on."""
    if record.kind in (_VC, _RMP_VIOLATION):
        return record.rip == access.rip
    if record.kind == _BYTES:
        return record.address & 0xFFFFFFFF == _VMGEXIT
    return record.kind in (*_NOT_THE_GUESTS, _MODULE) or (record.kind == _END and record.address != _EXIT)


def _step(record: Record, access: Record) -> int:
    """The place of a record in the order of requests for an answer, 0: it is not one."""
    if record.address == _QUERY:
        if record.kind == _SVSM_RESULT:
            return 2
        return int(record.kind == _SVSM_CALL and record.value >> 32 == _APIC_PROTOCOL)
    call = record.kind == _SVSM_CALL and record.address == _REGISTER_CALLS[access.write]
    return 3 if call and record.value == access.address else 0


def _compare_unanswered(accesses: list[Record], log: list[Record], timeline: _Timeline) -> list[str]:
    """An access without an answer is the guest's, unless the end cut it off. A run may go on without records."""
    without = cut_off(log, _guest_vmpl(log, timeline.header["svsm"]))
    return [
        f"access {position}: nobody answered it, but the timeline has {access['served_by']}"
        for position, (record, access) in enumerate(zip(accesses[:_KEPT], timeline.accesses, strict=False))
        if record.kind == _ACCESS
        and access["served_by"] != "guest"
        and not (access["served_by"] == "not observed" and record.seq in without)
    ]


def _compare_account(raw: bytes, log: list[Record], timeline: _Timeline) -> list[str]:
    """What agreed with the hypervisor's own account is this log: it may end with any record if the harness ended it."""
    found = []
    for event in timeline.events:
        if event["kind"] != "agreement" or not event["fields"]:
            continue
        number = event["fields"]["records"]
        seen = {
            "records": len(log[:number]),
            "accesses": sum(record.kind == _ACCESS for record in log[:number]),
            "sha256": hashlib.sha256(raw[: number * _SIZE]).hexdigest(),
        }
        if event["fields"] != seen:
            found.append(f"{seen} in the log, {event['fields']} agreed with the hypervisor's own account")
    return found


def _compare_ends(log: list[Record], timeline: _Timeline) -> list[str]:
    found = []
    if timeline.accesses and (not log or log[0].kind != _START):
        found.append("the log does not begin with START")
    ends = [event for event in timeline.events if event["kind"] in _END_EVENTS]
    if bool(ends) != any(record.kind == _END for record in log):
        found.append(f"events that end the run: {ends}, but the log has another end")
    return found


_END_EVENTS = (
    *("guest-exit", "guest-shutdown", "guest-termination", "private-mmio-end", "host-end"),
    *("guest-reset", "guest-power-off"),
    *("svsm-exit", "svsm-termination"),
)


def _compare_accesses(accesses: list[Record], timeline: _Timeline) -> list[str]:
    kept = timeline.accesses
    if len(accesses) <= _KEPT and len(accesses) != len(kept):
        return [f"{len(accesses)} accesses in the log, {len(kept)} in the timeline", *_first_difference(accesses, kept)]
    condensed = [event["fields"]["accesses"] for event in timeline.events if event["kind"] == "condensed"]
    if len(kept) + sum(condensed) != len(accesses) and not timeline.end["lost"]:
        return [f"{len(accesses)} accesses in the log, {len(kept)} and {condensed} condensed in the timeline"]
    return _first_difference(accesses[:_KEPT], kept[:_KEPT])


def _first_difference(accesses: list[Record], kept: list[dict[str, Any]]) -> list[str]:
    for position, (record, access) in enumerate(zip(accesses, kept, strict=False)):
        wanted = record.names()
        shown = {name: access[name] for name in wanted}
        if "offset" in shown:  # of a byte in a register, or of the register
            shown["offset"] = hex(int(shown["offset"], 16) & 0xFF0)
        if shown != wanted:
            return [f"access {position}: {wanted} in the log, {shown} in the timeline"]
    return []


def _compare_phases(log: list[Record], timeline: _Timeline) -> list[str]:
    """A phase with a time begins at a record."""
    times = {record.time_ns for record in log}
    return [
        f"phase {mark['phase']} begins at {mark['time_ns']} ns, where the log has no record"
        for mark in timeline.phases
        if mark["time_ns"] is not None and mark["time_ns"] not in times
    ]


def _status(result: dict[str, Any]) -> str:
    """The status of a rule, or what it would be with Alternate Injection; "" if neither "holds" nor "violated"."""
    for status in ("holds", "violated"):
        if result["status"] == status or result["reason"].startswith(f"with Alternate Injection {status}"):
            return status
    return ""


def _compare_verdict(
    accesses: list[Record], log: list[Record], timeline: _Timeline, verdict: dict[str, Any]
) -> list[str]:
    after = [mark for mark in timeline.phases if mark["phase"] not in (*_SEC, "UNKNOWN")]
    sec = {position for position, access in enumerate(timeline.accesses) if access["phase"] in _SEC}
    unknown = {position for position, access in enumerate(timeline.accesses) if access["phase"] == "UNKNOWN"}
    changes: dict[int, list[tuple[int, bool]]] = {}
    for record in log:
        if record.kind == _ALTERNATE and record.address == _guest_vmpl(log, timeline.header["svsm"]):
            changes.setdefault(record.vcpu, []).append((record.time_ns, not record.value))
    by_policy = {record.vcpu for record in log if record.kind == _ALTERNATE and record.aux}
    offences = judge(accesses, sec, changes, by_policy)
    found = []
    for result in verdict["rules"]:
        name = result["rule"].replace("-", "_")
        status = _status(result)
        if not hasattr(offences, name) or not status:
            continue
        wanted = getattr(offences, name)
        listed = [access["index"] for access in result["offences"]]
        if listed != wanted[: len(listed)] or len(listed) < min(len(wanted), _LISTED):
            found.append(f"{result['rule']}: accesses {wanted[:20]} break it, not {listed[:20]}")
        if name == "x2apic_before_sec" and status == "holds" and unknown & {*offences.no_access_outside_x2apic}:
            found.append("x2apic-before-sec holds, but code of an unknown phase breaks it")
        if status == "holds" and (wanted or timeline.end["lost"]):
            found.append(f"{result['rule']}: holds, but it does not")
        if name == "x2apic_before_sec" and status == "holds" and not after:
            found.append("x2apic-before-sec holds, but the end of SEC was not seen")
    found += _compare_page(log, after, timeline, verdict)
    if verdict["status"] == "holds" and any(access["served_by"] == "guest" for access in timeline.accesses):
        found.append("the verdict is holds, but the guest answered an access itself")
    if verdict["status"] == "holds" and any(rule["status"] == "violated" for rule in verdict["rules"]):
        found.append("the verdict is better than a rule's")
    return found


def _compare_page(
    log: list[Record], after: list[dict[str, Any]], timeline: _Timeline, verdict: dict[str, Any]
) -> list[str]:
    """Rule sec-apic-page-shared: RMP violations that name the APIC page, until SEC ends."""
    end = min((mark["time_ns"] for mark in after if mark["time_ns"] is not None), default=None)
    vmpl = _guest_vmpl(log, timeline.header["svsm"])
    private = [
        record
        for record in log
        if record.kind == _RMP_VIOLATION
        and record.vmpl >= vmpl
        and (record.address & _ADDRESS) >> 12 == _APIC_PAGE
        and (end is None or record.time_ns < end)
    ]
    if any("events were not kept" in gap for gap in timeline.end["gaps"]):
        return []
    holds = any(rule["rule"] == "sec-apic-page-shared" and _status(rule) == "holds" for rule in verdict["rules"])
    return [f"sec-apic-page-shared holds, but {private[0]} is in the log"] if holds and private else []
