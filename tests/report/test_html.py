# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as a page, without a browser: tests/report/test_html_browser.py opens it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from snp_harness.apic.access import Access, Outcome, Server
from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.report.html import chart_data, consoles, render
from snp_harness.report.html.chart_data import CATEGORIES, category
from snp_harness.report.html.consoles import CONSOLES, Severity, read_consoles
from snp_harness.report.html.elements import asset
from snp_harness.report.model import Report, RunInfo
from snp_harness.report.text import access_cells
from snp_harness.vm import rundir
from tests.apic import samples
from tests.apic.samples import READ, WRITE, base, x2apic, xapic
from tests.apic.strategies import timelines
from tests.report.hostile import Page, hostile_report
from tests.report.reports import report

#: SHA-256 of uPlot 1.6.32, dist/uPlot.iife.min.js of the npm package.
UPLOT = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"


def test_hostile_text_is_text(tmp_path: Path) -> None:
    text = render(hostile_report(tmp_path))
    page = Page(text)
    allowed = {tag for tag, _ in Page(render(report(samples.stock_sec()))).elements} | {"ol", "li", "code"}
    assert {tag for tag, _ in page.elements} <= allowed
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            assert re.fullmatch(r"#[\w.-]+", attributes.get(name) or "#x"), attributes
    assert [kind for kind, *_ in page.blocks] == ["style", "style", "script", "script", "script"]
    assert page.data["phases"][0][2].startswith("</script><script>window.owned=1")
    assert "window.owned=1</script>" not in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_browser_runs_the_scripts_of_the_page_and_loads_nothing(tmp_path: Path) -> None:
    page = Page(render(hostile_report(tmp_path)))
    [policy] = [a["content"] or "" for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for kind, attributes, text in page.blocks
        if "id" not in attributes
    ]
    styles, scripts = " ".join(hashes[:2]), " ".join(hashes[2:])
    assert policy == (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; base-uri 'none'; form-action 'none'"
    )


def test_the_verdict_comes_first_and_the_first_offence_is_explained() -> None:
    shown = report(samples.stock_sec())
    offence = shown.verdict.results[0].offences[0]
    frames = (Frame("MmioRead32", "IoLib.c", 278), Frame("ReadLocalApicReg", "Lib.c", 288))
    place = SourcePlace(offence.module or "", offence.module_offset or 0, frames)
    text = render(dataclasses.replace(shown, sources=(place,)))
    words = re.sub(r"<[^>]*>|\s+", " ", re.sub(r"<(style|script|nav|title)\b.*?</\1>", "", text, flags=re.DOTALL))
    words = re.sub(r"\s+", " ", words)
    parts = (
        "violated emulated SNP host, not hardware 7 local-APIC accesses in SEC before x2APIC mode",
        "The first offence rule x2apic-before-sec : Firmware is in x2APIC mode before SEC",
        "specification APM 16.9 (x2APIC mode)",
        "read of SVR 0F0, value FF, by mmio, in xAPIC mode; ok, hypervisor",
        "SecMain+1A2B, pc FFFCF123",
        "function ReadLocalApicReg at Lib.c:288",
        "inlined MmioRead32 at IoLib.c:278",
        "SEC, proven:",
        "Timeline",
        "Rules",
    )
    found = [words.find(part) for part in parts]
    assert -1 not in found, parts[found.index(-1)]
    assert found == sorted(found)


def test_what_would_be_the_first_offence_is_not_called_one() -> None:
    text = render(report(samples.stock_sec(), alternate_injection=False, apic_protocol=False))
    assert "What would be the first offence" in text
    assert "first offence" not in render(report(samples.fixed_sec()))


@pytest.mark.parametrize(
    ("access", "name"),
    [
        (base(WRITE, 0xFEE00D00, ApicMode.XAPIC), "APIC_BASE"),
        (xapic(READ, 0xF0), "xAPIC page (MMIO)"),
        (x2apic(READ, 0x80F), "x2APIC MSR, hypervisor"),
        (x2apic(READ, 0x80F, served_by=Server.SVSM), "x2APIC MSR, SVSM"),
        (x2apic(READ, 0x80F, served_by=Server.GUEST), "x2APIC MSR, other"),
        (x2apic(READ, 0x80F, path=AccessPath.SVSM, served_by=Server.SVSM), "SVSM call"),
        (x2apic(READ, 0x80F, path=AccessPath.UNKNOWN), "path not observed"),
        (x2apic(READ, 0x80F, outcome=Outcome.GP), "refused"),
        (base(WRITE, 0, ApicMode.XAPIC, outcome=Outcome.GP), "refused"),
    ],
)
def test_the_path_of_an_access(access: Access, name: str) -> None:
    assert CATEGORIES[category(access)] == name


def unpacked(data: dict[str, Any]) -> list[list[str]]:
    """The cells of each access, as the page's script makes them."""
    rows = []
    for index, (kind, value) in enumerate(zip(data["kind"], data["value"], strict=True)):
        _, _, op, register, *cells, _ = data["kinds"][kind]
        rows.append([str(index), op, register, data["values"][value], *cells])
    return rows


