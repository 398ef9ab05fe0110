# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import snp_harness


def in_python(program: str) -> str:
    """What a new Python prints."""
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True).stdout


def test_every_public_name_can_be_imported() -> None:
    program = "from snp_harness import *; print(*globals())"
    assert set(snp_harness.__all__) <= set(in_python(program).split())


def test_no_module_hides_a_public_name() -> None:
    """A submodule of the same name would become the package's attribute when it is imported."""
    modules = {module.name for module in pkgutil.iter_modules(snp_harness.__path__)}
    assert not modules & set(snp_harness.__all__)


def test_importing_the_package_loads_nothing_of_it() -> None:
    program = "import sys, snp_harness; print(*[name for name in sys.modules if name.startswith('snp_harness.')])"
    assert in_python(program).split() == []


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = getattr(snp_harness, "nothing")  # noqa: B009
