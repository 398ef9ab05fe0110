# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness timeline`: print the timeline of a recorded run, or of one that goes on."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from snp_harness.cli.arguments import add_symbols_option, count, did_you_mean, path_argument
from snp_harness.errors import EXIT_HOLDS, UsageError

if TYPE_CHECKING:
    from snp_harness.apic.selection import Entry, Selection
    from snp_harness.apic.timeline import Timeline
    from snp_harness.cli.arguments import Commands

#: Seconds between two looks at a run that goes on.
POLL_S = 0.25
_PHASES = ("reset", "sec", "pei", "dxe", "bds", "os")
_PATHS = ("mmio", "msr", "svsm")
_SERVERS = ("hypervisor", "svsm", "guest", "nobody")


def add_parser(commands: Commands) -> None:
    """Add `timeline` to the command line."""
    parser = commands.add_parser("timeline", allow_abbrev=False)
    parser.add_argument("directory", metavar="DIR", type=path_argument, help="a run directory, or its timeline.jsonl")
    parser.add_argument(
        "--phase", metavar="P,..", type=_choice(_PHASES), help="accesses of these phases: sec, dxe, ..."
    )
    parser.add_argument("--vcpu", metavar="N,..", type=_numbers, help="accesses of these vCPUs")
    parser.add_argument(
        "--register", metavar="R,..", type=_names, help="to these registers: a name or its begin, or a number: svr, 320"
    )
    parser.add_argument("--path", metavar="P,..", type=_choice(_PATHS), help="by these paths: mmio, msr, svsm")
    parser.add_argument(
        "--served-by", metavar="S,..", type=_choice(_SERVERS), help=f"that these answered: {', '.join(_SERVERS)}"
    )
    parser.add_argument(
        "--since", metavar="T", type=_since, help="from this time (seconds), phase, or access on: 1.5, pei, #120"
    )
    parser.add_argument(
        "--all", action="store_true", help="print accesses that repeat others, such as timer ticks, too"
    )
    parser.add_argument("--follow", action="store_true", help="print what a run does until it ends; emulated and tcg")
    parser.add_argument(
        "--vmpl",
        metavar="N",
        type=int,
        choices=range(4),
        help="print what this VMPL did, the SVSM's 0 for one, from the raw log of a run on emulated",
    )
    add_symbols_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON Lines, as recorded")


def execute(options: argparse.Namespace) -> int:
    """Print the timeline and return the exit status. Raises UsageError."""
    if options.vmpl is not None:
        return _print_steps(options)
    if options.svsm_symbols:
        raise UsageError("--svsm-symbols names what --vmpl prints", "add --vmpl 0")
    selection = _selection(options)
    if options.follow:
        return _follow(options, selection)
    from snp_harness.apic.selection import Selection
    from snp_harness.recorded import load_timeline

    timeline = load_timeline(options.directory)
    if options.json and selection == Selection():
        sys.stdout.writelines(timeline.lines())
        return EXIT_HOLDS
    entries = selection.entries(timeline)
    if not options.json and timeline.faults:
        from snp_harness.report.text import escape

        print(f"-- faults injected: {escape(', '.join(timeline.faults), 200)}")
    _print(entries, options, headings=True)
    if not options.json:
        _print_gaps(timeline)
    return EXIT_HOLDS


def _follow(options: argparse.Namespace, selection: Selection) -> int:
    """Print what is new each time, until the run ends."""
    from snp_harness.apic.access import Access, Outcome
    from snp_harness.recorded import follow_timeline

    printed: set[object] = set()
    timeline = None
    for timeline in follow_timeline(options.directory, lambda: time.sleep(POLL_S)):
        entries = selection.entries(timeline)
        if not timeline.complete:
            # Their answer may follow.
            while entries and isinstance(last := entries[-1], Access) and last.outcome is Outcome.NOT_OBSERVED:
                entries.pop()
        # An event can be added before what was printed.
        new = [entry for entry in entries if _identity(entry) not in printed]
        _print(new, options, headings=not printed)
        sys.stdout.flush()
        printed.update(map(_identity, new))
    if timeline is not None and not options.json:
        _print_gaps(timeline)
    return EXIT_HOLDS


