# SPDX-License-Identifier: GPL-2.0-or-later
"""Values as text: numbers as the specifications write them, untrusted strings escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from snp_harness.apic.access import Access, Outcome, Path, Phase, Server
from snp_harness.apic.registers import Register
from snp_harness.apic.verdict import RuleResult

#: Shown for a value that the witness did not see.
NOT_OBSERVED = "not observed"
#: Longest untrusted name, characters.
NAME_MAX = 80
#: Precedes a table's rows, and separates its columns.
INDENT = "  "
GAP = "  "


def escape(text: str, maximum: int | None = None) -> str:
    """Return text that a terminal shows as it is: control, format and unassigned characters become escapes."""
    if maximum is not None and len(text) > maximum:
        text = text[: maximum - 3] + "..."
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def number(value: int | None, width: int = 0) -> str:
    """Return a number as the specifications write it: hexadecimal, capital letters, no prefix."""
    return NOT_OBSERVED if value is None else f"{value:0{width}X}"


def register(register: Register, path: Path) -> str:
    """Return "SVR 0F0" (xAPIC page) or "SVR 80F" (MSR); a reserved register's name has its number already."""
    by_msr = path in (Path.MSR, Path.SVSM) or register.offset is None
    at = register.msr if by_msr else register.offset
    if register.reserved:
        return f"reserved {number(at, 3)}"
    return f"{register.name} {number(at, 2 if at is not None and at < 0x100 and by_msr else 3)}"


def place(access: Access) -> str:
    """Return "SecMain+1A2B", or the part of it that is known."""
    if access.module is None:
        return NOT_OBSERVED
    name = escape(access.module, NAME_MAX)
    return name if access.module_offset is None else f"{name}+{number(access.module_offset)}"


def cpu(access: Access) -> str:
    """Return "0/2": vCPU and VMPL, "?" for one that was not observed."""
    return "/".join("?" if part is None else str(part) for part in (access.vcpu, access.vmpl))


def server(access: Access) -> str:
    """Return the party that served the access, or "refused by" and that party."""
    if access.served_by is Server.NOT_OBSERVED:
        return NOT_OBSERVED
    refused = access.outcome in (Outcome.GP, Outcome.ERROR) and access.served_by is not Server.NOBODY
    return f"refused by {access.served_by.value}" if refused else access.served_by.value


def phase(phase: Phase) -> str:
    """Return the phase's name."""
    return NOT_OBSERVED if phase is Phase.UNKNOWN else phase.name


def mode_of(access: Access) -> str:
    """Return the mode of an access, for a sentence."""
    return "a mode that was not observed" if access.mode is None else f"{access.mode.value} mode"


#: Columns of a list of accesses: heading and how a cell is made.
COLUMNS = (
    ("#", lambda access: str(access.index)),
    ("op", lambda access: access.operation.value),
    ("register", lambda access: register(access.register, access.path)),
    ("value", lambda access: number(access.value)),
    ("pc", lambda access: number(access.pc)),
    ("module", place),
    ("vCPU", lambda access: NOT_OBSERVED if access.vcpu is None else str(access.vcpu)),
    ("VMPL", lambda access: NOT_OBSERVED if access.vmpl is None else str(access.vmpl)),
    ("phase", lambda access: phase(access.phase)),
    ("path", lambda access: NOT_OBSERVED if access.path is Path.UNKNOWN else access.path.value),
    ("mode", lambda access: NOT_OBSERVED if access.mode is None else access.mode.value),
    (
        "outcome",
        lambda access: NOT_OBSERVED if access.outcome is Outcome.NOT_OBSERVED else access.outcome.value,
    ),
    ("served by", server),
)


def access_cells(access: Access) -> list[str]:
    """Return an access as the cells of COLUMNS."""
    return [make(access) for _, make in COLUMNS]


def access_table(accesses: Sequence[Access], width: int | None = None) -> tuple[list[list[str]], list[str]]:
    """Return rows of cells, the first the headings, and the lines that belong below the table.

    Columns without a value in any row are omitted and named below. If the table is wider than `width`, columns with the
    same value in all rows are replaced by a line below, from the right, until it fits.
    """
    table = [[heading for heading, _ in COLUMNS], *map(access_cells, accesses)]
    by_column = list(zip(*table, strict=True))
    unseen = [column[0] for column in by_column if set(column[1:]) == {NOT_OBSERVED}]
    kept = [column for column in by_column if column[0] not in unseen]
    same: list[str] = []
    for column in reversed(kept[1:]):
        if width is None or _width(kept) <= width:
            break
        if len(set(column[1:])) == 1:
            kept.remove(column)
            same.insert(0, f"{column[0]} {column[1]}")
    below = [f"in all rows: {', '.join(same)}"] if same else []
    if unseen:
        below.append(f"not observed: {', '.join(unseen)}")
    return [list(row) for row in zip(*kept, strict=True)], below


def _width(by_column: Sequence[Sequence[str]]) -> int:
    """Width of a table with `INDENT` and `GAP`, in characters."""
    return sum(max(map(len, column)) + len(GAP) for column in by_column) + len(INDENT) - len(GAP)


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows as lines of aligned columns."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        (INDENT + GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in table
    ]


def broken_line(result: RuleResult) -> str:
    """Return a line about a rule that is broken: its first offence, or the reason if that is not an access."""
    access = result.first_offence
    if access is None:
        return f"{result.status.value}: {result.rule}: {escape(result.reason)}"
    what = f"{access.operation.value} of {register(access.register, access.path)}"
    by = "" if access.module is None else f" by {place(access)}"
    return f"{result.status.value}: {result.rule}: {what}{by} in {phase(access.phase)}"


def access_line(access: Access) -> str:
    """Return one access as a line of the timeline."""
    time = "" if access.time_ns is None else f"{access.time_ns / 1e9:.6f}"
    by = server(access)
    where = " ".join(part for part in (phase(access.phase), place(access)) if part != NOT_OBSERVED)
    parts = (
        f"{access.index:>6}",
        f"{time:>12}",
        f"{cpu(access):>5}",
        f"{where:<30}",
        f"{access.operation.value:<5}",
        f"{register(access.register, access.path)} = {number(access.value)}",
        f"({access.path.value}, {access.outcome.value}, {by if by.startswith('refused') else f'served by {by}'})",
    )
    return " ".join(parts)
