# SPDX-License-Identifier: GPL-2.0-or-later
"""The forms of a report: what the readers that they are for make of them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from junitparser import JUnitXml
from markdown_it import MarkdownIt
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog

from snp_harness.apic.activity import Activity, Sample, Span
from snp_harness.apic.contract import RULES, evaluate
from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.report.findings import findings
from snp_harness.report.formats import FORMATS, render
from snp_harness.report.model import Report, RunInfo
from tests.apic import samples
from tests.apic.samples import READ, xapic
from tests.apic.strategies import timelines
from tests.report.reports import HOSTILE, report

STOCK = report(samples.stock_sec())
FIXED = report(samples.fixed_sec())
CUT = report(samples.fixed_sec(), complete=False, gaps=("QEMU died",))
INACTIVE = report(samples.stock_sec(), alternate_injection=False, apic_protocol=False)
SOURCE = Frame("InitializeApicTimer", "OvmfPkg/Library/LocalApicLib.c", 42)


def with_source(shown: Report) -> Report:
    return dataclasses.replace(shown, sources=(SourcePlace("SecMain", 0x1A2B, (SOURCE,)),))


def sarif(shown: Report) -> Any:
    """The SARIF log, which a reader made from the standard's schema accepts."""
    text = render(shown, "sarif")
    SarifLog.model_validate_json(text)
    [run] = json.loads(text)["runs"]
    return run


