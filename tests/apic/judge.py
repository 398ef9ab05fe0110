# SPDX-License-Identifier: GPL-2.0-or-later
"""What one rule says of a timeline."""

from __future__ import annotations

from typing import Any

from snp_harness.apic.access import Access
from snp_harness.apic.contract import evaluate
from snp_harness.apic.verdict import RuleResult
from tests.apic.samples import timeline


def check(rule: str, accesses: list[Access], **fields: Any) -> RuleResult:
    return evaluate(timeline(accesses, **fields)).result(rule)
