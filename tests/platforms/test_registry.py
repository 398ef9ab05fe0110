# SPDX-License-Identifier: GPL-2.0-or-later
"""How each platform describes itself."""

from __future__ import annotations

import pytest

from snp_harness.errors import UsageError
from snp_harness.platforms import find_platform, platform_names


@pytest.mark.parametrize("name", platform_names())
def test_how_its_results_are_obtained(name: str) -> None:
    platform = find_platform(name)
    assert platform.name == name
    # Only a result of real hardware may be reported as one.
    assert ("hardware" in platform.observed_on and "not hardware" not in platform.observed_on) == (name == "snp")
    assert ("no SEV" in platform.observed_on) == (name in ("tcg", "kvm", "nested"))


def test_a_platform_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="there are emulated, tcg, kvm, nested and snp"):
        find_platform("nothing")
