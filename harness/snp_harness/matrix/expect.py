# SPDX-License-Identifier: GPL-2.0-or-later
"""What is expected of the cells: `FIRMWARE/CONFIGURATION/PLATFORM/VCPUS=WHAT`, of which the last that fits counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from snp_harness.apic.verdict import Status
from snp_harness.errors import UsageError
from snp_harness.matrix.cell import NOT_RUN, Cell, Outcome, Place
from snp_harness.nearest import known_names

#: Names of statuses on the command line.
STATUSES = {status.value.replace(" ", "-"): status for status in Status}
#: More names: a verdict with exit status 0, any verdict, and a run that an error ended.
OK, ANY, ERROR = "ok", "any", "error"
_OK = frozenset({Status.HOLDS.value, Status.NOT_APPLICABLE.value})
_ANY = frozenset(status.value for status in Status)
_EXAMPLE = "write it as in --expect 'stock/plain=does-not-apply'"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of the cells that a pattern names.

    pattern: of parts of a cell's name; those that are left out fit all. text: as it was written. verdicts: those that
    are expected. rules: the status that each of these has. error: an error is expected, too.
    """

    pattern: tuple[str, ...]
    text: str
    verdicts: frozenset[str]
    rules: tuple[tuple[str, str], ...] = ()
    error: bool = False

    def fits(self, place: Place) -> bool:
        """Return whether it is about this cell."""
        return all(map(fnmatchcase, place.parts, self.pattern))

    def judge(self, cell: Cell) -> Cell:
        """Return the cell with its outcome, and what is not as expected."""
        if (cell.error or cell.verdict == NOT_RUN) and not cell.refused:
            outcome = Outcome.EXPECTED if self.error else Outcome.NO_ANSWER
            return dataclasses.replace(cell, outcome=outcome, missed=())
        # The hypervisor of the configuration refuses: the contract does not apply, whatever was seen until then.
        verdict = Status.NOT_APPLICABLE.value if cell.refused else cell.verdict
        missed = []
        if verdict not in self.verdicts:
            missed.append(f"{cell.reason or verdict}, expected is {self.text}")
        found = dict(cell.rules)
        for rule, status in self.rules:
            if found.get(rule) != status:
                missed.append(f"{rule} is {found.get(rule, 'not judged')}, expected is {status}")
        outcome = Outcome.UNEXPECTED if missed else Outcome.EXPECTED
        if missed and not self.rules and verdict == Status.INCONCLUSIVE.value:
            outcome = Outcome.INCONCLUSIVE
        return dataclasses.replace(cell, outcome=outcome, missed=tuple(missed))


DEFAULT = Expectation((), OK, _OK)


def parse(text: str) -> Expectation:
    """Return the expectation of --expect. Raises UsageError."""
    from snp_harness.platforms.platform import check_rules

    cells, equals, what = text.partition("=")
    pattern = tuple(cells.split("/"))
    if not equals or not all(pattern) or not what or len(pattern) > len(Place.__slots__):
        raise UsageError(f"{text!a} does not say what is expected of which cells", _EXAMPLE)
    verdicts: set[str] = set()
    rules: list[tuple[str, str]] = []
    error = False
    for word in what.split(","):
        rule, colon, status = word.partition(":")
        if colon:
            check_rules([rule])
            rules.append((rule, _status(status, STATUSES, " of a rule").value))
        elif word == ERROR:
            error = True
        elif word in (OK, ANY):
            verdicts |= _OK if word == OK else _ANY
        else:
            verdicts.add(_status(word, (OK, ANY, ERROR, *STATUSES)).value)
    # An expectation about rules alone leaves the verdict open.
    return Expectation(pattern, what, frozenset(verdicts) if verdicts or error else _ANY, tuple(rules), error)


def _status(name: str, known: Iterable[str], of: str = "") -> Status:
    if name not in STATUSES:
        raise UsageError(f"{name!a} cannot be expected{of}", known_names(name, known))
    return STATUSES[name]


def check_used(expectations: Sequence[Expectation], places: Sequence[Place]) -> None:
    """Raise UsageError for an expectation that is about none of the cells: a name in it is wrong."""
    for one in expectations:
        for position, part in enumerate(one.pattern):
            names = list(dict.fromkeys(place.parts[position] for place in places))
            if not any(fnmatchcase(name, part) for name in names):
                raise UsageError(f"--expect: no cell has {part!a}", known_names(part, names))
        if not any(one.fits(place) for place in places):
            raise UsageError(f"--expect: no cell is {'/'.join(one.pattern)!a}", "see --dry-run for the cells")


def expected(place: Place, expectations: Sequence[Expectation]) -> Expectation:
    """Return the last expectation that is about a cell; without one, that the contract holds or does not apply."""
    return next((one for one in reversed(expectations) if one.fits(place)), DEFAULT)
