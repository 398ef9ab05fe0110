# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snp_harness.apic.access import Access
from snp_harness.apic.event_kinds import GUEST_IMAGE
from snp_harness.apic.jsonfield import FieldError
from snp_harness.apic.source_place import SourcePlace
from snp_harness.apic.timeline import Event
from snp_harness.apic.verdict import LISTED
from snp_harness.report import json_report
from tests.apic import samples
from tests.report.reports import EVENT, sample


def test_the_report_is_one_json_object_of_plain_values() -> None:
    text = json_report.render(sample())
    assert text.isascii()
    data = json.loads(text)
    assert (data["format"], data["version"]) == ("snp-harness-report", 1)
    assert data["verdict"]["status"] == "violated"
    assert data["summary"] == sample().headline
    assert data["run"]["rerun"] == ["snp-harness", "run"]
    assert data["observation"]["reached"] == "PEI"


def test_the_source_of_offences_can_be_read_back() -> None:
    (data,) = json_report.to_json(sample())["sources"]
    assert (SourcePlace.from_json(data),) == sample().sources
    for field, value in (("frames", []), ("frames", [1]), ("offset", None), ("module", 1)):
        with pytest.raises(FieldError):
            SourcePlace.from_json({**data, field: value})


def test_many_offences_are_counted() -> None:
    report = sample()
    (first, *others) = report.verdict.results
    many = replace(first, offences=first.offences * 3000)
    shown = json_report.to_json(replace(report, verdict=replace(report.verdict, results=(many, *others))))
    rule = shown["verdict"]["rules"][0]
    assert (len(rule["offences"]), rule["offence_count"]) == (LISTED, 3000 * len(first.offences))
    assert (rule["events"], rule["event_count"]) == ([], 0)


def test_offences_can_be_read_back() -> None:
    report = sample()
    data = json.loads(json_report.render(report))
    rule = data["verdict"]["rules"][0]
    assert rule["rule"] == "x2apic-before-sec"
    assert tuple(map(Access.from_json, rule["offences"])) == report.verdict.results[0].offences
    [shared] = (rule for rule in data["verdict"]["rules"] if rule["rule"] == "sec-apic-page-shared")
    assert Event.from_json(shared["events"][0]) == EVENT


def test_what_was_wrong_on_purpose_is_told_three_times() -> None:
    data = json_report.to_json(sample())
    assert "faults injected: busy" in data["verdict"]["observed"]
    assert data["observation"]["faults"] == ["busy"]
    assert data["run"]["notes"] == ["a note", "faults injected: busy; the firmware does not cause their effects"]


def test_a_copy_that_was_launched_instead_is_told() -> None:
    report = sample()
    event = Event(GUEST_IMAGE, None, None, "a copy of coconut.igvm was launched", {})
    changed = replace(report, timeline=replace(report.timeline, events=(event,)))
    assert json_report.to_json(changed)["run"]["notes"][-1] == event.text


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, entry in value.items():
            path = f"{prefix}.{key}" if prefix else key
            yield path
            if key != "fields":
                yield from _paths(entry, path)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for entry in value:
            yield from _paths(entry, prefix + "[]")


def _documented(page: str, heading: str) -> set[str]:
    text = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_.\[\]]+)`", text, re.MULTILINE))


def test_every_field_is_documented_and_nothing_else() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "json.md").read_text(encoding="utf-8")
    paths = set(_paths(json_report.to_json(sample())))
    access = {path.split("offences[].")[1] for path in paths if "offences[]." in path}
    event = {path.split("events[].")[1] for path in paths if "events[]." in path}
    assert _documented(page, "Report") == {
        path for path in paths if "offences[]." not in path and "events[]." not in path
    }
    assert _documented(page, "Access") == access
    assert _documented(page, "Event") == event
    header, phase, *_, end = (
        json.loads(line) for line in samples.timeline(samples.stock_sec(), alternate_injection=False).lines()
    )
    assert _documented(page, "Timeline") == {*_paths(header), *_paths(phase), *_paths(end), "access", "event"}