@given(timelines())
@settings(max_examples=60, deadline=None)
def test_the_page_has_every_access_as_it_was(timeline: Timeline) -> None:
    shown = Report(evaluate(timeline), timeline)
    data = Page(render(shown)).data
    assert unpacked(data) == [access_cells(access) for access in timeline.accesses]
    times = [access.time_ns for access in timeline.accesses]
    assert data["time"] is None or list(itertools.accumulate(data["time"])) == times
    assert (data["time"] is None) == (None in times)
    assert len(data["phases"]) == len(timeline.phases)
    assert len(data["events"]) == len(timeline.events)


@pytest.mark.parametrize(("bound", "most"), [("ACCESSES_MAX", 5), ("KINDS_MAX", 3), ("VALUES_MAX", 3)])
def test_what_does_not_fit_is_counted(bound: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = report(samples.stock_sec())
    monkeypatch.setattr(chart_data, bound, most)
    data = Page(render(shown)).data
    assert 0 < len(data["kind"]) < len(shown.timeline.accesses)
    assert len(data["kind"]) + data["left"] == len(shown.timeline.accesses)
    assert all(index < len(data["kind"]) for index in data["offences"])


def test_consoles_are_lines_with_a_link_and_a_severity(tmp_path: Path) -> None:
    (tmp_path / "serial.log").write_bytes(b"\x1b[2J\x1b[01;01HBdsDxe: loading\r\nASSERT [X] a.c(1): 0\r\n\xff\x07\n")
    (tmp_path / "svsm.log").write_bytes(b"warning: <b>\n")
    (tmp_path / "qemu-stderr.log").write_bytes(b"\n")
    guest, svsm = read_consoles(tmp_path)
    assert [(line.text, line.severity) for line in guest.lines[:2]] == [
        ("BdsDxe: loading", Severity.INFO),
        ("ASSERT [X] a.c(1): 0", Severity.ERROR),
    ]
    assert guest.lines[2].text == r"\ufffd\x07".replace(r"\ufffd", "\ufffd")
    assert svsm.lines[0].severity is Severity.WARNING
    text = render(report([], RunInfo(directory=tmp_path)))
    assert '<li id="serial-2" class="error"><a href="#serial-2">2</a><code>ASSERT [X] a.c(1): 0</code></li>' in text
    assert "warning: &lt;b&gt;" in text


def test_the_lines_of_a_console_have_the_time_of_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "serial.log").write_bytes(b"one\ntwo\nthree\n")
    assert [line.time_ns for line in read_consoles(tmp_path)[0].lines] == [None] * 4
    marks = {"consoles": {"serial.log": [[2, 5_000_000], [8, 7_000_000]], "svsm.log": []}}
    (tmp_path / rundir.CONSOLES).write_text(json.dumps(marks))
    (console,) = read_consoles(tmp_path)
    assert [line.time_ns for line in console.lines] == [None, 5_000_000, 7_000_000, 7_000_000]
    text = render(report(samples.stock_sec(), RunInfo(directory=tmp_path)))
    assert Page(text).data["lines"] == [
        ["Guest's console", 5_000_000, "serial-2", "info", "two"],
        ["Guest's console", 7_000_000, "serial-3", "info", "three"],
    ]
    assert '<a href="#serial-2">2</a><time>5.000</time><code>two</code>' in text
    for damaged in (
        "",
        "[]",
        '{"consoles": 1}',
        '{"consoles": {"serial.log": [1]}}',
        '{"consoles": {"a": [[1, "x"]]}}',
    ):
        (tmp_path / rundir.CONSOLES).write_text(damaged)
        assert read_consoles(tmp_path)[0].lines[1].time_ns is None


def test_a_long_console_has_its_begin_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "serial.log").write_bytes(b"".join(b"line %d\n" % n for n in range(200_000)))
    (console,) = read_consoles(tmp_path)
    texts = [line.text for line in console.lines]
    assert (texts[0], texts[-2]) == ("line 0", "line 199999")
    assert len(texts) <= consoles.LINES_MAX + 1
    assert any(re.fullmatch(r"\[\d+ lines are not shown\]", text) for text in texts)
    monkeypatch.setattr(consoles, "LINES_MAX", 1_000_000)
    (console,) = read_consoles(tmp_path)
    assert any(re.fullmatch(r"\[\d+ bytes are not shown\]", line.text) for line in console.lines)


def test_the_consoles_are_files_of_a_run() -> None:
    assert {*CONSOLES, consoles.TIMES} <= set(rundir.FILES)
    assert read_consoles(None) == []
    assert read_consoles(Path("/nonexistent")) == []


def test_the_chart_library_is_as_its_authors_released_it() -> None:
    text = asset("uPlot.iife.min.js")
    assert hashlib.sha256(text.encode()).hexdigest() == UPLOT
    assert "The MIT License" in asset("uPlot.LICENSE.txt")


@pytest.mark.slow
def test_the_largest_page_has_less_than_10_mb(tmp_path: Path) -> None:
    for name in CONSOLES:
        (tmp_path / name).write_bytes(b"<\x00>&\xff\n" * 2_000_000)
    accesses = [
        xapic(READ, 0xF0, index, pc=index % chart_data.KINDS_MAX, module="<" * 80, time_ns=index * 1_000_003)
        for index in range(chart_data.ACCESSES_MAX)
    ]
    event = Event("rmp-violation", 1, 0, "<&>" * 100, {})
    text = render(report(accesses, RunInfo(directory=tmp_path), events=(event,) * 20_000))
    assert len(text.encode()) < 10_000_000
