# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import pty
import re
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.apic.access import Outcome, Phase, Server
from snp_harness.apic.contract import RULES, evaluate
from snp_harness.apic.selection import Selection, fold
from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.report.model import Report, RunInfo
from snp_harness.report.terminal import OFFENCES_SHOWN, print_report, render
from snp_harness.report.text import access_line, escape
from snp_harness.report.timeline_text import WIDE, lines
from tests.apic import samples
from tests.apic.samples import READ, xapic
from tests.apic.strategies import timelines
from tests.report.reports import HOSTILE, RUN, report


def section(text: str, title: str) -> list[str]:
    """The lines below a title, up to the next empty line."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    return lines[start : lines.index("", start) if "" in lines[start:] else len(lines)]


def timeline_lines(timeline: Timeline, width: int = WIDE) -> list[str]:
    return list(lines(fold(Selection().entries(timeline)), width))


def words(line: str) -> str:
    return " ".join(line.split())


def test_the_source_of_an_offence_is_named_once() -> None:
    known = report(samples.stock_sec())
    offence = known.verdict.results[0].offences[0]
    assert offence.module is not None
    assert offence.module_offset is not None
    frames = (Frame("MmioRead32", "IoLib.c", 278), Frame("ReadLocalApicReg", "Lib.c\x1b", 288))
    place = SourcePlace(offence.module, offence.module_offset, frames)
    text = render(dataclasses.replace(known, sources=(place,)))
    lines = [words(line) for line in text.splitlines() if "Lib.c" in line]
    assert lines == [
        f"source {offence.module}+{offence.module_offset:X}: ReadLocalApicReg at Lib.c\\x1b:288",
    ]


def test_the_first_line_is_the_verdict() -> None:
    first = render(report(samples.stock_sec())).splitlines()[0]
    assert first == ("violated: 7 local-APIC accesses in SEC before x2APIC mode (emulated SNP host, not hardware)")


def test_the_offences_with_everything_known_of_them() -> None:
    lines = section(render(report(samples.stock_sec())), "Offences against x2apic-before-sec")
    assert words(lines[0]) == "# op register value pc module vCPU VMPL phase path mode outcome served by"
    assert words(lines[1]) == "1 read SVR 0F0 FF FFFCF123 SecMain+1A2B 0 2 SEC mmio xAPIC ok hypervisor"
    rows = [re.split(r" {2,}", line.strip()) for line in lines[1:]]
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("read", "SVR 0F0", "FF"),
        ("write", "SVR 0F0", "1FF"),
        ("read", "Timer LVT 320", "10000"),
        ("write", "Timer LVT 320", "20005"),
        ("write", "Timer Initial Count 380", "FFFFFFFF"),
        ("read", "Timer LVT 320", "20005"),
        ("write", "Timer LVT 320", "30005"),
    ]


def test_a_register_is_shown_with_the_number_of_its_path() -> None:
    refused = samples.x2apic(READ, 0x80F, mode=None, outcome=Outcome.GP, served_by=Server.NOBODY)
    lines = section(render(report([refused])), "Offences against no-refused-access")
    assert "SVR 80F" in lines[1]
    assert "#GP" in lines[1]
    base = samples.base(READ, 0xFEE00900, None, outcome=Outcome.GP)
    assert "APIC_BASE 1B" in section(render(report([base])), "Offences against no-refused-access")[1]
    reserved = xapic(READ, 0x700)
    assert "reserved 700" in section(render(report([reserved])), "Offences against x2apic-before-sec")[1]


@pytest.mark.parametrize(
    ("outcome", "server", "shown"),
    [
        (Outcome.OK, Server.SVSM, "served by svsm"),
        (Outcome.GP, Server.HYPERVISOR, "refused by hypervisor"),
        (Outcome.ERROR, Server.SVSM, "refused by svsm"),
        (Outcome.NOT_CLAIMED, Server.NOBODY, "served by nobody"),
        (Outcome.NOT_OBSERVED, Server.NOT_OBSERVED, "served by not observed"),
    ],
)
def test_who_served_or_refused_an_access(outcome: Outcome, server: Server, shown: str) -> None:
    shown_report = report([xapic(READ, 0x0F0), xapic(READ, 0x0F0, outcome=outcome, served_by=server)])
    assert access_line(shown_report.timeline.accesses[1]).endswith(f", {shown})")
    cell = section(render(shown_report), "Offences against x2apic-before-sec")[2]
    assert cell.endswith("  " + shown.removeprefix("served by "))


def test_injected_faults_are_in_the_first_line_and_below() -> None:
    text = render(report(samples.stock_sec(), faults=("busy (1 of 3)",), apic_protocol=True))
    assert text.splitlines()[0].endswith("(emulated SNP host, not hardware, faults injected: busy (1 of 3))")
    observed = "\n".join(section(text, "Observed"))
    assert "faults    injected: busy (1 of 3)" in observed
    assert "SVSM present, Alternate Injection active, APIC protocol not requested" in observed
    assert "note           faults injected: busy (1 of 3); the firmware does not cause" in text
    assert "faults" not in render(report(samples.stock_sec()))


def test_a_policy_that_breaks_the_apm_is_named_with_its_rule() -> None:
    fields: dict[str, int | str] = {"vmpl": 2, "active": 1, "apic_base": 0xFEE00D00, "by_policy": 1}
    event = Event("alternate-injection", 1, 0, "Alternate Injection of VMPL2 begins", fields)
    text = render(report([samples.x2apic(READ, 0x80F)], events=(event,)))
    rule = "APM volume 2, section 16.9, figure 16-32: only a write of APIC_BASE in xAPIC mode leads to x2APIC mode"
    assert text.startswith("does not apply: the hypervisor changed APIC_BASE of vCPU 0 by itself; this breaks APM")
    assert rule in text.splitlines()[0]
    assert f"note           the hypervisor set x2APIC mode, which can hide a fault of the firmware; {rule}" in text
    lines = [words(line) for line in section(text, "Rules")]
    assert lines[0].startswith("x2apic-before-sec holds")
    assert "note" not in render(report(samples.fixed_sec()))


def test_every_rule_has_a_line() -> None:
    lines = section(render(report(samples.stock_sec(), not_observed=frozenset({"page-state"}))), "Rules")
    assert [line.split()[0] for line in lines] == [rule.name for rule in RULES]
    assert lines[0].split()[1] == "violated"
    assert lines[1].split()[1] == "holds"
    assert lines[5].split()[1:3] == ["not", "observed"]


def test_where_the_contract_does_not_apply_the_report_states_what_would_be() -> None:
    text = render(report(samples.stock_sec(), alternate_injection=False, apic_protocol=False))
    assert text.splitlines()[0] == (
        "does not apply: Alternate Injection is not active; with it: 7 local-APIC accesses in SEC before x2APIC mode "
        "(emulated SNP host, not hardware, Alternate Injection not active)"
    )
    assert "What would break x2apic-before-sec" in text
    assert "Offences" not in text
    lines = [words(line) for line in section(text, "Rules")]
    assert lines[0].startswith("x2apic-before-sec does not apply with Alternate Injection violated: 7 local-APIC")


def test_how_it_was_observed_and_how_to_run_it_again() -> None:
    text = render(report(samples.stock_sec(), not_observed=frozenset({"page-state"}), alternate_injection=False))
    observed = "\n".join(section(text, "Observed"))
    assert "emulated (emulated SNP host, not hardware, Alternate Injection not active)" in observed
    assert "emulated host log" in observed
    assert "SVSM present, Alternate Injection not active" in observed
    assert "page-state" in observed
    run = "\n".join(section(text, "Run"))
    for part in ("QEMU 7.2.19", "/usr/share/ovmf/OVMF.fd", "alternate-injection", "runs/1", "0.8 s"):
        assert part in run
    assert "snp-harness run --firmware /usr/share/ovmf/OVMF.fd" in run


def test_what_no_row_has_is_named_not_shown() -> None:
    unseen = {"pc": None, "module": None, "module_offset": None, "vcpu": None, "vmpl": None}
    accesses = [xapic(READ, 0x0F0, outcome=Outcome.NOT_OBSERVED, **unseen)]
    lines = section(render(report(accesses, platform="tcg")), "Offences against x2apic-before-sec")
    assert "pc" not in lines[0].split()
    assert lines[-1].strip() == "not observed: pc, module, vCPU, VMPL, outcome"
    mixed = [*accesses, xapic(READ, 0x0F0)]
    lines = section(render(report(mixed)), "Offences against x2apic-before-sec")
    assert "not observed" in lines[1]
    assert "FFFCF123" in lines[2]


def test_long_lists_are_cut_with_a_count() -> None:
    lines = section(render(report([xapic(READ, 0x0F0)] * 5000)), "Offences against x2apic-before-sec")
    assert len(lines) == 1 + OFFENCES_SHOWN + 1
    assert lines[-1].strip() == "... and 4980 more; timeline.jsonl has all 5000"


def test_events_that_are_offences() -> None:
    event = Event("private-mmio", 5, 0, "C=1 access to FEE000F0", {"gpa": 0xFEE000F0})
    text = render(report([], events=(event,) * 7))
    assert text.startswith("violated: the APIC page was not shared in 7 accesses of SEC (")
    lines = section(text, "Offences against sec-apic-page-shared")
    assert lines[0].strip() == "event private-mmio: C=1 access to FEE000F0"
    assert lines[-1].strip() == "... and 2 more events; timeline.jsonl has them"


def test_rich_is_loaded_ahead_for_a_terminal_only() -> None:
    program = (
        "import io, os, pty, sys; from snp_harness.report import terminal;"
        "terminal.load(io.StringIO()); before = 'rich' in sys.modules;"
        "terminal.load(os.fdopen(pty.openpty()[1], 'w')); print(before, 'rich.console' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("kind", ["private-mmio", "rmp-violation", "guest-crash"])
def test_only_an_end_ends_a_run(kind: str) -> None:
    violation = Event(kind, 8, 0, "the guest went on", {"gpa": 0x1000})
    assert "ended by" not in render(report([], events=(violation,)))
    end = Event("private-mmio-end", 7, 0, "it did not", {"gpa": 0x1000})
    assert "ended by  private-mmio-end: it did not" in render(report([], events=(end, violation)))


def test_a_run_that_ended_early_says_why_and_the_last_thing_seen() -> None:
    last = Event("guest-shutdown", 7, 0, "triple fault at FFFFFFF0", {})
    fields: dict[str, Any] = {
        "complete": False,
        "gaps": ("the guest shut down",),
        "reached": Phase.SEC,
        "events": (last, Event("exits", 8, 0, "#VMEXIT 7B: 3 times", {})),
        "lost": 2,
    }
    text = render(report([], **fields))
    assert text.startswith("inconclusive: SEC was not seen to its end")
    observed = "\n".join(section(text, "Observed"))
    assert "the guest shut down" in observed
    assert "guest-shutdown: triple fault at FFFFFFF0" in observed
    assert "3 times" not in observed
    assert "2 records" in observed


def test_an_inconclusive_verdict_gives_the_reason_that_decides() -> None:
    blind = report(samples.fixed_sec(), not_observed=frozenset({"page-state"}), complete=False, gaps=("QEMU died",))
    assert blind.headline.startswith("inconclusive: the run was not seen whole: QEMU died (")


def test_untrusted_names_cannot_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    accesses = [xapic(READ, 0x0F0, module=HOSTILE)]
    event = Event(HOSTILE, 1, 0, HOSTILE, {"gpa": 0xFEE00000})
    fields: dict[str, Any] = {
        "gaps": (HOSTILE,),
        "complete": False,
        "not_observed": frozenset({HOSTILE}),
        "events": (event,),
    }
    run = RunInfo(HOSTILE, HOSTILE, HOSTILE, Path(HOSTILE), (HOSTILE,), 1.0, HOSTILE, (HOSTILE,))
    hostile = report(accesses, run, witness=HOSTILE, platform=HOSTILE, **fields)
    coloured = without_colours(on_terminal(hostile, monkeypatch))
    for text in (render(hostile), "\n".join(timeline_lines(hostile.timeline)), coloured):
        assert all(character.isprintable() or character == "\n" for character in text)
        assert r"Evil\x1b]0;owned\x07\x1b[31m\n\r" in text
    assert "[bold]" in render(hostile)


def test_escape() -> None:
    assert escape("SecMain") == "SecMain"
    assert escape("Bjørn") == "Bjørn"
    assert escape("a\tb\x00\x7f\u202e") == r"a\tb\x00\x7f\u202e"
    assert escape("x" * 100, 20) == "x" * 17 + "..."


def on_terminal(shown: Report, monkeypatch: pytest.MonkeyPatch, columns: int = 160) -> str:
    """What a terminal of that width gets."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (50, columns))
    received: list[bytes] = []

    def read() -> None:
        # A pseudo-terminal whose other side is closed reports EIO.
        with contextlib.suppress(OSError):
            while data := os.read(leader, 65536):
                received.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(follower, "w", encoding="utf-8") as stream:
        print_report(shown, stream)
    reader.join(timeout=300)
    os.close(leader)
    return b"".join(received).decode("utf-8").replace("\r\n", "\n")


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_gets_the_same_words_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = report(samples.stock_sec())
    written = on_terminal(shown, monkeypatch)
    assert written.startswith("\x1b[1;31mviolated: ")
    assert without_colours(written) == render(shown)
    assert "\x1b[1;32mholds\x1b[0m" in written


