# SPDX-License-Identifier: GPL-2.0-or-later
"""Each case of the hostile firmware gets the verdict that it must get: never "holds"."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from snp_harness.apic.verdict import Status
from tests.hostile.compare import differences
from tests.hostile.image import case_names
from tests.hostile.run import ALTERNATE, NATIVE, PLAIN, PLAIN_NATIVE, SETTINGS, VMPL0, HostileRun, Options, Setting

pytestmark = pytest.mark.emulated

Run = Callable[..., HostileRun]

SEC = "x2apic-before-sec"
AFTER = "no-xapic-after-x2apic"
PAGE = "sec-apic-page-shared"
OFFERED = "apic-protocol-used-only-when-offered"
OUTSIDE = "no-access-outside-x2apic"
SERVED = "svsm-handles-its-registers"
#: Not "holds", and nothing more: the harness sees that it does not know.
DOUBT = ""

ALL = SETTINGS
SEV = (ALTERNATE, NATIVE, VMPL0)
DIRECT = (NATIVE, PLAIN_NATIVE)
NOT_OFFERED = dataclasses.replace(ALTERNATE, name="not-offered", offered=False)
FOUR_LEVELS = tuple(dataclasses.replace(setting, name=f"{setting.name}-47", cbit=47) for setting in DIRECT)


def several(*settings: Setting, vcpus: int = 2) -> tuple[Setting, ...]:
    """The settings with several vCPUs."""
    return tuple(dataclasses.replace(s, name=f"{s.name}-{vcpus}", vcpus=vcpus) for s in settings)


#: A rule that does not hold in a case, whose verdict is "violated", and where it runs.
CASES: dict[str, tuple[str, tuple[Setting, ...]]] = {
    "stock": (SEC, ALL),
    "window_over_the_log": (SEC, ALL),
    "window_by_bytes": (SEC, ALL),
    "window_over_the_hypervisor": (SEC, ALL),
    "window_by_ecam": (SEC, ALL),
    "own_answer_mmio": (SEC, SEV),
    "own_answer_msr": (SEC, SEV),
    "own_answer_in_x2apic": (AFTER, SEV),
    "own_answer_by_svsm": (SEC, (ALTERNATE,)),
    "direct_mmio": (SEC, SEV),
    "direct_msr": (SEC, SEV),
    "svsm_register_not_offered": (OFFERED, (NOT_OFFERED,)),
    "into_the_page_by_nae": (SEC, SEV),
    "out_of_the_page_by_nae": (SEC, SEV),
    "into_the_page": (SEC, ALL),
    "out_of_the_page": (SEC, ALL),
    "wide_store": (SEC, ALL),
    "one_byte": (SEC, ALL),
    "reserved_register": (SEC, ALL),
    "start_of_the_page": (SEC, (PLAIN, *SEV)),
    "aliased_page": (SEC, ALL),
    "private_page": (PAGE, SEV),
    "address_beyond_the_walk": (SEC, FOUR_LEVELS),
    "moved_page": (SEC, ALL),
    "walk_through_the_page": (DOUBT, ALL),
    "stack_in_the_page": (DOUBT, ALL),
    "code_in_the_page": (DOUBT, ALL),
    "console_prompt": (DOUBT, (ALTERNATE, PLAIN)),
    "copied_code": (OUTSIDE, ALL),
    "code_in_the_upper_half": (OUTSIDE, ALL),
    "upper_half_before_sec_ends": (SEC, ALL),
    "forged_header": (SEC, ALL),
    "back_from_pei": (SEC, ALL),
    "back_from_dxe": (SEC, ALL),
    "flood_of_events": (PAGE, SEV),
    "flood_of_accesses": (SEC, (NATIVE, PLAIN, PLAIN_NATIVE)),
    "left_behind_a_flood": (AFTER, (PLAIN,)),
    "moved_by_another": (SEC, several(PLAIN_NATIVE, PLAIN, NATIVE)),
    "disabled_by_another": (SEC, several(PLAIN_NATIVE, PLAIN, NATIVE)),
    "end_of_another_vmpl": (SERVED, (ALTERNATE,)),
    "offer_of_another_version": (SERVED, (ALTERNATE,)),
    "other_vmpl": (SEC, several(VMPL0)),
    "another_in_sec": (SEC, several(*ALL)),
}

#: Here the harness need not see what the guest wrote down: the processor makes the access by itself, or at another
#: address, or it is not an access to the vCPU's own APIC.
OTHERS_THAN_WRITTEN = (
    "address_beyond_the_walk",
    "walk_through_the_page",
    "stack_in_the_page",
    "code_in_the_page",
    "into_the_page",
    "out_of_the_page",
    "into_the_page_by_nae",
    "out_of_the_page_by_nae",
    "svsm_register_not_offered",
    "flood_of_events",
    "moved_by_another",
)
#: Seconds until a run is ended that does not end itself.
TIMEOUTS_S = {"console_prompt": 13.0}
TIMEOUT_S = 30.0


def _items() -> Iterator[object]:
    """Each case with each of its settings; those after the first are for the long runs."""
    for name, (rule, settings) in CASES.items():
        for setting in settings:
            marks = [pytest.mark.slow] if setting is not settings[0] or name in TIMEOUTS_S else []
            yield pytest.param(name, rule, setting, id=f"{name}-{setting.name}", marks=marks)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_right_firmware(hostile: Run, setting: Setting) -> None:
    run = hostile("right", setting)
    assert run.result.verdict.status is Status.HOLDS, run.result.verdict
    assert run.result.timeline.complete
    assert not run.result.timeline.defects
    assert not differences(run)


@pytest.mark.parametrize(("name", "rule", "setting"), list(_items()))
def test_hostile_firmware(hostile: Run, name: str, rule: str, setting: Setting) -> None:
    run = hostile(name, setting, Options(timeout_s=TIMEOUTS_S.get(name, TIMEOUT_S)))
    verdict = run.result.verdict
    assert verdict.status is not Status.HOLDS
    if rule:
        assert verdict.status is Status.VIOLATED, verdict
        assert verdict.result(rule).status is not Status.HOLDS, verdict.result(rule)
    if name not in OTHERS_THAN_WRITTEN:
        assert not differences(run)


def test_each_case_is_run() -> None:
    assert {*CASES, "right", "sequences"} == set(case_names())
