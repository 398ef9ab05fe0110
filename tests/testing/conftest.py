# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers on loopback, for the options that name a host."""

from __future__ import annotations

from tests.hosts.conftest import hosts, own_children, servers, sshd, trixie_path

__all__ = ["hosts", "own_children", "servers", "sshd", "trixie_path"]