def test_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = report(samples.stock_sec(), RunInfo(directory=Path("/" + "d" * 200)))
    text = without_colours(on_terminal(shown, monkeypatch, columns=80))
    assert "/" + "d" * 200 in text  # in one piece
    lines = section(text, "Offences against x2apic-before-sec")
    assert words(lines[0]) == "# op register value pc module vCPU"
    assert words(lines[2]) == "3 write SVR 0F0 1FF FFFCF123 SecMain+1A2B 0"
    assert max(map(len, lines[:-1])) <= 80
    same = "VMPL 2, phase SEC, path mmio, mode xAPIC, outcome ok, served by hypervisor"
    assert lines[-1].strip() == f"in all rows: {same}"


def test_a_pipe_gets_plain_text_in_its_encoding() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    print_report(report([xapic(READ, 0x0F0, module="Bjørn")]), stream)
    stream.flush()
    assert b"\x1b" not in buffer.getvalue()
    assert rb"Bj\xf8rn" in buffer.getvalue()


@settings(max_examples=40)
@given(timelines(), st.text())
def test_any_timeline_is_shown_in_printable_lines(timeline: Timeline, name: str) -> None:
    accesses = tuple(dataclasses.replace(access, module=name) for access in timeline.accesses)
    timeline = dataclasses.replace(timeline, accesses=accesses)
    shown = Report(evaluate(timeline), timeline, dataclasses.replace(RUN, firmware=name))
    printed = render(shown).splitlines() + timeline_lines(timeline) + timeline_lines(timeline, 80)
    assert all(line.isprintable() for line in printed)


