# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from snp_harness import RunResult, Timeline, UsageError, assert_holds, assert_violated
from snp_harness.apic.contract import RULES, RuleName, evaluate
from snp_harness.apic.registers import by_offset
from snp_harness.errors import BrokenEnvironmentError
from tests.apic.samples import fixed_sec, stock_sec, timeline

RULE: Final = "x2apic-before-sec"


def result(seen: Timeline, **fields: Any) -> RunResult:
    return RunResult(evaluate(seen), seen, Path("/runs/one"), **fields)


STOCK = result(timeline(stock_sec()))
FIXED = result(timeline(fixed_sec()))


def test_what_is_so_passes() -> None:
    assert_holds(FIXED)
    assert_holds(FIXED, rule=RULE)
    assert_violated(STOCK)
    assert_violated(STOCK, rule=RULE)
    assert_violated(STOCK, rule=RULE, register="SVR", module="SecMain")
    assert_violated(STOCK, register=by_offset(0x320))
    assert_violated(STOCK, module="SecMain")


def test_a_failure_has_the_text_of_the_report() -> None:
    with pytest.raises(AssertionError) as failure:
        assert_holds(STOCK)
    text = str(failure.value)
    assert text.startswith("the contract does not hold\nviolated: 7 local-APIC accesses in SEC before x2APIC mode")
    for part in (
        f"Offences against {RULE}",
        "SVR 0F0",
        "SecMain+1A2B",
        "timer-reaches-hypervisor-in-x2apic",
        "artefacts: /runs/one",
    ):
        assert part in text
    # Other rules are broken by the same accesses.
    assert text.count("SVR 0F0") == 2
    with pytest.raises(AssertionError, match=rf"^{RULE} does not hold\n"):
        assert_holds(STOCK, rule=RULE)


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (timeline(fixed_sec(), complete=False, gaps=("the run was ended",), lost=1, phases=()), "inconclusive: "),
        (timeline(fixed_sec(), alternate_injection=False), "does not apply: "),
    ],
)
def test_holds_is_nothing_less(seen: Timeline, message: str) -> None:
    with pytest.raises(AssertionError, match=f"^the contract does not hold\n{message}"):
        assert_holds(result(seen))


def test_a_run_that_ended_early_does_not_hold() -> None:
    broken = result(timeline(fixed_sec()), error=BrokenEnvironmentError("QEMU died"))
    with pytest.raises(AssertionError, match="error: QEMU died"):
        assert_holds(broken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "the contract is not violated\nholds: "),
        ({"rule": RULE}, f"{RULE} is not violated\nholds: "),
    ],
)
def test_not_violated(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=f"^{message}"):
        assert_violated(FIXED, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"module": "PeiCore"}, "is not violated by an access of PeiCore, but by SecMain\n"),
        ({"register": "ICR"}, "is not violated by an access to ICR, but by SecMain\n"),
        ({"register": "ICR", "module": "SecMain"}, "by an access to ICR of SecMain, but by SecMain\n"),
        # Other rules are violated, this one is not.
        ({"rule": "legal-transition"}, "legal-transition is not violated\n"),
    ],
)
def test_violated_otherwise(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError) as failure:
        assert_violated(STOCK, **arguments)
    assert message in str(failure.value)


def test_register_and_module_are_those_of_one_access() -> None:
    first, *others = stock_sec()[1::2]
    accesses = [first, *(access for access in others if access.register.name != first.register.name)]
    mixed = [accesses[0], *(dataclasses.replace(access, module="Other") for access in accesses[1:])]
    seen = result(timeline(mixed))
    assert_violated(seen, register="SVR", module="SecMain")
    with pytest.raises(AssertionError):
        assert_violated(seen, register="SVR", module="Other")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "x2apic-before-sek"}, f"no rule is named 'x2apic-before-sek': did you mean {RULE}? there are "),
        ({"rule": "nothing"}, "no rule is named 'nothing': there are x2apic-before-sec, legal-transition, "),
        ({"register": "svr"}, "no register is named 'svr': did you mean SVR? there are APIC_BASE, "),
        ({"register": "Timer LTV"}, "no register is named 'Timer LTV': did you mean Timer LVT?"),
    ],
)
def test_a_typing_mistake_is_an_error_and_no_verdict(arguments: dict[str, Any], message: str) -> None:
    for seen in (STOCK, FIXED):
        with pytest.raises(UsageError) as error:
            assert_violated(seen, **arguments)
        assert str(error.value).startswith(message)
    if "rule" in arguments:
        with pytest.raises(UsageError):
            assert_holds(FIXED, **arguments)


def test_type_checkers_know_the_rules() -> None:
    assert get_args(RuleName) == tuple(rule.name for rule in RULES)


def test_a_repr_is_a_line() -> None:
    for value in (STOCK, STOCK.verdict, STOCK.timeline):
        assert len(repr(value)) < 300
    assert repr(STOCK.verdict) == "<Verdict violated: 7 local-APIC accesses in SEC before x2APIC mode>"


def test_a_rule_by_which_the_run_was_not_judged() -> None:
    """It exists, so the message is not that it does not."""
    verdict = evaluate(FIXED.timeline, chosen=["legal-transition"])
    judged = dataclasses.replace(FIXED, verdict=verdict)
    for ask in (assert_holds, assert_violated):
        with pytest.raises(UsageError) as error:
            ask(judged, rule=RULE)
        assert str(error.value) == (
            f"the run was not judged by {RULE}: it was by legal-transition alone: choose the rule, too"
        )
