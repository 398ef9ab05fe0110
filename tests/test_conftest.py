# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
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


def test_control_c_in_a_test_is_all_that_is_reported(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fixtures end after pytest has taken the test's values away from it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeconftest("from tests.conftest import raw_logs")
    pytester.makepyfile("def test(tmp_path):\n    raise KeyboardInterrupt")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "AttributeError" not in done.stdout.str() + done.stderr.str()
