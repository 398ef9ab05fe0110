# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for all tests."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st


def test_a_slow_example_fails_no_property_test() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None


def test_every_machine_tries_the_same_examples() -> None:
    def tried() -> list[int]:
        seen = []

        @given(st.integers())
        def take(number: int) -> None:
            seen.append(number)

        take()
        return seen

    assert tried() == tried()
