# SPDX-License-Identifier: GPL-2.0-or-later
"""A report whose texts attack the page that shows them, and a reader of that page."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.apic.timeline import Event, Known, PhaseMark
from snp_harness.report.html.consoles import CONSOLES
from snp_harness.report.model import Report, RunInfo
from tests.apic import samples
from tests.apic.samples import READ, xapic
from tests.report.reports import report

#: What leaves an element, an attribute, a script or a block of JSON, if it is not escaped.
HOSTILE = (
    "</script><script>window.owned=1</script><!--<script>\"'><img src=x onerror=window.owned=1>"
    "<a href=javascript:window.owned=1>x</a>&lt;b&gt;\u2028\x1b[31m\r\u202e]]>"
)


class Page(HTMLParser):
    """The elements of a page and the text of each block of scripts or styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[tuple[str, dict[str, str | None], str]] = []
        self._inside: tuple[str, dict[str, str | None]] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = (tag, dict(attrs)) if tag in ("script", "style") else None

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self.blocks.append((*self._inside, data))
            self._inside = None

    @property
    def data(self) -> Any:
        [text] = [text for _, attributes, text in self.blocks if attributes.get("id") == "data"]
        return json.loads(text)


def hostile_report(directory: Path) -> Report:
    """A report of which each text is hostile, and so are its consoles."""
    for name in CONSOLES:
        (directory / name).write_text(f"{HOSTILE}\n\x1b]0;{HOSTILE}\x07\n\u0000\n")
    event = Event(HOSTILE, 1, 0, HOSTILE, {HOSTILE: HOSTILE})
    shown = report(
        [xapic(READ, 0x0F0, module=HOSTILE)],
        RunInfo(HOSTILE, HOSTILE, HOSTILE, directory, (HOSTILE,), 1.0, HOSTILE, (HOSTILE,)),
        events=(event,),
        phases=(PhaseMark(samples.DEFAULTS.phase, 0, 1, HOSTILE, Known.PROVEN),),
        witness=HOSTILE,
        platform=HOSTILE,
        gaps=(HOSTILE,),
        complete=False,
        faults=(HOSTILE,),
        defects=(HOSTILE,),
        not_observed=frozenset({HOSTILE}),
    )
    place = SourcePlace(HOSTILE, samples.DEFAULTS.module_offset or 0, (Frame(HOSTILE, HOSTILE, 1),))
    results = tuple(
        dataclasses.replace(result, reason=HOSTILE, offences=shown.timeline.accesses, events=(event,))
        for result in shown.verdict.results
    )
    verdict = dataclasses.replace(shown.verdict, results=results, reason=HOSTILE)
    return dataclasses.replace(shown, verdict=verdict, sources=(place,))
