# SPDX-License-Identifier: GPL-2.0-or-later
"""The console in the emulated host's log: the run ends at its place, however the log is read."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.apic.access import Phase
from snp_harness.apic.contract import evaluate
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture.collect import Collector
from snp_harness.capture.console_text import ConsoleText
from snp_harness.capture.goal import SHOWN_GOAL, Until, wanted_texts
from snp_harness.capture.host_timeline import WITNESS, HostTimeline
from snp_harness.capture.record import RecordKind
from snp_harness.launch.ring import RECORD_SIZE
from tests.capture.host_records import BDS_BASE, DXE_BASE, FIRMWARE, GUEST, PEI_BASE, SEC_BASE, XAPIC, Run
from tests.launch.ring import make_record

PAGE = 0xFEE00000
BOOT = b"BdsDxe: loading Boot0001\r\n"


class Log(Run):
    """Makes records and reads none of them."""

    def __init__(self) -> None:
        self.raw = bytearray()
        super().__init__()

    def add(self, kind: int, **fields: int) -> None:
        self.seq += 1
        self.raw += make_record(self.seq, kind=kind, **{"vmpl": GUEST, **fields})

    def print(self, text: bytes) -> None:
        for byte in text:
            self.add(RecordKind.CONSOLE, value=byte)

    def timer(self, rip: int) -> None:
        """An access to the page."""
        self.code(rip)
        self.apic(PAGE + 0x320, 0, rip=rip, aux=XAPIC, write=True, path=1)

    def boot(self, printed_in_sec: bytes = b"") -> None:
        """A boot to the prompt, with an access in each phase, and what follows it."""
        self.timer(SEC_BASE + 0x1000)
        self.print(printed_in_sec)
        self.timer(SEC_BASE + 0x1100)
        self.timer(PEI_BASE + 0x1000)
        for base, size, entry in ((DXE_BASE, 0x9000, 0x300), (BDS_BASE, 0x5000, 0x400)):
            self.image(base, size, entry)
            self.timer(base + 0x1000)
        self.print(BOOT + b"\x1b[0mShell> ")
        self.print(b"ls\r\n")
        self.timer(BDS_BASE + 0x1000)


def read(raw: bytes, until: Until, *batches: int) -> tuple[Timeline, Collector]:
    """The timeline of a log that is read in batches which begin at these records."""
    collector = Collector()
    collector.follow(until)
    console = ConsoleText(
        wanted_texts(until),
        lambda name, text: collector.show(name, text.strip()),
        lambda name: name == SHOWN_GOAL or collector.phase >= Phase.DXE,
    )
    host = HostTimeline(FIRMWARE, GUEST, collector, console=console)
    edges = [0, *sorted(number * RECORD_SIZE for number in batches), len(raw)]
    for start, end in itertools.pairwise(edges):
        host.take(bytes(raw[start:end]))
    host.finish()
    timeline = collector.finish(
        witness=WITNESS, platform="p", gaps=[], lost=0, not_observed=frozenset(), alternate_injection=False, svsm=True
    )
    return timeline, collector


def booted(printed_in_sec: bytes = b"") -> bytes:
    log = Log()
    log.boot(printed_in_sec)
    return bytes(log.raw)


RAW = booted()
GOALS: list[Until] = [Phase.SEC, Phase.PEI, Phase.DXE, "shell", re.compile("Boot0001"), re.compile("> l")]


@pytest.mark.parametrize("until", GOALS, ids=str)
@settings(max_examples=25)
@given(st.lists(st.integers(0, len(RAW) // RECORD_SIZE), max_size=8))
def test_how_the_log_is_read_does_not_matter(until: Until, batches: list[int]) -> None:
    (whole, at), (parts, again) = read(RAW, until), read(RAW, until, *batches)
    assert parts.to_jsonl() == whole.to_jsonl()
    assert at.cut is not None
    assert again.cut == at.cut


def test_the_prompt_is_the_end() -> None:
    timeline, collector = read(RAW, "shell")
    assert [access.phase for access in timeline.accesses] == [
        Phase.SEC, Phase.SEC, Phase.PEI, Phase.DXE, Phase.BDS,
    ]  # fmt: skip
    assert collector.cut is not None
    assert collector.cut.log is not None
    # The last byte of the prompt, and no record of what was typed.
    last = RAW[(collector.cut.log.records - 1) * RECORD_SIZE :][:RECORD_SIZE]
    assert last[32] == ord(" ")


@pytest.mark.parametrize("printed", [b"Shell> ", BOOT, BOOT + b"Shell> ", b"BdsDxe: No bootable option\r\n"])
@pytest.mark.parametrize("until", ["shell", Phase.DXE])
def test_what_sec_prints_ends_no_run(printed: bytes, until: Until) -> None:
    """The offences that follow it are seen: the same boot, with other numbers of records."""
    forged, _ = read(booted(printed), until)
    honest, _ = read(RAW, until)
    assert len(forged.accesses) == len(honest.accesses)
    assert [mark.evidence for mark in forged.phases] == [mark.evidence for mark in honest.phases]
    verdict = evaluate(forged, as_if_active=True)
    assert len(verdict.result("x2apic-before-sec").offences) == 2
    assert verdict.status is Status.VIOLATED


def test_a_users_text_in_sec_ends_the_run_after_sec() -> None:
    timeline, _ = read(booted(b"hello"), re.compile("hello"))
    assert [access.phase for access in timeline.accesses] == [Phase.SEC, Phase.SEC]
    assert timeline.reached is Phase.PEI