def _identity(entry: Entry) -> object:
    """Return what stays the same of an entry while the run goes on."""
    from snp_harness.apic.access import Access
    from snp_harness.apic.timeline import Event, PhaseMark

    if isinstance(entry, Event):
        return entry.kind, entry.time_ns, entry.vcpu, entry.text
    return entry.index if isinstance(entry, Access) else entry.phase.name if isinstance(entry, PhaseMark) else entry


def _print(entries: list[Entry], options: argparse.Namespace, *, headings: bool) -> None:
    if options.json:
        sys.stdout.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in _json(entries))
        return
    from snp_harness.apic.selection import fold
    from snp_harness.report.timeline_text import lines

    shown: Iterable[Entry] = entries if options.all else fold(entries)
    for line in lines(shown, _width(), headings=headings and bool(entries)):
        print(line)


def _print_gaps(timeline: Timeline) -> None:
    from snp_harness.report.text import escape

    for gap in timeline.gaps:
        print(f"-- not seen whole: {escape(gap, 200)}")


def _json(entries: list[Entry]) -> Iterator[dict[str, Any]]:
    from snp_harness.apic.access import Access
    from snp_harness.apic.selection import Repeated
    from snp_harness.apic.timeline import PhaseMark

    for entry in entries:
        if not isinstance(entry, Repeated):
            kind = "access" if isinstance(entry, Access) else "phase" if isinstance(entry, PhaseMark) else "event"
            yield {kind: entry.to_json()}


def _width() -> int:
    """Return the columns of the terminal, or those of COLUMNS; else everything is printed."""
    from snp_harness.report.timeline_text import WIDE

    if sys.stdout.isatty():
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDE
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and len(columns) < 6 else WIDE


def _selection(options: argparse.Namespace) -> Selection:
    from snp_harness.apic.access import Path, Phase, Server
    from snp_harness.apic.registers import REGISTERS, Register
    from snp_harness.apic.selection import Selection, registers_named
    from snp_harness.nearest import nearest

    registers: set[Register] = set()
    for name in options.register or ():
        found = registers_named(name)
        if not found:
            near = nearest(name, [register.name for register in REGISTERS])
            mean = f"did you mean {near}? " if near else ""
            raise UsageError(
                f"no register is named {name!a}", f"{mean}name one as a report does: SVR, timer lvt, 320, 80f"
            )
        registers |= found
    since = options.since
    return Selection(
        phases=frozenset(Phase[name.upper()] for name in options.phase or ()),
        vcpus=frozenset(options.vcpu or ()),
        registers=frozenset(registers),
        paths=frozenset(map(Path, options.path or ())),
        servers=frozenset(map(Server, options.served_by or ())),
        since_ns=round(since * 1e9) if isinstance(since, float) else None,
        since_index=since if isinstance(since, int) else 0,
        since_phase=Phase[since.upper()] if isinstance(since, str) else None,
    )


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!a} has an empty name")
    return names


def _choice(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = [name.lower() for name in _names(text)]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"{name!a} is not one of {', '.join(known)}{did_you_mean(name, known)}"
                )
        return names

    return parse


def _numbers(text: str) -> list[int]:
    return [count(name) for name in _names(text)]


def _since(text: str) -> float | int | str:
    if text.lower() in _PHASES:
        return text.lower()
    if re.fullmatch(r"#[0-9]{1,9}", text):
        return int(text[1:])
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    raise argparse.ArgumentTypeError(f"{text!a} is not a number of seconds, a phase, or # and a number")


def _print_steps(options: argparse.Namespace) -> int:
    from snp_harness.platforms.kept_run import steps_of
    from snp_harness.svsm.symbols import SvsmSymbols

    symbols = SvsmSymbols.open(*options.svsm_symbols)
    steps, base = steps_of(options.directory, options.vmpl)

    def name(pc: int) -> str | None:
        return symbols.name(pc - base)

    for step in steps:
        print(json.dumps(step.to_json(name)) if options.json else step.line(name))
    return EXIT_HOLDS
