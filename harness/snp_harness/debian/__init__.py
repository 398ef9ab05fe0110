# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of a Debian suite without root: apt with a root of its own, the cache, QEMU and firmware."""