def test_the_timeline_as_text() -> None:
    event = Event("end", 9, 0, "stopped", {})
    timeline = samples.timeline([xapic(READ, 0x0F0, 0xFF)], events=(event,), alternate_injection=False)
    assert [words(line) for line in timeline_lines(timeline)] == [
        "# time/s vCPU/VMPL phase module op register value path outcome served by",
        "0.000000 -- SEC, proven: entry",
        "0.000000 -- end: stopped",
        "0 0.000001 0/2 SEC SecMain+1A2B read SVR 0F0 FF mmio ok hypervisor",
        "0.000009 -- PEI, proven: PeiCore",
    ]


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        (((0, 1), (1, 0), (3, 0)), "APIC protocol offered, not on vCPU 1, 3"),
        (((0, 1),), "APIC protocol offered"),
        (((0, 0),), "APIC protocol not offered"),
    ],
)
def test_the_protocol_is_offered_by_what_the_svsm_answers(answers: tuple[tuple[int, int], ...], shown: str) -> None:
    events = tuple(
        Event("apic-protocol-query", 1, vcpu, "", {"offered": offered, "version": 1, "result": 0})
        for vcpu, offered in answers
    )
    assert f"{shown}\n" in render(report([], events=events, apic_protocol=True))


def test_a_witness_that_sees_no_calls_does_not_show_what_is_offered() -> None:
    text = render(report([], apic_protocol=True, not_observed=frozenset({"svsm-calls"})))
    assert "APIC protocol not observed\n" in text


def test_what_was_configured_is_not_what_was_observed() -> None:
    """An SVSM that was not seen to do anything, such as one that QEMU did not start."""
    nothing = report([], complete=False, gaps=("QEMU died",), phases=(), events=(samples.BEGIN,))
    assert "SVSM configured, not observed, Alternate Injection" in render(nothing)
    stage = Event("svsm-stage", 1, None, "SVSM: started", {})
    assert "SVSM present, " in render(report([], phases=(), events=(samples.BEGIN, stage)))
    assert "SVSM present, " in render(report(samples.stock_sec()))
    assert "no SVSM, " in render(report([xapic(READ, 0x0F0, vmpl=0)], svsm=False, alternate_injection=False))
