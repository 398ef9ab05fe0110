# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers on loopback, for the options that name a host."""

from __future__ import annotations

from tests.hosts.conftest import hosts, servers, sshd, trixie_path

__all__ = ["hosts", "servers", "sshd", "trixie_path"]
