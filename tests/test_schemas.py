# SPDX-License-Identifier: GPL-2.0-or-later
"""The published JSON schemas agree with what is written, with each other and with the documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import ValidationError

from snp_harness.apic.access import Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.difference import FIELDS, difference
from snp_harness.apic.timeline import Known, Timeline
from snp_harness.apic.verdict import Status
from snp_harness.bisect.step import Judgement, Step
from snp_harness.data import json_head, schema_file
from snp_harness.report import json_report
from snp_harness.report.difference import to_json
from snp_harness.report.model import Report
from tests.apic import samples
from tests.apic.strategies import timelines
from tests.documents import DOCS, page_text
from tests.report.reports import sample
from tests.schemas import check, load_schema

STOCK, FIXED = samples.timeline(samples.stock_sec()), samples.timeline(samples.fixed_sec())
NAMES = sorted(path.name.removesuffix("-1.json") for path in schema_file("report").parent.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_names_its_format(name: str) -> None:
    schema = load_schema(name)
    text = json.dumps(schema)
    assert f'"const": "snp-harness-{name}"' in text
    assert f"schemas/{name}-1.json" in page_text(DOCS / "json.md")


def test_a_definition_is_the_same_in_each_schema() -> None:
    seen: dict[str, Any] = {}
    for name in NAMES:
        for key, definition in load_schema(name).get("$defs", {}).items():
            assert seen.setdefault(key, definition) == definition, f"{key} in {name}"


def test_a_field_that_a_schema_lacks_is_an_error_here() -> None:
    head = json_head("profile") | {"exits": 0, "kinds": {}, "marks": {}, "rows": []}
    check("profile", head)
    for wrong in (head | {"new": 1}, head | {"version": 2}, head | {"exits": "1"}):
        with pytest.raises(ValidationError):
            check("profile", wrong)


def test_a_report() -> None:
    check("report", json.loads(json_report.render(sample())))
    check("verdict", json_head("verdict") | sample().verdict.to_json())


@settings(max_examples=20)
@given(timelines())
def test_every_timeline_and_its_report(timeline: Timeline) -> None:
    for line in timeline.lines():
        check("timeline", json.loads(line))
    check("report", json.loads(json_report.render(Report(evaluate(timeline), timeline))))


@settings(max_examples=20)
@given(timelines(), timelines())
def test_a_difference(before: Timeline, after: Timeline) -> None:
    for one, other in ((before, after), (STOCK, FIXED)):
        check("diff", to_json(difference(one, other), one, other, ("a", "b")))


def test_a_step_of_a_bisection() -> None:
    step = Step("c" * 40, "subject", Judgement.BAD, "reason", 1.5, 0.7, "SEC", "offence", "/runs/x")
    check("bisect-step", step.to_json())
    check("bisect-step", json_head("bisect-step") | {"error": "x", "hint": "", "exit_status": 128})


def test_every_value_of_an_enumeration_is_in_the_schema() -> None:
    definitions = load_schema("report")["$defs"]
    access = definitions["access"]["properties"]
    assert definitions["rule"]["properties"]["status"]["enum"] == [status.value for status in Status]
    for field, values in (("operation", Operation), ("path", Path), ("outcome", Outcome), ("served_by", Server)):
        assert access[field]["enum"] == [value.value for value in values]
    assert access["mode"]["enum"] == [*(mode.value for mode in ApicMode), None]
    assert access["phase"]["enum"] == [phase.name for phase in Phase]
    assert definitions["phase"]["properties"]["known"]["enum"] == [known.value for known in Known]
    changed = load_schema("diff")["properties"]["changed"]["items"]["properties"]["fields"]
    assert changed["items"]["enum"] == list(FIELDS)
