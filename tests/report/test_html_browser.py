# SPDX-License-Identifier: GPL-2.0-or-later
"""The report's page in a browser: what its script shows, what it refuses, and whether everybody can use it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Event
from snp_harness.report.html import render
from snp_harness.report.model import Report, RunInfo
from tests.apic import samples
from tests.apic.samples import READ, x2apic
from tests.report.browser import AXE_FAULTS, axe, look
from tests.report.hostile import hostile_report
from tests.report.reports import report

pytestmark = pytest.mark.slow

WAIT = "const wait = () => new Promise((done) => setTimeout(done, 50));"
SHOWN = """
const shown = () => [...document.querySelectorAll("#log tbody tr:not(.note) th a")].map((a) => Number(a.textContent));
"""


def two_vcpus(directory: Path) -> Report:
    (directory / "serial.log").write_text("one\nerror: two\nwarning: three\n")
    (directory / "svsm.log").write_text("SVSM: it starts\n")
    times = {"consoles": {"serial.log": [[0, 2500], [4, 1 << 30]]}}
    (directory / "consoles.json").write_text(json.dumps(times))
    accesses = [
        *samples.stock_sec(),
        *(x2apic(READ, 0x802, 7, vcpu=1, module="CpuDxe", phase=Phase.DXE) for _ in range(3)),
    ]
    accesses = [dataclasses.replace(access, time_ns=1000 * (at + 1)) for at, access in enumerate(accesses)]
    event = Event("doorbell", 1500, 1, "rung", {})
    return report(accesses, RunInfo(directory=directory), events=(event,))


def test_the_page_works(tmp_path: Path) -> None:
    shown = two_vcpus(tmp_path)
    found = look(
        render(shown),
        WAIT
        + SHOWN
        + """
        const $ = (id) => document.getElementById(id), result = {};
        const set = (node, value, event) => {
            node.value = value;
            node.dispatchEvent(new Event(event, { bubbles: true }));
        };
        const key = (name) => $("chart").dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
        const ticks = () => document.querySelectorAll("#chart canvas").length;
        result.all = shown(); result.said = $("said").textContent; result.charts = ticks();
        result.notes = [...document.querySelectorAll("#log tr.note")].map((tr) => tr.textContent);
        result.order = [...document.querySelectorAll("#log tbody th")].map((th) => th.textContent);
        const box = document.querySelector("#lines input");
        box.click(); result.without = document.querySelectorAll("#log a[href^='#serial']").length; box.click();
        result.marked = [...document.querySelectorAll("#log tr.offence th")].map((th) => Number(th.textContent));
        set($("vcpu"), "1", "change"); result.vcpu = shown(); set($("vcpu"), "", "change");
        set($("phase"), "DXE", "change"); result.phase = shown(); set($("phase"), "", "change");
        set($("find"), "cpudxe", "input"); result.module = shown();
        set($("find"), "1ff", "input"); result.value = shown(); set($("find"), "", "input");
        const boxes = [...document.querySelectorAll("#paths input")];
        result.paths = boxes.map((box) => box.parentElement.textContent);
        boxes[1].click(); result.unpathed = shown().length; boxes[1].click();
        for (const name of ["+", "ArrowRight", "ArrowLeft", "-", "0", "o", "o"]) key(name);
        await wait(); result.chartsAfter = ticks();
        set($("vcpu"), "1", "change"); location.hash = "a3"; await wait();
        result.chosen = document.querySelector("#log tr.chosen th").textContent;
        result.unfiltered = $("vcpu").value === "" && shown().length === result.all.length;
        const part = document.querySelector("#serial .find");
        const lines = () => [...document.querySelectorAll("#serial li:not([hidden])")].map((li) => li.id);
        set(part.querySelector("select"), "error", "input"); result.errorLines = lines();
        set(part.querySelector("select"), "warning", "input"); result.warningLines = lines();
        set(part.querySelector("input"), "THREE", "input"); result.searched = lines();
        result.found = part.querySelector("[role=status]").textContent;
        return result;
        """,
        tmp_path,
    )
    count = len(shown.timeline.accesses)
    offences = [access.index for access in shown.verdict.results[0].offences]
    assert found["errors"] == []
    assert found["all"] == list(range(count))
    assert found["said"] == f"{count} of {count} accesses shown; {len(found['marked'])} break a rule (\u25c6)"
    assert set(offences) <= set(found["marked"])
    at = found["order"].index("serial-1")
    assert (found["order"][at - 1], found["order"][at + 1]) == ("1", "2"), "a line stands where it was read"
    assert [name for name in found["order"] if name][-2:] == ["serial-2", "serial-3"]
    assert found["without"] == 0
    assert any("doorbell: vCPU 1: rung" in note for note in found["notes"])
    assert any("phase SEC: proven" in note for note in found["notes"])
    last = [count - 3, count - 2, count - 1]
    assert found["vcpu"] == found["phase"] == found["module"] == last
    assert found["value"] == [access.index for access in shown.timeline.accesses if access.value == 0x1FF]
    assert found["paths"] == ["APIC_BASE", "xAPIC page (MMIO)", "x2APIC MSR, hypervisor"]
    assert found["unpathed"] == count - len(offences)
    assert (found["charts"], found["chartsAfter"]) == (1, 1)
    assert (found["chosen"], found["unfiltered"]) == ("3", True)
    assert found["errorLines"] == ["serial-2"]
    assert found["warningLines"] == ["serial-2", "serial-3"]
    assert (found["searched"], found["found"]) == (["serial-3"], "1 of 4 lines")


def test_no_text_of_a_guest_is_run(tmp_path: Path) -> None:
    page = render(hostile_report(tmp_path))
    found = look(
        page,
        WAIT
        + """
        location.hash = "a0"; await wait();
        const over = document.querySelector(".u-over"), box = over.getBoundingClientRect();
        let tip = "";
        for (let x = 1; x < box.width; x += 4)
            for (let y = 1; y < box.height; y += 4) {
                const at = { clientX: box.left + x, clientY: box.top + y, bubbles: true };
                over.dispatchEvent(new MouseEvent("mousemove", at));
                await Promise.resolve();
                tip ||= document.getElementById("tip").textContent;
            }
        return {
            owned: typeof window.owned, images: document.images.length, tip, scripts: document.scripts.length,
            links: document.querySelectorAll('a[href^="javascript"]').length,
            loads: performance.getEntriesByType("resource").length,
        };
        """,
        tmp_path,
    )
    assert found["errors"] == []
    assert (found["owned"], found["images"], found["links"], found["loads"]) == ("undefined", 0, 0, 0)
    assert "<img src=x" in found["tip"], "the text beside the cursor was not looked at"
    # The page's three, and the two of this test.
    assert found["scripts"] == 5


def test_the_policy_refuses_what_the_page_does_not_have(tmp_path: Path) -> None:
    """If the escaping had a hole, nothing of it would run."""
    page = render(report(samples.stock_sec())).replace(
        "</main>", "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'></main>"
    )
    found = look(page, WAIT + "await wait(); return { owned: typeof window.owned };", tmp_path)
    assert found["owned"] == "undefined"
    assert {error.split("-")[0] for error in found["errors"]} == {"refused: script", "refused: img"}


def test_a_run_without_accesses_or_times_has_a_page(tmp_path: Path) -> None:
    for accesses in ([], [dataclasses.replace(access, time_ns=None) for access in samples.stock_sec()]):
        found = look(render(report(accesses)), SHOWN + "return { shown: shown() };", tmp_path)
        assert found == {"errors": [], "shown": list(range(len(accesses)))}


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_fault(tmp_path: Path, dark: bool) -> None:
    found: Any = look(
        render(two_vcpus(tmp_path)),
        """
        for (const part of document.querySelectorAll("details")) part.open = true;
        """
        + AXE_FAULTS
        + "const back = getComputedStyle(document.body).backgroundColor;"
        + "return { faults, passes: seen.passes.length, back };",
        tmp_path,
        libraries=(axe(),),
        dark=dark,
    )
    assert found["faults"] == []
    assert found["passes"] > 20
    assert found["back"] == ("rgb(13, 17, 23)" if dark else "rgb(255, 255, 255)")
