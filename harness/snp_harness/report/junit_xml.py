# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit XML, as CI systems and Jenkins' junit-10.xsd read it: one suite of test cases."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree


class CaseResult(enum.Enum):
    """The result of a case, by the element that it has in XML; a case that passed has none."""

    PASSED = ""
    FAILED = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Case:
    """A test case. message: why it did not pass, in a line. text: the same at length. output: what it printed."""

    classname: str
    name: str
    result: CaseResult = CaseResult.PASSED
    message: str = ""
    text: str = ""
    seconds: float = 0.0
    output: str = ""


def document(
    name: str, cases: Sequence[Case], properties: Mapping[str, str] | None = None, seconds: float | None = None
) -> str:
    """Return the suite of that name as XML. seconds: of the whole suite, None for the sum of its cases."""
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(name),
        tests=str(len(cases)),
        failures=_count(cases, CaseResult.FAILED),
        errors=_count(cases, CaseResult.ERROR),
        skipped=_count(cases, CaseResult.SKIPPED),
        time=f"{sum(case.seconds for case in cases) if seconds is None else seconds:.3f}",
    )
    if properties:
        parent = ElementTree.SubElement(suite, "properties")
        for key, value in properties.items():
            ElementTree.SubElement(parent, "property", name=_xml(key), value=_xml(value))
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=_xml(case.classname), name=_xml(case.name), time=f"{case.seconds:.3f}"
        )
        if case.result is not CaseResult.PASSED:
            reason = ElementTree.SubElement(element, case.result.value, message=_xml(case.message))
            reason.text = _xml(case.text) or None
        if case.output:
            ElementTree.SubElement(element, "system-out").text = _xml(case.output)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _count(cases: Sequence[Case], result: CaseResult) -> str:
    return str(sum(case.result is result for case in cases))


def _xml(text: str) -> str:
    """Return text without characters that XML 1.0 cannot have."""
    return "".join(
        character if character == "\n" or (character.isprintable() and character < "\ufffe") else "?"
        for character in text
    )
