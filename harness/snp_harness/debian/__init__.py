# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of a Debian suite without root: apt with its own root directory, the cache, QEMU and firmware."""
