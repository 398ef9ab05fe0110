# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of firmware images and of fetching them."""

from __future__ import annotations

from harness.errors import BrokenEnvironmentError, UsageError


class FirmwareError(UsageError):
    """A firmware image that cannot be used: missing, damaged, or not a firmware image."""


class FetchError(BrokenEnvironmentError):
    """A package could not be fetched: no network and nothing cached, no apt, a bad signature, a full disk."""
