# SPDX-License-Identifier: GPL-2.0-or-later
"""Real firmware, and what a boot is checked against."""

from __future__ import annotations

from tests.firmware.conftest import amdsev_path, bookworm_path, trixie_path

__all__ = ["amdsev_path", "bookworm_path", "trixie_path"]
