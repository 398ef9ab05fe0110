# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.debian.cache import cache_root
from snp_harness.xdg import cache_home, config_home

every = pytest.mark.parametrize(
    ("variable", "default", "directory"),
    [("XDG_CONFIG_HOME", ".config", config_home), ("XDG_CACHE_HOME", ".cache", cache_home)],
)


@every
def test_variable_and_default(
    variable: str, default: str, directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv(variable, "/elsewhere")
    assert directory() == Path("/elsewhere")
    for ignored in ("", "relative/path", "~/x"):
        monkeypatch.setenv(variable, ignored)
        assert directory() == Path("/home/me", default)
    monkeypatch.delenv(variable)
    assert directory() == Path("/home/me", default)


@every
def test_a_user_without_a_home(
    variable: str, default: str, directory: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a container that has a number only."""

    def unknown(_uid: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert directory() == Path("/", default)


def test_the_cache_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_root() == Path("/elsewhere/snp-harness")
