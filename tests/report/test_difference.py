# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json

from snp_harness.apic.difference import difference
from snp_harness.apic.timeline import Event
from snp_harness.report.difference import lines, render_json, summary, to_json
from tests.apic.samples import WRITE, fixed_sec, stock_sec, timeline, xapic

STOCK, FIXED = timeline(stock_sec()), timeline(fixed_sec())


def test_the_fix_of_sec_as_text() -> None:
    found = difference(STOCK, FIXED)
    assert summary(found) == "accesses: 2 came, 7 changed, 1 the same"
    text = list(lines(found))
    assert text[:5] == [
        "SecMain, vCPU 0",
        "  ... 1 is the same",
        "+ write APIC_BASE 1B = FEE00D00 (SEC, msr, VMPL 2, xAPIC, ok, served by hypervisor) at SecMain+1A2B",
        "+ read APIC_BASE 1B = FEE00D00 (msr, VMPL 2, x2APIC, ok, served by hypervisor) at SecMain+1A2B",
        "~ read SVR 80F: path mmio -> msr, mode xAPIC -> x2APIC at SecMain+1A2B",
    ]
    assert len(text) == 11


def test_no_difference() -> None:
    found = difference(STOCK, STOCK)
    assert summary(found) == "no difference: all 8 accesses that are compared are the same"
    assert list(lines(found)) == []


def test_every_field_of_a_change_is_shown_as_the_report_shows_it() -> None:
    one = xapic(WRITE, 0x0F0, 0x1FF, vmpl=1)
    other = xapic(WRITE, 0x0F0, 0x10F, vmpl=2, size=8)
    (_, line) = lines(difference(timeline([one]), timeline([other])))
    assert line == "~ write SVR 0F0: value 1FF -> 10F, 4 bytes -> 8 bytes, VMPL 1 -> VMPL 2 at SecMain+1A2B"


def test_untrusted_names_are_escaped() -> None:
    one = timeline([xapic(WRITE, 0x0F0, 1, module="\x1b[31m")], events=(Event("\x1b", 0, 0, "", {}),))
    assert not any("\x1b" in line for line in lines(difference(one, timeline())))


def test_phases_doubts_and_what_is_not_compared_are_below() -> None:
    blind = timeline([xapic(WRITE, 0x0F0, 1, vmpl=None)], phases=STOCK.phases[:1], complete=False, gaps=("ended",))
    one = timeline([xapic(WRITE, 0x0F0, 1)])
    assert list(lines(difference(one, blind))) == [
        "- phase PEI",
        "not compared, because one run did not observe it: vmpl",
        "the second run was not seen whole: ended",
    ]
    assert summary(difference(one, blind)) == "accesses: 1 the same, and 1 phases or kinds of events"


def test_the_same_as_json() -> None:
    data = json.loads(render_json(difference(STOCK, FIXED), STOCK, FIXED, ("a", "b")))
    assert data == to_json(difference(STOCK, FIXED), STOCK, FIXED, ("a", "b"))
    assert (data["format"], data["version"], data["equal"]) == ("snp-harness-diff", 1, False)
    assert (data["same"], len(data["came"]), len(data["went"]), len(data["changed"])) == (1, 2, 0, 7)
    assert data["changed"][0]["fields"] == ["path", "mode"]
    assert data["changed"][0]["before"]["path"] == "mmio"
    assert data["changed"][0]["after"]["path"] == "msr"
    assert data["before"]["name"] == "a"
    assert data["after"]["accesses"] == len(FIXED.accesses)
