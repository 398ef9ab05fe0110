# SPDX-License-Identifier: GPL-2.0-or-later
"""What the cache of built images has, and a disk without room for it."""

from __future__ import annotations

from pathlib import Path

import pytest


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("edk2/images/*"))


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image can be copied into the cache, nor out of it."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("snp_harness.edk2.images.shutil.copyfile", full)
