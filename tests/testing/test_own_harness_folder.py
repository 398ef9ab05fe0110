# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest


def test_a_project_with_a_harness_folder_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.mkpydir("harness").joinpath("own.py").write_text("ANSWER = 42\n")
    pytester.makeconftest("import harness.own")
    pytester.makepyfile("from harness.own import ANSWER\ndef test_it(snp_platform):\n    assert ANSWER == 42")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
