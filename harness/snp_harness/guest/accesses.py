# SPDX-License-Identifier: GPL-2.0-or-later
"""The live timeline of a guest that is held: what it has done so far, and waiting for what it does next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack, overload

from snp_harness.apic.access import Access, Operation, Outcome, Phase
from snp_harness.apic.registers import Register
from snp_harness.apic.timeline import Event, PhaseMark

if TYPE_CHECKING:
    from snp_harness.capture.collect import Collector
    from snp_harness.guest.keeper import Keeper


class Selection(TypedDict, total=False):
    """Which accesses, by the names that Accesses describes."""

    register: str | Register | None
    phase: Phase | None
    vcpu: int | None
    vmpl: int | None
    operation: Operation | str | None
    outcome: Outcome | None


class Accesses(Sequence[Access]):
    """The accesses of the present boot, in order: a sequence that grows.

    The names of a selection: register: its name, such as "SVR" or "APIC_BASE", or a Register. phase, vcpu, vmpl,
    operation, outcome: as in Access. Each that is None or left out selects all.
    """

    def __init__(self, keeper: Callable[[], Keeper], timeout_s: float) -> None:
        self._keeper = keeper
        self._timeout_s = timeout_s

    @overload
    def __getitem__(self, index: int) -> Access: ...

    @overload
    def __getitem__(self, index: slice) -> list[Access]: ...

    def __getitem__(self, index: int | slice) -> Access | list[Access]:
        return self._collector.accesses[index]

    def __len__(self) -> int:
        return len(self._collector.accesses)

    def __iter__(self) -> Iterator[Access]:
        return iter(self[:])

    @property
    def count(self) -> int:  # type: ignore[override]
        """Return how many accesses were made: also those that repeat others and are only counted."""
        return self._collector.count

    @property
    def phase(self) -> Phase:
        """Return the furthest phase of the boot so far."""
        return self._collector.phase

    @property
    def phases(self) -> list[PhaseMark]:
        """Return the phases so far, and what showed that they began."""
        return list(self._collector.phases)

    def of(self, **selection: Unpack[Selection]) -> list[Access]:
        """Return the selected accesses so far."""
        wanted = _wanted(**selection)
        return [access for access in self if wanted(access)]

    def events(self, kind: str | None = None) -> list[Event]:
        """Return the events so far (docs/json.md lists their kinds). kind: only those."""
        return [event for event in list(self._collector.events) if kind in (None, event.kind)]

    def wait(
        self, *, after: Access | None = None, timeout_s: float | None = None, **selection: Unpack[Selection]
    ) -> Access:
        """Wait for a selected access, and return the first; one that was made already counts.

        after: only later accesses than this one. Raises GuestTimeoutError, and as Guest.wait_for.
        """
        wanted = _wanted(**selection)
        start = 0 if after is None else after.index + 1
        keeper, collector = self._keeper(), self._collector
        name = _name(selection.get("register"))

        def check() -> Access | None:
            nonlocal start
            new = collector.accesses[start:]
            start += len(new)
            return next(filter(wanted, new), None)

        return keeper.wait(check, self._patience(timeout_s), f"an access{f' to {name}' if name else ''}")

    def wait_event(self, kind: str, timeout_s: float | None = None) -> Event:
        """Wait for an event of this kind, and return the first; one that has happened already counts."""
        collector = self._collector

        def check() -> Event | None:
            return next((event for event in list(collector.events) if event.kind == kind), None)

        return self._keeper().wait(check, self._patience(timeout_s), f"an event {kind}")

    def wait_phase(self, phase: Phase, timeout_s: float | None = None) -> PhaseMark:
        """Wait until a phase, or a later one, has begun, and return its mark. PEI has begun when SEC is over."""
        collector = self._collector

        def check() -> PhaseMark | None:
            if phase is Phase.PEI and collector.phase is Phase.PEI and not collector.sec_is_over:
                return None
            return next((mark for mark in list(collector.phases) if mark.phase >= phase), None)

        return self._keeper().wait(check, self._patience(timeout_s), f"the phase {phase.name}")

    @property
    def _collector(self) -> Collector:
        return self._keeper().session.running.collector

    def _patience(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s


def _name(register: str | Register | None) -> str | None:
    return register.name if isinstance(register, Register) else register


def _wanted(
    *,
    register: str | Register | None = None,
    phase: Phase | None = None,
    vcpu: int | None = None,
    vmpl: int | None = None,
    operation: Operation | str | None = None,
    outcome: Outcome | None = None,
) -> Callable[[Access], bool]:
    name = _name(register)
    kind = Operation(operation) if isinstance(operation, str) else operation

    def wanted(access: Access) -> bool:
        return (
            name in (None, access.register.name)
            and phase in (None, access.phase)
            and vcpu in (None, access.vcpu)
            and vmpl in (None, access.vmpl)
            and kind in (None, access.operation)
            and outcome in (None, access.outcome)
        )

    return wanted
