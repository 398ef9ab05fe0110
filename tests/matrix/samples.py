# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells and matrices for the tests."""

from __future__ import annotations

from typing import Any

from snp_harness.matrix.cell import Cell, Place
from snp_harness.matrix.result import Matrix

RULE = "x2apic-before-sec"


def place(firmware: str = "stock", configuration: str = "plain", platform: str = "emulated", vcpus: int = 1) -> Place:
    return Place(firmware, configuration, platform, vcpus)


def cell(verdict: str = "holds", where: Place | None = None, **fields: Any) -> Cell:
    fields = {"reason": f"{verdict}: why", "rules": ((RULE, verdict),), "reached": "PEI", **fields}
    return Cell(where or place(), verdict, **fields)


def matrix(*cells: Cell, **fields: Any) -> Matrix:
    return Matrix(cells, **{"until": "sec", "planned": len(cells), "firmwares": {"stock": "/a/OVMF.fd"}, **fields})
