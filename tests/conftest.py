# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share."""

from __future__ import annotations

pytest_plugins = ["pytester"]
