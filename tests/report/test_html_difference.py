# SPDX-License-Identifier: GPL-2.0-or-later
"""The difference of two runs as a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.difference import difference
from snp_harness.apic.timeline import Timeline
from snp_harness.report.html import difference as page
from tests.apic import samples
from tests.apic.samples import READ, xapic
from tests.report.browser import AXE_FAULTS, axe, look
from tests.report.hostile import HOSTILE, Page

STOCK, FIXED = samples.timeline(samples.stock_sec()), samples.timeline(samples.fixed_sec())


def shown(before: Timeline, after: Timeline, names: tuple[str, str] = ("stock", "fixed")) -> str:
    return page.render(difference(before, after), before, after, names)


def rows(text: str) -> list[list[str]]:
    [body] = re.findall(r'id="list">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    return [
        [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", body)
    ]


def test_each_access_stands_beside_its_partner() -> None:
    text = shown(STOCK, FIXED)
    found = rows(text)
    assert [kind for _, kind, *_ in found].count("came") == 2
    changed = [row for row in found if row[1] == "changed"]
    assert len(changed) == 7
    where, _, before, after, fields = changed[0]
    assert where == "SecMain, 0"
    assert "read SVR 0F0 = FF SEC, mmio, xAPIC" in before
    assert "read SVR 80F = FF SEC, msr, x2APIC" in after
    assert fields == "path, mode"
    assert '<header id="verdict" class="violated">' in text


def test_what_is_the_same_and_what_was_not_seen() -> None:
    text = shown(STOCK, STOCK)
    assert [row[1:3] for row in rows(text)] == [["same", "8 are the same"]]
    assert '<header id="verdict" class="holds">' in text
    cut = samples.timeline(samples.stock_sec(), complete=False, gaps=("QEMU died",))
    text = shown(STOCK, cut)
    assert '<header id="verdict" class="inconclusive">' in text
    assert "the second run was not seen whole: QEMU died" in text


def test_hostile_text_is_text() -> None:
    before = samples.timeline([xapic(READ, 0xF0, module=HOSTILE)], witness=HOSTILE, complete=False, gaps=(HOSTILE,))
    text = shown(before, FIXED, (HOSTILE, HOSTILE))
    assert [kind for kind, *_ in Page(text).blocks] == ["style", "script"]
    assert {tag for tag, _ in Page(text).elements} == {tag for tag, _ in Page(shown(STOCK, FIXED)).elements} | {"p"}
    assert not [name for _, attributes in Page(text).elements for name in attributes if name.startswith("on")]


def test_a_long_difference_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "ROWS_MAX", 3)
    text = shown(STOCK, FIXED)
    assert len(rows(text)) == 3
    assert re.search(r"<p>\d+ more rows are not shown", text)


@pytest.mark.slow
def test_in_a_browser(tmp_path: Path) -> None:
    found: Any = look(
        shown(STOCK, FIXED),
        """
        const rows = () => document.querySelectorAll("#list tbody tr:not([hidden])").length, result = {};
        const kind = document.getElementById("outcome");
        kind.value = "changed"; kind.dispatchEvent(new Event("input", { bubbles: true })); result.changed = rows();
        kind.value = ""; kind.dispatchEvent(new Event("input", { bubbles: true }));
        """
        + AXE_FAULTS
        + "return { ...result, faults };",
        tmp_path,
        libraries=(axe(),),
    )
    assert found == {"errors": [], "changed": 7, "faults": []}