def test_sarif_has_a_result_for_each_place() -> None:
    run = sarif(STOCK)
    results = [result for result in run["results"] if result["ruleId"] == "x2apic-before-sec"]
    # Every access of the sample is of the same instruction: read and write of a register are a place each.
    assert len(results) == 5
    assert len({result["partialFingerprints"]["snpHarness/v1"] for result in run["results"]}) == len(run["results"])
    first = results[0]
    assert first["level"] == "error"
    assert first["message"]["text"].startswith("read of SVR 0F0 by mmio in xAPIC mode, phase SEC")
    [location] = first["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "file:///usr/share/ovmf/OVMF.fd"
    assert location["physicalLocation"]["address"]["absoluteAddress"] == 0xFFFCF123
    assert location["physicalLocation"]["address"]["offsetFromParent"] == 0x1A2B
    assert location["logicalLocations"] == [{"name": "SecMain", "fullyQualifiedName": "SecMain+1A2B", "kind": "module"}]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [rule.name for rule in RULES]
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == first["ruleId"]


def test_sarif_names_the_source_line() -> None:
    [location] = sarif(with_source(STOCK))["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == SOURCE.file
    assert location["physicalLocation"]["region"] == {"startLine": 42}
    assert {"name": "InitializeApicTimer", "kind": "function"} in location["logicalLocations"]


def test_a_run_without_a_fault_has_no_finding() -> None:
    assert sarif(FIXED)["results"] == sarif(INACTIVE)["results"] == []
    assert json.loads(render(FIXED, "gitlab")) == []
    assert render(FIXED, "github").startswith("::notice title=snp-harness%3A holds::holds")


def test_an_inconclusive_run_is_not_without_a_fault() -> None:
    """Code scanning and merge requests show findings alone."""
    [result] = sarif(CUT)["results"]
    assert (result["level"], result["message"]["text"].partition(":")[0]) == ("warning", "inconclusive")
    [entry] = json.loads(render(CUT, "gitlab"))
    assert entry["description"].startswith("inconclusive: ")
    assert render(CUT, "github").startswith("::warning ")
    verdict = next(iter(next(iter(JUnitXml.fromstring(render(CUT, "junit").encode())))))
    assert [result.type for result in verdict.result] == [None]
    assert verdict.is_error


def test_what_broke_the_run_is_in_sarif() -> None:
    [invocation] = sarif(dataclasses.replace(STOCK, run=RunInfo(error="QEMU died")))["invocations"]
    assert not invocation["executionSuccessful"]
    assert invocation["toolExecutionNotifications"][0] == {"level": "error", "message": {"text": "QEMU died"}}
    assert sarif(STOCK)["invocations"][0]["executionSuccessful"]


def test_junit_has_the_verdict_and_each_rule() -> None:
    xml = JUnitXml.fromstring(render(STOCK, "junit").encode())
    [suite] = list(xml)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (len(RULES) + 1, 4, 0, 0)
    cases = {case.name: case for case in suite}
    assert cases["verdict"].is_failure
    assert cases["verdict"].time == 0.84
    assert "SecMain+1A2B: read of SVR 0F0" in cases["x2apic-before-sec"].result[0].text
    assert cases["legal-transition"].is_passed
    assert 'name="configuration" value="alternate-injection"' in render(STOCK, "junit")


def test_junit_of_a_run_to_which_the_contract_does_not_apply() -> None:
    [suite] = list(JUnitXml.fromstring(render(INACTIVE, "junit").encode()))
    assert (suite.failures, suite.errors) == (0, 0)
    assert next(case for case in suite if case.name == "verdict").is_skipped


def test_junit_of_a_rule_that_cannot_be_observed() -> None:
    blind = report(samples.fixed_sec(), not_observed=frozenset({"page-state"}))
    [suite] = list(JUnitXml.fromstring(render(blind, "junit").encode()))
    cases = {case.name: case for case in suite}
    assert cases["verdict"].is_passed
    assert cases["sec-apic-page-shared"].is_skipped


def test_github_annotates_the_source() -> None:
    lines = render(with_source(STOCK), "github").splitlines()
    assert len(lines) == 10
    assert lines[1].startswith(
        "::error file=OvmfPkg/Library/LocalApicLib.c,line=42,title=x2apic-before-sec::read of SVR 0F0"
    )


def test_gitlab_entries() -> None:
    entries = json.loads(render(with_source(STOCK), "gitlab"))
    assert len({entry["fingerprint"] for entry in entries}) == len(entries) == len(findings(STOCK))
    assert entries[0]["severity"] == "critical"
    assert entries[0]["location"] == {"path": SOURCE.file, "lines": {"begin": 42}}


def test_a_firmware_of_the_work_tree_has_a_relative_path() -> None:
    firmware = Path.cwd() / "Build" / "OVMF #1.fd"
    shown = dataclasses.replace(STOCK, run=RunInfo(firmware=str(firmware)))
    assert json.loads(render(shown, "gitlab"))[0]["location"]["path"] == "Build/OVMF #1.fd"
    assert sarif(shown)["artifacts"][0]["location"]["uri"] == "Build/OVMF%20%231.fd"


def test_a_place_that_breaks_a_rule_often_is_one_finding() -> None:
    often = report([xapic(READ, 0x0F0)] * 5000)
    assert [finding.message for finding in findings(often) if finding.rule == "x2apic-before-sec"] == [
        "read of SVR 0F0 by mmio in xAPIC mode, phase SEC, outcome ok, 5000 times"
    ]
    places = report([xapic(READ, 0x0F0, module_offset=offset) for offset in range(500)])
    assert len([finding for finding in findings(places) if finding.rule == "x2apic-before-sec"]) == 100


def cells(html: str) -> list[str]:
    return re.findall(r"<t[dh]>(.*?)</t[dh]>", html)


def test_markdown_is_shown_as_tables() -> None:
    html = MarkdownIt("gfm-like", {"linkify": False}).render(render(STOCK, "markdown"))
    assert html.startswith("<h3>❌ violated: 7 local-APIC accesses in SEC before x2APIC mode (emulated SNP host")
    assert "Timer Initial Count 380" in cells(html)
    assert "timer-reaches-hypervisor-in-x2apic" in cells(html)
    assert html.count("<details>") == html.count("</details>") == 1


@pytest.mark.parametrize("text", ["<img src=x>", "a|b", "**x**", "[x](http://y)", "`x`", "&lt;", "~~x~~"])
def test_markdown_shows_untrusted_text_as_it_is(text: str) -> None:
    shown = report([xapic(READ, 0x0F0, module=text)])
    html = MarkdownIt("gfm-like", {"linkify": False}).render(render(shown, "markdown"))
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"{escaped}+1A2B" in cells(html)


def trace(shown: Report) -> list[dict[str, Any]]:
    """The trace's events, which have what the format wants of their kind; slices of a track do not overlap."""
    events: list[dict[str, Any]] = json.loads(render(shown, "perfetto"))["traceEvents"]
    ends: dict[tuple[int, int], float] = {}
    for event in events:
        wanted = {"ph", "name", "pid", "tid", "args"}
        wanted |= {"M": set(), "X": {"ts", "dur", "cat"}, "i": {"ts", "s", "cat"}, "C": {"ts"}}[event["ph"]]
        assert set(event) == wanted
        assert isinstance(event["pid"], int)
        assert event.get("ts", 0) >= 0
        if event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
        if event["ph"] == "X":
            track = event["pid"], event["tid"]
            assert event["ts"] + 1e-3 >= ends.get(track, 0)
            ends[track] = event["ts"] + event["dur"]
    times = [event["ts"] for event in events if "ts" in event]
    assert times == sorted(times)
    return events


def test_the_tracks_of_a_trace() -> None:
    activity = Activity(
        (Span(0, "SVSM calls", "APIC 1", 2000, 5000, "SUCCESS"), Span(0, "SVSM calls", "APIC 2", 5000, 5500)),
        "exits",
        (Sample(0, {}), Sample(6000, {"VMGEXIT": 3})),
    )
    shown = dataclasses.replace(STOCK, activity=lambda: activity)
    events = trace(shown)
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["ph"] == "M"}
    slices = [(names[e["pid"], e["tid"]], e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert slices == [
        ("phases", "SEC", 0.0, 9.0),
        ("SVSM calls", "APIC 1", 2.0, 3.0),
        ("SVSM calls", "APIC 2", 5.0, 0.5),
        ("phases", "PEI", 9.0, 0.0),
    ]
    accesses = [e for e in events if e["ph"] == "i" and e["cat"] == "mmio"]
    assert [e["name"] for e in accesses][:2] == ["read SVR 0F0", "write SVR 0F0"]
    assert {names[e["pid"], e["tid"]] for e in accesses} == {"VMPL 2"}
    assert accesses[0]["args"]["place"] == "SecMain+1A2B"
    counters = [e for e in events if e["ph"] == "C"]
    assert counters[-1]["args"] == {"VMGEXIT": 3}
    assert {"mmio": 7, "msr": 7} in [e["args"] for e in counters]


@settings(max_examples=25)
@given(timelines())
def test_every_timeline_has_every_form(timeline: Timeline) -> None:
    shown = Report(evaluate(timeline, as_if_active=True), timeline)
    for form in FORMATS:
        assert render(shown, form).encode()
    sarif(shown)
    trace(dataclasses.replace(shown, timeline=dataclasses.replace(timeline, phases=())))
    JUnitXml.fromstring(render(shown, "junit").encode())
    assert all(line.startswith("::") for line in render(shown, "github").split("\n")[:-1])


@pytest.mark.parametrize("form", FORMATS)
def test_untrusted_text_is_escaped(form: str) -> None:
    event = Event("rmp-violation", 1, 0, HOSTILE, {"gpa": 0xFEE00000})
    run = RunInfo(HOSTILE, HOSTILE, HOSTILE, Path(HOSTILE), (HOSTILE,), 1.0, HOSTILE, (HOSTILE,))
    hostile = report([xapic(READ, 0x0F0, module=HOSTILE)], run, events=(event,), complete=False, gaps=(HOSTILE,))
    text = render(hostile, form)
    assert "\x1b" not in text
    assert "\u202e" not in text
    text.encode()
