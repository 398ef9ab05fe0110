# SPDX-License-Identifier: GPL-2.0-or-later
"""What is expected of the cells of a matrix."""

from __future__ import annotations

import pytest

from snp_harness.errors import UsageError
from snp_harness.matrix.cell import NOT_RUN, Outcome
from snp_harness.matrix.expect import DEFAULT, check_used, expected, parse
from tests.matrix.samples import RULE, cell, place


@pytest.mark.parametrize(
    ("text", "verdict", "outcome"),
    [
        ("*=ok", "holds", Outcome.EXPECTED),
        ("*=ok", "does not apply", Outcome.EXPECTED),
        ("*=ok", "violated", Outcome.UNEXPECTED),
        ("*=ok", "inconclusive", Outcome.INCONCLUSIVE),
        ("*=any", "inconclusive", Outcome.EXPECTED),
        ("*=violated", "violated", Outcome.EXPECTED),
        ("*=violated", "holds", Outcome.UNEXPECTED),
        ("*=holds", "does not apply", Outcome.UNEXPECTED),
        ("*=violated,inconclusive", "inconclusive", Outcome.EXPECTED),
        (f"*={RULE}:violated", "violated", Outcome.EXPECTED),
        (f"*={RULE}:violated", "inconclusive", Outcome.UNEXPECTED),
        (f"*=ok,{RULE}:holds", "holds", Outcome.EXPECTED),
        (f"*=ok,{RULE}:holds", "violated", Outcome.UNEXPECTED),
    ],
)
def test_a_verdict(text: str, verdict: str, outcome: Outcome) -> None:
    judged = parse(text).judge(cell(verdict))
    assert judged.outcome is outcome
    assert bool(judged.missed) is (outcome is not Outcome.EXPECTED)


def test_a_rule_that_was_not_judged_is_not_as_expected() -> None:
    judged = parse("*=legal-transition:holds").judge(cell())
    assert judged.outcome is Outcome.UNEXPECTED
    assert judged.missed == ("legal-transition is not judged, expected is holds",)


def test_a_run_that_broke_has_no_answer_whatever_is_expected_of_its_verdict() -> None:
    for broken in (cell("violated", error="QEMU died"), cell(NOT_RUN, error="no such image")):
        for text in ("*=ok", "*=any", "*=violated"):
            assert parse(text).judge(broken).outcome is Outcome.NO_ANSWER
        assert parse("*=error").judge(broken).outcome is Outcome.EXPECTED
    assert parse("*=error").judge(cell("holds")).outcome is Outcome.UNEXPECTED


def test_a_hypervisor_that_refuses_what_its_configuration_lacks_is_as_if_nothing_applied() -> None:
    refused = cell("inconclusive", error="Alternate injection required but not available", refused=True)
    assert DEFAULT.judge(refused).outcome is Outcome.EXPECTED
    assert parse("*=any").judge(refused).outcome is Outcome.EXPECTED
    assert parse("*=holds").judge(refused).outcome is Outcome.UNEXPECTED


def test_the_last_that_fits_counts() -> None:
    listed = [parse("stock=any"), parse("stock/plain=does-not-apply"), parse("*/*/tcg/4=error")]
    assert expected(place(), listed).text == "does-not-apply"
    assert expected(place(configuration="fault-busy"), listed).text == "any"
    assert expected(place("fixed"), listed) is DEFAULT
    assert expected(place(platform="tcg", vcpus=4), listed).text == "error"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stock", "does not say what is expected of which cells"),
        ("=ok", "does not say"),
        ("stock=", "does not say"),
        ("stock//emulated=ok", "does not say"),
        ("a/b/c/d/e=ok", "does not say"),
        ("stock=hold", "did you mean holds?"),
        ("stock=violated:x2apic-before-sec", "no rule is named 'violated'"),
        ("stock=x2apic-before-sex:holds", "did you mean x2apic-before-sec?"),
        ("stock=x2apic-before-sec:ok", "'ok' cannot be expected of a rule"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert said in str(error.value)


def test_an_expectation_of_no_cell_is_a_mistake() -> None:
    places = [place(), place("fixed", "fault-busy")]
    check_used([parse("stock/pl*=ok"), parse("fixed=ok")], places)
    with pytest.raises(UsageError, match="did you mean stock"):
        check_used([parse("stok/plain=ok")], places)
    with pytest.raises(UsageError, match="no cell is 'stock/fault-busy'"):
        check_used([parse("stock/fault-busy=ok")], places)
