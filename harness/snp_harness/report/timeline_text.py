# SPDX-License-Identifier: GPL-2.0-or-later
"""The timeline as lines of text, in columns with headings: all that is known of an access, or what 80 columns hold."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from snp_harness.apic.access import Access, Outcome, Path, Server
from snp_harness.apic.selection import Entry, Repeated
from snp_harness.apic.timeline import PhaseMark
from snp_harness.report.text import NOT_OBSERVED, cpu, escape, number, phase, place, register, server

#: Columns of a terminal that has the narrow form only.
NARROW = 80
#: From here on a line has everything.
WIDE = 128
_TEXT_MAX = 200
_SHORT_SERVERS = {Server.HYPERVISOR: "hv", Server.NOT_OBSERVED: "?"}
_SHORT_OUTCOMES = {Outcome.NOT_CLAIMED: "none", Outcome.NOT_OBSERVED: "?"}


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    width: int
    cell: Callable[[Access], str]
    right: bool = False

    def text(self, text: str) -> str:
        return text.rjust(self.width) if self.right else text.ljust(self.width)


def _known(text: str) -> str:
    return "?" if text == NOT_OBSERVED else text


def _seconds(time_ns: int | None) -> str:
    return "?" if time_ns is None else f"{time_ns / 1e9:.6f}"


_FULL = (
    _Column("#", 6, lambda access: str(access.index), right=True),
    _Column("time/s", 11, lambda access: _seconds(access.time_ns), right=True),
    _Column("vCPU/VMPL", 9, cpu),
    _Column("phase", 5, lambda access: _known(phase(access.phase))),
    _Column("module", 26, lambda access: _known(place(access))),
    _Column("op", 5, lambda access: access.operation.value),
    _Column("register", 27, lambda access: register(access.register, access.path)),
    _Column("value", 8, lambda access: _known(number(access.value))),
    _Column("path", 4, lambda access: "?" if access.path is Path.UNKNOWN else access.path.value),
    _Column("outcome", 7, lambda access: _known(access.outcome.value)),
    _Column("served by", 0, lambda access: _known(server(access))),
)


def lines(entries: Iterable[Entry], width: int, *, headings: bool = True) -> Iterator[str]:
    """Yield the entries as lines. width: of the terminal, in columns; from WIDE on no line is cut."""
    show = _full if width >= WIDE else _narrow
    if headings:
        if width >= WIDE:
            yield " ".join(column.text(column.heading) for column in _FULL).rstrip()
        else:
            yield f"{'time/s':>10} {'cpu':<5} {'module':<19} op register            value    path, by"
    for entry in entries:
        yield from [show(entry)] if isinstance(entry, Access) else _other(entry, width)


def _full(access: Access) -> str:
    return " ".join(column.text(column.cell(access)) for column in _FULL).rstrip()


def _narrow(access: Access) -> str:
    """An access in 80 columns: the module's name is shortened."""
    name = escape(access.register.name, 19)
    right = f"{access.operation.value[0]:<2} {name:<19} {_known(number(access.value)):<8} {_short_path(access)}"
    left = f"{_seconds(access.time_ns):>10} {cpu(access):<5} "
    room = max(8, min(19, NARROW - len(left) - 1 - len(right)))
    where = _known(place(access))
    if len(where) > room:
        where = f"{where[: room // 2 - 1]}..{where[len(where) - room + room // 2 + 1 :]}"
    return f"{left}{where:<{room}} {right}"


def _short_path(access: Access) -> str:
    path = "?" if access.path is Path.UNKNOWN else access.path.value
    if access.outcome is not Outcome.OK:
        return f"{path} {_SHORT_OUTCOMES.get(access.outcome, access.outcome.value)}"
    if access.path is Path.SVSM and access.served_by is Server.SVSM:
        return path
    return f"{path} {_SHORT_SERVERS.get(access.served_by, access.served_by.value)}"


def _other(entry: Entry, width: int) -> Iterator[str]:
    """A phase, an event, or repeated accesses."""
    if isinstance(entry, Repeated):
        what = "the same again" if entry.group == 1 else f"these {entry.group} again"
        times = "once" if entry.times == 1 else f"{entry.times} times"
        text, time = f"... {what} {times}, until {_seconds(entry.last.time_ns)}", ""
    elif isinstance(entry, PhaseMark):
        text = f"-- {phase(entry.phase)}, {entry.known.value}: {escape(entry.evidence, _TEXT_MAX)}"
        time = "" if entry.time_ns is None else _seconds(entry.time_ns)
    else:
        assert not isinstance(entry, Access)
        text = f"-- {escape(entry.kind, 40)}: {escape(entry.text, _TEXT_MAX)}"
        time = "" if entry.time_ns is None else _seconds(entry.time_ns)
    lead = f"{'':6} {time:>11} " if width >= WIDE else f"{time:>10} "
    wrapped = [text] if width >= WIDE else textwrap.wrap(text, NARROW - len(lead), subsequent_indent="   ")
    yield f"{lead}{wrapped[0]}"
    yield from (f"{'':{len(lead)}}{line}" for line in wrapped[1:])
