# SPDX-License-Identifier: GPL-2.0-or-later
"""Assertions about the verdict of a run. They fail with the text of the report, and need no pytest.

`__tracebackhide__` has pytest leave their frames out of a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snp_harness.apic.access import Access
from snp_harness.apic.contract import RULES, RuleName
from snp_harness.apic.registers import REGISTERS, Register
from snp_harness.apic.verdict import RuleResult, Status
from snp_harness.errors import UsageError
from snp_harness.nearest import known_names
from snp_harness.report.model import Report, RunInfo
from snp_harness.report.terminal import render_failure

if TYPE_CHECKING:
    from snp_harness.firmware_run import RunResult

#: Begins the name of a register whose number is not assigned to one.
_RESERVED = "reserved "


def assert_holds(result: RunResult, *, rule: RuleName | None = None) -> None:
    """Assert that the contract holds, or one rule of it.

    Raises AssertionError with the report's text, and UsageError for a rule that does not exist.
    """
    __tracebackhide__ = True
    judged = _judged(result, rule)
    wrong = [each for each in judged if each.status is not Status.HOLDS]
    if result.error is not None or (wrong if rule else result.verdict.status is not Status.HOLDS):
        what = f"{rule} does not hold" if rule else "the contract does not hold"
        raise AssertionError(f"{what}\n{failure_text(result)}")


def assert_violated(
    result: RunResult,
    *,
    rule: RuleName | None = None,
    register: str | Register | None = None,
    module: str | None = None,
) -> None:
    """Assert that the contract is violated: by a rule, and by an access to a register, of a module.

    register: its name, such as "SVR". module: its name, such as "SecMain". One access has both.
    Raises AssertionError with the report's text, and UsageError for a rule or a register that does not exist.
    """
    __tracebackhide__ = True
    name = register.name if isinstance(register, Register) else register
    registers = [known.name for known in REGISTERS]
    if name is not None and name not in registers and not name.startswith(_RESERVED):
        raise UsageError(f"no register is named {name!a}", known_names(name, registers))
    broken = [each for each in _judged(result, rule) if each.status is Status.VIOLATED]
    what = f"{rule or 'the contract'} is not violated"
    if broken and result.verdict.status is Status.VIOLATED:
        if (name is None and module is None) or any(_matches(access, name, module) for access in _offences(broken)):
            return
        named = [f"to {name}" if name else "", f"of {module}" if module else ""]
        what += f" by an access {' '.join(filter(None, named))}"
        modules = sorted({access.module or "an unknown module" for access in _offences(broken)})
        if modules:
            what += f", but by {', '.join(modules)}"
    raise AssertionError(f"{what}\n{failure_text(result)}")


def failure_text(result: RunResult) -> str:
    """Return the part of the report that a failure shows: rules, reasons, offences and the run directory."""
    run = RunInfo(directory=result.directory, error=None if result.error is None else str(result.error))
    return render_failure(Report(result.verdict, result.timeline, run, sources=result.sources))


def _judged(result: RunResult, rule: str | None) -> tuple[RuleResult, ...]:
    """Return the results of one rule, or of all."""
    if rule is None:
        return result.verdict.results
    names = [known.name for known in RULES]
    if rule not in names:
        raise UsageError(f"no rule is named {rule!a}", known_names(rule, names))
    try:
        return (result.verdict.result(rule),)
    except KeyError:
        chosen = ", ".join(result.verdict.chosen)
        raise UsageError(
            f"the run was not judged by {rule}: it was by {chosen} alone", "choose the rule, too"
        ) from None


def _offences(results: list[RuleResult]) -> list[Access]:
    return [access for result in results for access in result.offences]


def _matches(access: Access, register: str | None, module: str | None) -> bool:
    return register in (None, access.register.name) and module in (None, access.module)
