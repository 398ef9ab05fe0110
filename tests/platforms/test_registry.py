# SPDX-License-Identifier: GPL-2.0-or-later
"""What each platform says of itself."""

from __future__ import annotations

import pytest

from snp_harness.errors import UsageError
from snp_harness.platforms import find_platform, platform_names


@pytest.mark.parametrize("name", platform_names())
def test_how_its_results_are_obtained(name: str) -> None:
    platform = find_platform(name)
    assert platform.name == name
    # Only real hardware's result may be taken for one.
    assert ("hardware" in platform.observed_on and "not hardware" not in platform.observed_on) == (name == "snp")
    assert ("no SEV" in platform.observed_on) == (name in ("tcg", "kvm", "nested"))


def test_a_platform_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="there are emulated, tcg, kvm, nested, snp"):
        find_platform("nothing")
