# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as a page: one file that a browser opens without a network."""

from __future__ import annotations

from collections.abc import Iterator

from snp_harness.apic.access import Access
from snp_harness.apic.contract import RULES, explained
from snp_harness.apic.timeline import PhaseMark
from snp_harness.apic.verdict import RuleResult, Status
from snp_harness.report.html.chart_data import pack
from snp_harness.report.html.consoles import ConsoleText, Line, read_consoles
from snp_harness.report.html.elements import STATUS_CLASS, asset, badge, data_block, page, pairs, section, table, text
from snp_harness.report.model import Report, deciding_result
from snp_harness.report.terminal import OFFENCES_SHOWN, observed, rule_status, run_facts
from snp_harness.report.text import COLUMNS, access_cells, mode_of, number, phase, place, register, server

__all__ = ["render"]


def render(report: Report) -> str:
    """Return the report as one HTML file."""
    parts = [
        _verdict(report),
        "<main>\n",
        _first_offence(report),
        _timeline(),
        _rules(report),
        *map(_console, consoles := read_consoles(report.run.directory)),
        _facts("observed", "Observed", observed(report)),
        _facts("run", "Run", run_facts(report)),
        "</main>\n",
        data_block("data", pack(report, consoles)),
    ]
    body = _navigation(consoles) + "".join(parts)
    title = f"{report.verdict.status.value}: snp-harness"
    scripts = (asset("uPlot.iife.min.js"), asset("report.js"))
    return page(title, body, scripts, (asset("uPlot.min.css"), asset("report.css")))


def _navigation(consoles: list[ConsoleText]) -> str:
    links = [("verdict", "Verdict"), ("timeline", "Timeline"), ("rules", "Rules")]
    links += [(console.name, console.title) for console in consoles]
    links += [("observed", "Observed"), ("run", "Run")]
    items = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in links)
    return f'<nav aria-label="Parts of the report"><ul>{items}</ul></nav>\n'


def _verdict(report: Report) -> str:
    verdict = report.verdict
    status = badge(STATUS_CLASS[verdict.status], verdict.status.value)
    error = "" if report.run.error is None else f'<p class="error">The run broke: {text(report.run.error)}</p>'
    return (
        f'<header id="verdict" class="{STATUS_CLASS[verdict.status]}"><p>{status} {text(verdict.observed)}</p>'
        f"<h1>{text(report.reason)}</h1><p>{text(report.run.firmware or '')}</p>{error}</header>\n"
    )


def _first_offence(report: Report) -> str:
    """The first offence against the deciding rule, or where there is none an empty part."""
    result = deciding_result(report.verdict)
    if result is None or not result.offences:
        result = next((result for result in report.verdict.results if result.offences), None)
    if result is None or (first := result.first_offence) is None:
        return ""
    broken = result.status is Status.VIOLATED
    heading = "The first offence" if broken else "What would be the first offence"
    return section("offence", heading, pairs(_explained(report, result, first)))


def _explained(report: Report, result: RuleResult, access: Access) -> Iterator[tuple[str, str]]:
    statement, specification = _stated(result.rule)
    yield "rule", f'<a href="#rule-{text(result.rule)}">{text(result.rule)}</a>: {text(statement)}'
    if specification:
        yield "specification", text(specification)
    what = f"{access.operation.value} of {register(access.register, access.path)}, value {number(access.value)}"
    yield (
        "access",
        f'<a class="access" href="#a{access.index}">{access.index}</a>: {text(what)}, by {text(access.path.value)},'
        f" in {text(mode_of(access))}; {text(access.outcome.value)}, {text(server(access))}",
    )
    yield "instruction", f"{text(place(access))}, pc {text(number(access.pc))}"
    found = report.place(access)
    frames = [] if found is None else found.frames
    if not frames:
        yield "source line", "not known: the firmware's debug files were not found"
    for level, frame in enumerate(reversed(frames)):
        name = "function" if level == 0 else "inlined"
        yield name, f"<code>{text(frame.function)}</code> at <code>{text(f'{frame.file}:{frame.line}')}</code>"
    yield "vCPU and VMPL", text("/".join("not observed" if n is None else str(n) for n in (access.vcpu, access.vmpl)))
    mark = _mark(report, access)
    how = "" if mark is None else f", {mark.known.value}: {mark.evidence}"
    yield "phase", text(f"{phase(access.phase)}{how}")


def _mark(report: Report, access: Access) -> PhaseMark | None:
    """How the phase of an access is known to have begun."""
    return next((mark for mark in report.timeline.phases if mark.phase is access.phase), None)


def _stated(name: str) -> tuple[str, str]:
    """What a rule asserts, in a sentence, and its specification; both are empty for a rule of another version."""
    rule = next((rule for rule in RULES if rule.name == name), None)
    return ("", "") if rule is None else (explained(rule).partition("\n\n")[0], rule.specification)


