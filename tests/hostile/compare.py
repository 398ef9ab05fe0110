# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest wrote down of its accesses against what the harness saw: none missing, none invented, in order."""

from __future__ import annotations

import json
from itertools import dropwhile, zip_longest

from snp_harness.apic.access import Access, Operation, Outcome, Path
from snp_harness.apic.apic_base import ApicMode
from tests.hostile.run import HostileRun, Written

_PATHS = {1: Path.MMIO, 2: Path.MSR, 3: Path.SVSM}
#: APIC_BASE bits 11:10.
_MODES = (ApicMode.DISABLED, ApicMode.INVALID, ApicMode.XAPIC, ApicMode.X2APIC)
_BY_GUEST, _PERHAPS, _DIRECT = 1, 3, 4
#: guest/hostile.h, WRITE_OR_READ.
_EITHER = 2
_PAGE = 0xFFF
#: So many accesses are in a timeline one by one (docs/log.md).
KEPT = 20_000


def differences(run: HostileRun) -> list[str]:
    """The first difference of each vCPU, a few lines each; empty: there is none."""
    found = []
    accesses = run.result.timeline.accesses[:KEPT]
    environment = json.loads((run.result.directory / "environment.json").read_text(encoding="utf-8"))
    after_goal = environment["after_goal"]["accesses"]
    for vcpu, written in enumerate(run.written):
        strays = {(entry.pc, entry.number & _PAGE) for entry in written if entry.answer == _PERHAPS}
        written = [entry for entry in written if entry.answer != _PERHAPS]
        seen = [access for access in accesses if access.vcpu == vcpu and (access.pc, access.number) not in strays]
        if vcpu == 0:
            seen = _without_start(seen, {entry.pc for entry in written})
        if len(run.result.timeline.accesses) > KEPT:
            written = written[: len(seen)]
        if run.result.timeline.complete and len(seen) == len(written) + 1:
            seen.pop()  # the harness ended the run at this access, before the guest wrote it down
        if 0 < len(written) - len(seen) <= after_goal:
            # In the log behind the end of the run, and so not in the timeline.
            after_goal -= len(written) - len(seen)
            written = written[: len(seen)]
        earlier: set[int] = {pc for pc, _ in strays}
        for position, (entry, access) in enumerate(zip_longest(written, seen)):
            what = _difference(entry, access, earlier)
            earlier.update({entry.pc} if entry else ())
            if what:
                found.append(f"vCPU {vcpu}, access {position} of {len(written)}, {what}:\n  {entry}\n  {access}")
                break
    return found


def _without_start(accesses: list[Access], pcs: set[int]) -> list[Access]:
    """Without those before the first of the guest's own: the library of guests starts other vCPUs by an IPI."""
    return list(dropwhile(lambda access: access.pc not in pcs, accesses))


def _difference(entry: Written | None, access: Access | None, earlier: set[int]) -> str:
    """What differs; "" if nothing does. earlier: pcs of the accesses before."""
    if entry is None:
        return "invented"
    if access is None:
        return "missing"
    number = access.number if access.path is not Path.MMIO else access.register.offset
    wanted = entry.number & _PAGE if entry.path == 1 else entry.number
    same = {
        "path": access.path is _PATHS[entry.path],
        "direction": entry.write == _EITHER or (access.operation is Operation.WRITE) == bool(entry.write),
        "register": number is not None and number in (wanted, wanted & ~3),
        # The handler of the last #VC may still run at the request, as far as its stack shows.
        "pc": access.pc == entry.pc or (entry.answer == _DIRECT and access.pc in earlier),
        "mode": access.mode is _MODES[entry.mode],
    }
    if entry.answer != _BY_GUEST:
        same["size"] = access.size == entry.size
        same["outcome"] = _outcome_fits(entry, access)
        same["value"] = not entry.exact or (entry.refused and not entry.write) or access.value == entry.value
    return ", ".join(name for name, equal in same.items() if not equal)


def _outcome_fits(entry: Written, access: Access) -> bool:
    if entry.path == 1:
        return access.outcome is (Outcome.OK if entry.mode == 2 else Outcome.NOT_CLAIMED)
    if not entry.refused:
        return access.outcome is Outcome.OK
    return access.outcome is (Outcome.GP if entry.path == 2 else Outcome.ERROR)
