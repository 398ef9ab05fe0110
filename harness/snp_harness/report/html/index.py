# SPDX-License-Identifier: GPL-2.0-or-later
"""The index of a session of tests as a page, with links to the pages of its boots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snp_harness.apic.verdict import Status
from snp_harness.report.html.elements import STATUS_CLASS, asset, badge, page, searched_table, section, table, text
from snp_harness.version import build

#: Outcomes of tests in the order in which they are listed.
OUTCOMES = ("failed", "error", "skipped", "xfailed", "xpassed", "passed")
#: Characters of a reason.
_REASON_MAX = 300


@dataclass(frozen=True, slots=True)
class BootEntry:
    """A boot of a test. page: the file of its report, beside the index, or empty. status: the verdict's."""

    page: str
    status: Status
    reason: str
    platform: str
    firmware: str


@dataclass(frozen=True, slots=True)
class TestEntry:
    """A test. outcome: one of OUTCOMES. reason: why it failed or was skipped, else empty."""

    __test__ = False

    name: str
    outcome: str
    seconds: float
    reason: str = ""
    boots: tuple[BootEntry, ...] = ()


def render_index(tests: Sequence[TestEntry]) -> str:
    """Return the page: tests that booted, failed or were skipped, the failed ones first."""
    shown = [test for test in tests if test.boots or test.outcome != "passed"]
    shown.sort(key=lambda test: OUTCOMES.index(test.outcome))
    counts = Counter(test.outcome for test in tests)
    verdicts = Counter(boot.status.value for test in tests for boot in test.boots)
    failed = counts["failed"] + counts["error"]
    kind = "violated" if failed else "holds"
    said = f"{failed} of {len(tests)} tests failed" if failed else f"{len(tests)} tests, none failed"
    quiet = len(tests) - len(shown)
    more = f"<p>{quiet} more passed and booted nothing.</p>" if quiet else ""
    rows = table(("test", "outcome", "boots", "reason", "s"), map(_row, shown), "Tests", "list")
    listed = searched_table("Outcome", filter(counts.get, OUTCOMES), rows)
    body = (
        f'<header id="verdict" class="{kind}"><p><span class="status">{"failed" if failed else "passed"}</span></p>'
        f"<h1>{said}</h1><p>{_counted('Tests', counts)}; {_counted('Verdicts', verdicts)}</p>"
        f"<p>snp-harness {text(build().version)}</p></header>\n"
        f"<main>\n{section('tests', 'Tests', listed + more)}</main>\n"
    )
    return page(f"{said}: snp-harness", body, (asset("index.js"),), (asset("report.css"),))


def _counted(title: str, counts: Counter[str]) -> str:
    return f"{title}: {', '.join(f'{count} {text(name)}' for name, count in counts.most_common()) or 'none'}"


def _row(test: TestEntry) -> tuple[str, ...]:
    state = {"error": "failed", "xfailed": "skipped", "xpassed": "failed"}.get(test.outcome, test.outcome)
    return (
        text(test.name),
        badge(state, test.outcome),
        "".join(_boots(test)),
        text(test.reason, _REASON_MAX),
        f"{test.seconds:.1f}",
    )


def _boots(test: TestEntry) -> Iterator[str]:
    for boot in test.boots:
        verdict = badge(STATUS_CLASS[boot.status], boot.status.value)
        if boot.page:
            verdict = f'<a href="{text(boot.page)}">{verdict}</a>'
        where = ", ".join(filter(None, (boot.platform, boot.firmware)))
        yield f"<div>{verdict} {text(boot.reason, _REASON_MAX)} ({text(where)})</div>"