def _timeline() -> str:
    """What the script fills: without scripts the files of the run directory have the timeline."""
    buttons = "".join(
        f'<button type="button" data-do="{action}" title="{title} ({key})">{label}</button>'
        for action, label, title, key in (
            ("in", "+", "zoom in", "+"),
            ("out", "-", "zoom out", "-"),
            ("left", "&larr;", "earlier", "Left"),
            ("right", "&rarr;", "later", "Right"),
            ("all", "All", "the whole run", "0"),
            ("order", "By order", "equal distances instead of time", "o"),
        )
    )
    content = (
        "<noscript><p>The timeline needs scripts; <code>snp-harness timeline DIR</code> prints it.</p></noscript>\n"
        f'<div id="tools" hidden><div role="group" aria-label="Zoom">{buttons}</div>'
        '<div role="group" aria-label="Filter">'
        '<label>Phase <select id="phase"><option value="">all</option></select></label> '
        '<label>vCPU <select id="vcpu"><option value="">all</option></select></label> '
        '<label>Text <input id="find" type="search" placeholder="register, module, value"></label> '
        '<label id="lines" hidden><input type="checkbox" checked>Console lines</label></div>'
        '<fieldset id="paths"><legend>Paths</legend></fieldset></div>\n'
        '<div id="chart" tabindex="0" role="group" aria-label="Accesses by vCPU and path over time. Keys: plus and'
        ' minus zoom, the arrows move, 0 shows the whole run. The table below has the same accesses."></div>\n'
        '<div id="tip" role="tooltip" hidden></div><p id="said" role="status"></p>\n'
        '<div id="log" class="scroll" tabindex="0" role="region" aria-label="Accesses, phases and events"></div>'
    )
    return section("timeline", "Timeline", content)


def _rules(report: Report) -> str:
    rows = []
    details = []
    for result in report.verdict.results:
        count = len(result.offences) + len(result.events)
        rows.append(
            (
                text(result.rule),
                badge(STATUS_CLASS[result.status], rule_status(report.verdict, result)),
                text(result.reason),
                f'<a href="#rule-{text(result.rule)}">{count}</a>' if count else "0",
            )
        )
        details.append(_rule_details(report, result))
    results = table(("rule", "result", "reason", "offences"), rows, "Results of the rules")
    return section("rules", "Rules", results + "".join(details))


def _rule_details(report: Report, result: RuleResult) -> str:
    """A rule's statement, and the accesses and events that break it."""
    statement, specification = _stated(result.rule)
    parts = [f"<p>{text(statement)}</p>"]
    if specification:
        parts.append(f"<p>Specification: {text(specification)}</p>")
    if result.offences:
        rows = []
        for access in result.offences[:OFFENCES_SHOWN]:
            index, *cells = map(text, access_cells(access))
            source = report.source(access)
            rows.append((f'<a class="access" href="#a{index}">{index}</a>', *cells, text(source or "")))
        headings = (*(heading for heading, _ in COLUMNS), "source")
        parts.append(table(headings, rows, f"Accesses against {result.rule}"))
    more = len(result.offences) - OFFENCES_SHOWN
    if more > 0:
        parts.append(f"<p>{more} more are in the timeline.</p>")
    parts += [f"<p>{text(event.kind, 40)}: {text(event.text, 200)}</p>" for event in result.events[:OFFENCES_SHOWN]]
    opened = " open" if result.status is Status.VIOLATED else ""
    return (
        f'<details id="rule-{text(result.rule)}"{opened}><summary>{text(result.rule)}</summary>'
        f"{''.join(parts)}</details>\n"
    )


def _console(console: ConsoleText) -> str:
    name = console.name
    lines = "".join(
        f'<li id="{name}-{line.number}" class="{line.severity.value}"><a href="#{name}-{line.number}">{line.number}</a>'
        f"{_when(line)}<code>{text(line.text)}</code></li>\n"
        for line in console.lines
    )
    content = (
        f'<div class="find" hidden><label>Search <input type="search" data-console="{name}"></label> '
        f'<label>Lines <select data-console="{name}"><option value="">all</option>'
        '<option value="warning">warnings and errors</option><option value="error">errors</option></select></label>'
        f'<span role="status"></span></div>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Lines: {console.title}"><ol class="console">'
        f"{lines}</ol></div>"
    )
    return section(name, console.title, content)


def _when(line: Line) -> str:
    return "" if line.time_ns is None else f"<time>{line.time_ns / 1e6:.3f}</time>"


def _facts(name: str, heading: str, rows: Iterator[tuple[str, str]]) -> str:
    return section(name, heading, table(("what", "value"), ((text(key), text(value)) for key, value in rows), heading))
