# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as text: coloured on a terminal, plain elsewhere, with the same words."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from snp_harness.apic.access import Access
from snp_harness.apic.contract import counts
from snp_harness.apic.event_kinds import AGREEMENT, END_KINDS, SVSM_ACTIVITY, SVSM_ERROR, SVSM_PANIC, SVSM_STAGE
from snp_harness.apic.rules import injection
from snp_harness.apic.rules.injection import without_protocol
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult, Status, Verdict
from snp_harness.report.model import Report
from snp_harness.report.text import INDENT, access_table, columns, escape, phase, place

#: Offences shown for a rule; the others are counted.
OFFENCES_SHOWN = 20
#: Events shown for a rule.
EVENTS_SHOWN = 5
#: Rows of each table of a profile; profile.json has all.
PROFILE_SHOWN = 25
#: Columns of a failed test's report.
FAILURE_WIDTH = 100

_STYLES = {
    Status.HOLDS: "bold green",
    Status.VIOLATED: "bold red",
    Status.INCONCLUSIVE: "bold yellow",
    Status.NOT_APPLICABLE: "bold cyan",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A titled part of the report.

    rows: cells of a table, the first row the headings if `headed`. after: lines below it. coloured: statuses in colour.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    after: tuple[str, ...] = ()
    headed: bool = False
    coloured: bool = False


def render(report: Report) -> str:
    """Return the report as plain text, with a newline at its end."""
    lines = [escape(report.headline)]
    for block in blocks(report, width=None):
        lines += ["", block.title, *columns(block.rows), *(INDENT + line for line in block.after)]
    if report.profile is not None:
        lines += report.profile.lines(PROFILE_SHOWN)
    return "\n".join(lines) + "\n"


def render_failure(report: Report) -> str:
    """Return what a failed test shows: the verdict, offences, the rules that do not hold, and the run directory.

    Offences that another rule has shown are left out.
    """
    results = report.verdict.results
    lines = [escape(report.headline)]
    shown: set[int] = set()
    sources: set[str] = set()
    for result in results:
        numbers = {access.index for access in result.offences}
        if result.events or not numbers <= shown:
            shown |= numbers
            block = _offences(report, result, FAILURE_WIDTH, sources)
            lines += [block.title, *columns(block.rows), *(INDENT + line for line in block.after)]
    rows = [_rule(report.verdict, result) for result in results if result.status is not Status.HOLDS]
    lines += ["Rules", *columns(rows)] if rows else []
    if report.run.error is not None:
        lines.append(f"error: {escape(report.run.error)}")
    if report.run.directory is not None:
        lines.append(f"artefacts: {escape(str(report.run.directory))}")
    return "\n".join(lines)


def load(stream: TextIO) -> None:
    """Import what `print_report` to this stream needs, before the end of a run."""
    if stream.isatty():
        import rich.console
        import rich.text  # noqa: F401


def print_report(report: Report, stream: TextIO) -> None:
    """Write the report to a stream, in colour if it is a terminal."""
    if stream.isatty():
        _print_rich(report, stream)
    else:
        write(stream, render(report))


def print_headline(report: Report, stream: TextIO) -> None:
    """Write the verdict alone."""
    write(stream, f"{escape(report.headline)}\n")


def blocks(report: Report, width: int | None) -> Iterator[Block]:
    """Yield the parts below the headline, of which the last two are about the run.

    width: of the terminal, None if lines may be of any length.
    """
    sources: set[str] = set()
    for result in report.verdict.results:
        if result.offences or result.events:
            yield _offences(report, result, width, sources)
    yield Block("Rules", tuple(_rule(report.verdict, result) for result in report.verdict.results), coloured=True)
    yield Block("Observed", tuple(observed(report)))
    yield Block("Run", tuple(run_facts(report)))


def _offences(report: Report, result: RuleResult, width: int | None, sources: set[str]) -> Block:
    """The offences against a rule. sources: the lines about the source that were printed; those here are added."""
    rows, after = access_table(result.offences[:OFFENCES_SHOWN], width) if result.offences else ([], [])
    found = [line for line in _source_lines(report, result.offences[:OFFENCES_SHOWN]) if line not in sources]
    sources.update(found)
    after += found
    after += [f"event {escape(event.kind, 40)}: {escape(event.text, 200)}" for event in result.events[:EVENTS_SHOWN]]
    more = len(result.offences) - OFFENCES_SHOWN
    if more > 0:
        after.append(f"... and {more} more; timeline.jsonl has all {len(result.offences)}")
    if len(result.events) > EVENTS_SHOWN:
        after.append(f"... and {len(result.events) - EVENTS_SHOWN} more events; timeline.jsonl has them")
    broken = result.status is Status.VIOLATED
    title = f"Offences against {result.rule}" if broken else f"What would break {result.rule}"
    return Block(title, tuple(map(tuple, rows)), tuple(after), headed=True)


def rule_status(verdict: Verdict, result: RuleResult) -> str:
    """Return a rule's status in words: "not observed" for a rule that takes no part because it cannot be seen."""
    if result.status is Status.INCONCLUSIVE and not counts(result, verdict.chosen):
        return "not observed"
    return result.status.value


def _source_lines(report: Report, accesses: Sequence[Access]) -> list[str]:
    """The source of the accesses' instructions: a line for each instruction."""
    known = {place(access): found for access in accesses if (found := report.source(access)) is not None}
    return [f"source {name}: {escape(str(found), 200)}" for name, found in known.items()]


def _rule(verdict: Verdict, result: RuleResult) -> tuple[str, str, str]:
    return result.rule, rule_status(verdict, result), escape(result.reason)


def _protocol(timeline: Timeline) -> str:
    """Return whether the SVSM offers the APIC protocol, by its answers to the guest."""
    answers = [offered for _, offered in injection.answers(timeline)]
    if not answers:
        return "not observed" if "svsm-calls" in timeline.not_observed else "not requested"
    lacking = without_protocol(timeline)
    where = f", not on vCPU {', '.join(map(str, sorted(lacking)))}" if lacking else ""
    return f"offered{where}" if any(answers) else "not offered"


def observed(report: Report) -> Iterator[tuple[str, str]]:
    """Yield names and values of what was observed, and how."""
    timeline = report.timeline
    yield "platform", f"{escape(timeline.platform)} ({escape(report.verdict.observed)})"
    yield "witness", escape(timeline.witness)
    for event in timeline.events:
        if event.kind == AGREEMENT:
            yield "agree", escape(event.text, 200)
    svsm = "SVSM present" if timeline.svsm_seen else "SVSM configured, not observed" if timeline.svsm else "no SVSM"
    protocol = f", APIC protocol {_protocol(timeline)}" if timeline.apic_protocol else ""
    yield "guest", f"{svsm}, Alternate Injection {injection.state(timeline)}{protocol}"
    if timeline.faults:
        yield "faults", f"injected: {escape(', '.join(timeline.faults))}"
    yield "reached", f"{phase(timeline.reached)}, {len(timeline.accesses)} local-APIC and APIC_BASE accesses"
    for mark in timeline.phases:
        yield "phase", f"{phase(mark.phase)} {mark.known.value}: {escape(mark.evidence, 200)}"
    for event in timeline.events:
        if event.kind in (SVSM_STAGE, SVSM_ACTIVITY):
            yield "SVSM", escape(event.text.removeprefix("SVSM: "), 200)
        elif event.kind == SVSM_ERROR:
            yield "SVSM", f"printed: {escape(event.text, 200)}"
        elif event.kind == SVSM_PANIC:
            yield "panic", escape(event.text, 200)
            yield from (("at", escape(str(frame), 200)) for frame in event.fields.values())
    for defect in timeline.defects:
        yield "not read", f"a part of the image: {escape(defect, 200)}"
    for gap in timeline.gaps:
        yield "not seen", escape(gap, 200)
    if timeline.lost:
        yield "lost", f"{timeline.lost} records of the log"
    if timeline.not_observed:
        yield "cannot see", escape(", ".join(sorted(timeline.not_observed)))
    ends = [event for event in timeline.events if event.kind in END_KINDS]
    if ends:
        yield "ended by", f"{escape(ends[-1].kind, 40)}: {escape(ends[-1].text, 200)}"


def run_facts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield names and values of how the run was made."""
    run = report.run
    for name, value in (("firmware", run.firmware), ("configuration", run.configuration), ("QEMU", run.qemu)):
        if value is not None:
            yield name, escape(value)
    if report.timeline.launch_digest is not None:
        yield "launch digest", escape(report.timeline.launch_digest)
    if run.elapsed_s is not None:
        yield "time", f"{run.elapsed_s:.1f} s"
    if run.error is not None:
        yield "error", escape(run.error)
    for note in report.notes:
        yield "note", escape(note)
    if run.directory is not None:
        yield "artefacts", escape(str(run.directory))
    if run.rerun:
        yield "again", escape(shlex.join(run.rerun))


def write(stream: TextIO, text: str) -> None:
    """Write text to a stream; characters that its encoding lacks are escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _print_rich(report: Report, stream: TextIO) -> None:
    # Imported here: a run whose output goes to a pipe does not need it.
    from rich.console import Console
    from rich.text import Text

    # Rich would use the terminal of stdin, stdout or stderr, which may be another one.
    width = os.get_terminal_size(stream.fileno()).columns or None
    console = Console(file=stream, highlight=False, width=width)

    def show(line: Text) -> None:
        console.print(line, soft_wrap=True)  # long paths are not broken, so that they can be copied

    show(Text(escape(report.headline), style=_STYLES[report.verdict.status]))
    for block in blocks(report, console.width):
        show(Text())
        show(Text(block.title, style="bold"))
        for position, row in enumerate(columns(block.rows)):
            line = Text(row, style="bold" if block.headed and position == 0 else "")
            if block.coloured:
                for status, style in _STYLES.items():
                    line.highlight_regex(rf"(?<=  ){status.value}\b", style)
            show(line)
        for text in block.after:
            show(Text(INDENT + text, style="dim"))
    for text in report.profile.lines(PROFILE_SHOWN) if report.profile is not None else ():
        show(Text(text))
